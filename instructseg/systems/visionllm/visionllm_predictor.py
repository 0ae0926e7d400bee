"""Predictor of VisionLLM: boxes or polygons of the classes that an instruction names."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from instructseg.devices import choose_device
from instructseg.inference.predictor import RequestKeywords, SystemTraits, check_task
from instructseg.inference.selection import DUPLICATE, AnswerOptions, distinct_objects
from instructseg.inference.user_input import take_image, take_instructions
from instructseg.media import ImageLike
from instructseg.prediction import Prediction
from instructseg.processing.storage import local_folder
from instructseg.structures import Task
from instructseg.systems.locations import polygon_mask
from instructseg.systems.system_options import check_loading, check_request
from instructseg.systems.visionllm.class_dictionary import ClassRequest, class_request, parse_request
from instructseg.systems.visionllm.visionllm_model import VisionLLM
from instructseg.systems.visionllm.visionllm_processor import VisionLLMProcessor

if TYPE_CHECKING:
    from typing_extensions import Unpack

SYSTEM = "VisionLLM"


@dataclass(frozen=True)
class DetectedObject:
    """One object of an image.

    Attributes:
        name: number of its class in the request.
        score: 0..1, of being an object times that of its class.
        corners: ``float64[N, 2]``, left top and right bottom of a box, or the points of a polygon; shares of
            the image's sides.
    """

    name: int
    score: float
    corners: np.ndarray

    def mask(self, height: int, width: int) -> np.ndarray:
        """The inside, ``bool[H, W]``."""
        if len(self.corners) > 2:
            return polygon_mask(self.corners, height, width)
        (left, top), (right, bottom) = self.corners
        return polygon_mask(
            np.array([[left, top], [right, top], [right, bottom], [left, bottom]]), height, width
        )


class VisionLLMPredictor:
    """Finds objects by class lists and phrases, e.g. "all circles with 8 points". Threads may share it."""

    def __init__(self, model: VisionLLM, processor: VisionLLMProcessor) -> None:
        self.model, self.processor = model.eval(), processor
        self._lock = threading.Lock()  # the tokenizer holds the text of one forward

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path | None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | str | None = None,
        quantize: str | None = None,
        max_memory: int | str | None = None,
        workload: object = None,
    ) -> VisionLLMPredictor:
        """Loads what ``save_pretrained`` of the model wrote; ValueError for options of InstructSeg."""
        check_loading(SYSTEM, quantize, max_memory)
        folder = local_folder(name_or_path)
        model = VisionLLM.from_pretrained(folder, dtype=dtype or torch.float32)
        processor = VisionLLMProcessor.from_pretrained(folder, model.config.image_size)
        return cls(model.to(choose_device(device)), processor)

    @property
    def traits(self) -> SystemTraits:
        """What a page or a service should know: it finds objects, and writes to no question."""
        return SystemTraits(
            SYSTEM, (Task.RES,), words_decide=False, examples=("all dogs and cats with 8 points",)
        )

    def predict(
        self, image: ImageLike, instructions: str | Sequence[str], **options: Unpack[RequestKeywords]
    ) -> list[Prediction]:
        """Objects of an image, the best first by instruction.

        Args:
            image: a path, a Pillow image, or ``uint8[H, W, 3]`` RGB.
            instructions: one or several; with ``arrange="instance"``, the classes of one dictionary.
            options: ``threshold``, ``all_instances`` and ``arrange``.

        Returns:
            Every object where several are meant, else the best; one empty prediction where none is.
            In the format of a box, the mask is the inside of the box.

        Raises:
            ValueError: an option or a format is not of this system, or no word of a class is known.
        """
        frame, given = take_image(image), take_instructions(instructions)
        check_task(options.pop("task", Task.RES))
        chosen = AnswerOptions(
            threshold=options.pop("threshold", None),
            all_instances=options.pop("all_instances", None),
            arrange=options.pop("arrange", None),
        )
        check_request(SYSTEM, options)
        if chosen.arrange not in (None, "instance"):
            raise ValueError(f"{SYSTEM} gives single objects: leave out --arrange {chosen.arrange}")
        if chosen.arrange is not None:
            answers = self._answer(frame, class_request(given), chosen.threshold)
            found = [replace(one, instruction=one.label, instruction_id=number) for number, one in answers]
        else:
            found = []
            for place, text in enumerate(given):
                request = parse_request(text)
                if chosen.all_instances is not None:
                    request = replace(request, single=not chosen.all_instances)
                answers = self._answer(frame, request, chosen.threshold)
                found += [replace(one, instruction=text, instruction_id=place) for _, one in answers]
        return [replace(one, id=number if one.found else 0) for number, one in enumerate(found, 1)]

    @torch.no_grad()
    def detect(self, image: np.ndarray, request: ClassRequest) -> list[DetectedObject]:
        """Every image token as an object of its likeliest class, the best first.

        Classes beyond the number of class tokens are asked in groups (section 4.2 of the paper, for LVIS).

        Args:
            image: ``uint8[H, W, 3]`` RGB.
            request: what is asked.

        Raises:
            ValueError: no word of a class is known, or the prompt is too long.
        """
        for name in request.names:
            if len(self.processor.unknown_words(name)) == len(name.split()):
                raise ValueError(f"these weights know no word of '{name}': name what they were trained on")
        device, size = self.model.device, self.model.config.classes
        pixels = self.processor.images([image]).to(device, self.model.dtype)
        found: list[DetectedObject] = []
        for first in range(0, len(request.names), size):
            part = replace(request, names=request.names[first : first + size])
            ids, mask = (one.to(device) for one in self.processor.prompts([part.prompt()]))
            with self._lock:
                tokens = self.model.encode(pixels, ids, mask)
            answers = self.model.decode(tokens, ids, mask, request.output)
            classes = answers.classes[0].float()
            shares = torch.cat([classes[:, : len(part.names)], classes[:, -1:]], dim=1).softmax(-1)[:, :-1]
            score, name = (shares * tokens.objectness[0, -1].float().sigmoid()[:, None]).max(-1)
            corners = tokens.locations[0, -1, :, None].float() + answers.offsets()[0]
            every = zip(name.tolist(), score.tolist(), corners.double().cpu().numpy(), strict=True)
            found += [DetectedObject(first + n, value, points) for n, value, points in every]
        return sorted(found, key=lambda one: -one.score)

    def _answer(
        self, frame: np.ndarray, request: ClassRequest, threshold: float | None
    ) -> list[tuple[int, Prediction]]:
        """Predictions with the numbers of their classes; an empty one for a class without an object."""
        height, width = frame.shape[:2]
        least = self.model.config.min_score if threshold is None else threshold
        every = self.detect(frame, request)
        answers = []
        for number, name in enumerate(request.names):
            mine = [one for one in every if one.name == number]
            presence = mine[0].score if mine else 0.0
            kept = [one for one in mine if one.score >= least][: 1 if request.single else None]
            pairs = [(one.mask(height, width), one.score) for one in kept]
            pairs = [(mask, score) for mask, score in pairs if mask.any()]
            chosen = distinct_objects([mask for mask, _ in pairs], [score for _, score in pairs], DUPLICATE)
            nothing = (np.zeros((height, width), bool), presence)
            for mask, score in [pairs[place] for place in chosen] or [nothing]:
                one = Prediction(mask, score, presence, label=name, image=frame, system=SYSTEM)
                answers.append((number, one))
        return answers
