"""Predictor of Explanatory Instructions: draws the image that words describe, and shows what has changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from instructseg.devices import choose_device
from instructseg.inference.predictor import RequestKeywords, SystemTraits, check_task
from instructseg.inference.user_input import take_image, take_instructions
from instructseg.media import ImageLike
from instructseg.model.config_file import read_model_type
from instructseg.prediction import Prediction
from instructseg.processing.storage import local_folder
from instructseg.systems.codecs import decode_overlay
from instructseg.systems.explanatory.chameleon_layout import CHAMELEON, open_chameleon
from instructseg.systems.explanatory.explanatory_config import MODEL_TYPE
from instructseg.systems.explanatory.explanatory_model import Explanatory
from instructseg.systems.sequence.agreement import most_agreeing
from instructseg.systems.sequence.instruction_reader import InstructionReader
from instructseg.systems.sequence.sampling import (
    SampledAnswers,
    SamplingOptions,
    sample_answers,
    sample_in_parts,
)
from instructseg.systems.sequence.visual_codes import prepare_images, restore_image
from instructseg.systems.system_options import check_loading, check_request, take_threshold

if TYPE_CHECKING:
    from typing_extensions import Unpack

SYSTEM = "Explanatory Instructions"
LEAST_AREA, MOST_REDRAWN = 0.004, 0.5
"""Shares of the image: a smaller change is noise; where more is drawn anew, however little it differs, it is
another image without a mask, as an edit leaves most codes alone."""


@dataclass(frozen=True, eq=False)
class DrawnAnswer:
    """What the samples of one instruction show together.

    Attributes:
        drawn: ``uint8[H, W, 3]`` RGB, the sample that is most like the others.
        mask: ``bool[H, W]``, what it changes; empty where that is nearly nothing, or most of the image.
        agreement: 0..1, share of the samples that change anything.
        certainty: 0..1, mean probability of its codes where the mask is, or everywhere.
        probability: ``float32[H, W]``, 0..1, share of the samples that change a pixel.
    """

    drawn: np.ndarray
    mask: np.ndarray
    agreement: float
    certainty: float
    probability: np.ndarray


class ExplanatoryPredictor:
    """Draws what an instruction explains, e.g. "cover the dog with a layer of red". Threads may share it."""

    def __init__(self, model: Explanatory, words: InstructionReader) -> None:
        self.model, self.words = model.eval(), words

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path | None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | str | None = None,
        quantize: str | None = None,
        max_memory: int | str | None = None,
        workload: object = None,
    ) -> ExplanatoryPredictor:
        """Loads what ``save_pretrained`` of the model wrote, or a folder in the layout of Chameleon.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is damaged, or an option is one of InstructSeg.
        """
        check_loading(SYSTEM, quantize, max_memory)
        folder = local_folder(name_or_path)
        if read_model_type(folder, (MODEL_TYPE, CHAMELEON))["model_type"] == CHAMELEON:
            model: Any = open_chameleon(folder, dtype)
        else:
            model = Explanatory.from_pretrained(folder, dtype=dtype or torch.float32)
        return cls(model.to(choose_device(device)), InstructionReader.from_pretrained(folder))

    @property
    def traits(self) -> SystemTraits:
        """What a page or a service should know."""
        return SystemTraits(SYSTEM, examples=("cover the dog with a thin layer of red",))

    def predict(
        self,
        image: ImageLike,
        instructions: str | Sequence[str],
        *,
        samples: int | None = None,
        seed: int = 0,
        guidance: float | None = None,
        **options: Unpack[RequestKeywords],
    ) -> list[Prediction]:
        """A prediction for each instruction, in their order, with the image in ``drawn``.

        Its mask is what has changed; where most of the image is drawn anew, as a depth map is, it is empty.

        Args:
            image: a path, a Pillow image, or ``uint8[H, W, 3]`` RGB.
            instructions: one or several, each describes what the image becomes.
            samples: images drawn for each; ``None`` for the number of the weights.
            seed: of the random numbers.
            guidance: scale of classifier-free guidance; ``None`` for that of the weights.
            options: ``threshold`` on the presence; ``task`` may name a task with a mask, and changes nothing.

        Raises:
            ValueError: another option, a number out of range, or no word of an instruction is known.
        """
        threshold, task = take_threshold(options.pop("threshold", None)), options.pop("task", None)
        check_request(SYSTEM, options)
        if task is not None:
            check_task(task)
        frame, texts = take_image(image), take_instructions(instructions)
        settings = self.options(samples, seed, guidance)
        found = list[Prediction]()
        for place, answer in enumerate(self.answers([frame] * len(texts), texts, settings)):
            low = threshold is not None and answer.agreement < threshold
            mask = np.zeros_like(answer.mask) if low else answer.mask
            found.append(
                Prediction(
                    mask,
                    answer.certainty * answer.agreement,
                    answer.agreement,
                    texts[place],
                    answer.probability,
                    id=1 + sum(other.found for other in found) if mask.any() else 0,
                    instruction_id=place,
                    image=frame,
                    drawn=answer.drawn,
                    system=SYSTEM,
                )
            )
        return found

    def encode(self, image: ImageLike) -> np.ndarray:
        """The image, ``uint8[H, W, 3]``: its codes are read together with an instruction."""
        return take_image(image)

    def options(
        self, samples: int | None = None, seed: int = 0, guidance: float | None = None
    ) -> SamplingOptions:
        """How tokens are chosen; ``None`` for the setting of the weights."""
        config = self.model.config
        return SamplingOptions(
            samples=config.samples if samples is None else samples,
            temperature=config.temperature,
            guidance=config.guidance if guidance is None else guidance,
            top_k={"image": config.image_top_k} if config.image_top_k else {},
            seed=seed,
        )

    @torch.no_grad()
    def answers(
        self,
        images: Sequence[np.ndarray],
        instructions: Sequence[str],
        options: SamplingOptions | None = None,
    ) -> list[DrawnAnswer]:
        """What the samples of each instruction show together.

        Args:
            images: ``uint8[H, W, 3]`` RGB, of any size.
            instructions: one of each image.
            options: of the samples; ``None`` for those of the weights.
        """
        model = self.model
        codes = torch.cat([self.codes(one) for one in images])

        def draw(part: slice, settings: SamplingOptions) -> SampledAnswers:
            ids, mask = (one.to(model.device) for one in self.words.instructions(instructions[part]))
            prefix = model.read(codes[part], ids, mask)
            free = model.read(codes[part], ids, torch.zeros_like(mask)) if settings.guidance != 1 else None
            return sample_answers(model.decoder, prefix, model.forms, settings, free)

        chosen = options or self.options()
        drawn = sample_in_parts(len(images), chosen, draw, model.forms.end)
        every = zip(images, codes, drawn.tokens, drawn.probabilities, strict=True)
        return [self._answer(*one) for one in every]

    def codes(self, image: np.ndarray) -> torch.Tensor:
        """Codes ``int64[1, h, h]`` of an image ``uint8[H, W, 3]``."""
        pixels = prepare_images([image], self.model.visual.size)
        return self.model.visual.encode(pixels.to(self.model.visual.codebook))

    def image(self, codes: torch.Tensor, height: int, width: int) -> np.ndarray:
        """The image ``uint8[height, width, 3]`` of codes ``int64[1, h, h]``."""
        return restore_image(self.model.visual.decode(codes.to(self.model.device))[0], height, width)

    def _answer(
        self, image: np.ndarray, codes: torch.Tensor, tokens: torch.Tensor, chances: torch.Tensor
    ) -> DrawnAnswer:
        """The answer of samples ``int64[N, T]`` with the probabilities of their tokens."""
        height, width = image.shape[:2]
        known = self.image(codes[None], height, width)  # as the codec draws it: what stays is then the same
        found = self.model.codes(tokens)
        images = [self.image(one[None], height, width) for one in found]
        overlays = [decode_overlay(one, known) for one in images]
        masks = [_edited(overlay, one, known) for overlay, one in zip(overlays, images, strict=True)]
        edits = [overlay.mean() >= LEAST_AREA for overlay in overlays]
        best = most_agreeing(images, lambda one, other: -float(np.abs(one.astype(int) - other).mean()))
        cells = chances[best][self.model.inside]
        moved = (found[best].flatten() != codes.flatten().cpu()) & bool(masks[best].any())
        return DrawnAnswer(
            images[best],
            masks[best],
            float(np.mean(edits)),
            float(cells[moved].mean() if moved.any() else cells.mean()),
            np.asarray(np.mean(masks, axis=0, dtype=np.float32)),
        )


def changed(drawn: np.ndarray, known: np.ndarray) -> np.ndarray:
    """``bool[H, W]``: where an image differs from another one; nowhere if that is too little or too much."""
    return _edited(decode_overlay(drawn, known), drawn, known)


def _edited(overlay: np.ndarray, drawn: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The overlay ``bool[H, W]`` of an edit; empty if it is too little, or too much is drawn anew."""
    redrawn = float((drawn != known).any(2).mean())
    kept = overlay.mean() >= LEAST_AREA and redrawn <= MOST_REDRAWN
    return overlay if kept else np.zeros_like(overlay)
