"""Predictor of InstructSeq: the wording chooses a mask, a class map, a box or a caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from instructseg.devices import choose_device
from instructseg.inference.predictor import RequestKeywords, SystemTraits, check_task
from instructseg.inference.user_input import take_image, take_instructions
from instructseg.media import ImageLike
from instructseg.prediction import Prediction
from instructseg.processing.storage import local_folder
from instructseg.structures import Task
from instructseg.systems.instructseq.instructseq_config import InstructSeqConfig
from instructseg.systems.instructseq.instructseq_model import InstructSeq
from instructseg.systems.instructseq.sequence_answer import AnswerReader, SequenceAnswer
from instructseg.systems.sequence.instruction_reader import InstructionReader
from instructseg.systems.sequence.sampling import (
    SampledAnswers,
    SamplingOptions,
    sample_answers,
    sample_in_parts,
)
from instructseg.systems.sequence.visual_codes import prepare_images
from instructseg.systems.system_options import check_loading, check_request, take_threshold

if TYPE_CHECKING:
    from typing_extensions import Unpack

SYSTEM = "InstructSeq"
LEAST_AREA = 0.004
"""Share of the image below which a drawn mask is noise."""


class InstructSeqPredictor:
    """Samples answers and lets them agree, e.g. "segment the dog in white". Threads may share it."""

    def __init__(self, model: InstructSeq, words: InstructionReader) -> None:
        self.model, self.words = model.eval(), words
        config: InstructSeqConfig = model.config
        self.reader = AnswerReader(config, model.visual, words)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path | None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | str | None = None,
        quantize: str | None = None,
        max_memory: int | str | None = None,
        workload: object = None,
    ) -> InstructSeqPredictor:
        """Loads what ``save_pretrained`` of the model wrote; ValueError for options of InstructSeg."""
        check_loading(SYSTEM, quantize, max_memory)
        folder = local_folder(name_or_path)
        model = InstructSeq.from_pretrained(folder, dtype=dtype or torch.float32)
        return cls(model.to(choose_device(device)), InstructionReader.from_pretrained(folder))

    def predict(
        self,
        image: ImageLike,
        instructions: str | Sequence[str],
        *,
        samples: int | None = None,
        seed: int = 0,
        **options: Unpack[RequestKeywords],
    ) -> list[Prediction]:
        """Predictions on an image, at least one per instruction, in their order.

        A segmentation has a mask, and ``drawn`` in the colour that was asked; a class map a prediction for each
        class that is there; a detection the inside of its box as a mask; a caption, or the answer to a
        question, ``text``. Of a question of whether something is there, ``presence`` is the share of the
        samples that say yes.

        Args:
            image: a path, a Pillow image, or ``uint8[H, W, 3]`` RGB.
            instructions: one or several, in free words.
            samples: answers drawn of each instruction; ``None`` for the number of the weights.
            seed: of the random numbers.
            options: ``threshold`` on the presence, and ``task``, which asks for a mask whatever the words.

        Raises:
            ValueError: another option, a number out of range, or no word of an instruction is known.
        """
        threshold, task = take_threshold(options.pop("threshold", None)), options.pop("task", None)
        check_request(SYSTEM, options)
        tasks: tuple[str, ...] = ()
        if task is not None:
            check_task(task)
            tasks = ("segment",)
        frame, texts = take_image(image), take_instructions(instructions)
        config = self.model.config
        settings = SamplingOptions(
            samples=config.samples if samples is None else samples, temperature=config.temperature, seed=seed
        )
        found = list[Prediction]()
        for place, answer in enumerate(self.answers([frame] * len(texts), texts, settings, tasks)):
            for one in self._predictions(answer, frame.shape[:2], texts[place]):
                low = threshold is not None and one.presence < threshold
                mask = np.zeros_like(one.mask) if low else one.mask
                number = 1 + sum(other.found for other in found) if mask.any() else 0
                told = replace(one, mask=mask, id=number, instruction=texts[place], instruction_id=place)
                found.append(replace(told, image=frame, confidence=answer.confidence, system=SYSTEM))
        return found

    @property
    def traits(self) -> SystemTraits:
        """What a page or a service should know."""
        return SystemTraits(SYSTEM, (Task.RES,), examples=("segment the dog in white", "describe the image"))

    @property
    def text_tasks(self) -> frozenset[Task]:
        """``Task.VQA``: captions."""
        return frozenset({Task.VQA})

    def encode(self, image: ImageLike) -> np.ndarray:
        """The image, ``uint8[H, W, 3]``: what is read of it depends on the instruction."""
        return take_image(image)

    def answer(self, image: ImageLike, question: str) -> str:
        """The caption of an image, the most frequent of the samples, e.g. for "describe the image"."""
        return self.answers([take_image(image)], [question], tasks=["caption"])[0].text or ""

    def answers(
        self,
        images: Sequence[np.ndarray],
        instructions: Sequence[str],
        options: SamplingOptions | None = None,
        tasks: Sequence[str] = (),
    ) -> list[SequenceAnswer]:
        """What samples say together, in the order of the instructions.

        Args:
            images: ``uint8[H, W, 3]`` RGB, of any size.
            instructions: one of each image.
            options: of the samples; ``None`` for those of the weights.
            tasks: forms that are allowed, of ``segment``, ``semantic``, ``detect``, ``caption``; all if empty.
        """
        drawn = self.sample(images, instructions, options, tasks)
        tokens, chances = drawn.tokens.numpy(), drawn.probabilities.numpy()
        sizes = [image.shape[:2] for image in images]
        return [
            self.reader.read(row, chance, height, width)
            for row, chance, (height, width) in zip(tokens, chances, sizes, strict=True)
        ]

    @torch.no_grad()
    def sample(
        self,
        images: Sequence[np.ndarray],
        instructions: Sequence[str],
        options: SamplingOptions | None = None,
        tasks: Sequence[str] = (),
    ) -> SampledAnswers:
        """Tokens of samples, ``int64[B, N, T]``, and their probabilities; arguments as of :meth:`answers`."""
        model, config = self.model, self.model.config
        chosen = options or SamplingOptions(samples=config.samples, temperature=config.temperature)
        forms = config.answer_forms(*tasks)

        def draw(part: slice, settings: SamplingOptions) -> SampledAnswers:
            pixels = prepare_images(images[part], config.image_size).to(model.device, model.dtype)
            ids, mask = (one.to(model.device) for one in self.words.instructions(instructions[part]))
            prefix = model.read(pixels, ids, mask)
            free = model.read(pixels, ids, torch.zeros_like(mask)) if settings.guidance != 1 else None
            return sample_answers(model.decoder, prefix, forms, settings, free)

        return sample_in_parts(len(images), chosen, draw, forms.end)

    def _predictions(self, answer: SequenceAnswer, size: tuple[int, int], text: str) -> list[Prediction]:
        """Predictions of an answer on a frame of ``size``, height and width."""
        height, width = size
        empty, score = np.zeros(size, bool), answer.agreement * answer.certainty
        if answer.mask is not None:
            mask = answer.mask if answer.mask.mean() >= LEAST_AREA else empty
            return [Prediction(mask, score, answer.agreement, text, answer.probability, drawn=answer.drawn)]
        if answer.classes is not None and answer.confidence is not None:
            found = list[Prediction]()
            for number, name in enumerate(self.model.config.classes or (), 1):
                mask = answer.classes == number
                if mask.mean() >= LEAST_AREA:
                    sure = float(answer.confidence[mask].mean())
                    # one image shows all classes
                    shown = None if found else answer.drawn
                    found.append(Prediction(mask, sure, sure, label=name, drawn=shown))
            return found or [Prediction(empty, 0.0, 0.0, text, drawn=answer.drawn)]
        if answer.box is not None:
            mask = empty.copy()
            left, top, right, bottom = np.rint(np.array(answer.box) * [width, height, width, height]).astype(
                int
            )
            mask[top:bottom, left:right] = True
            return [Prediction(mask, score, answer.agreement, text)]
        return [Prediction(empty, score, answer.agreement, text, text=answer.text)]
