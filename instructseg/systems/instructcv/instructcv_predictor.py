"""Predictor of InstructCV: an instruction and an image in, an image out, which is decoded by its task.

Letters: ``N`` instructions, ``K`` samples of each, ``S`` side of the model's images, ``H, W`` of the user's.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch

from instructseg.devices import choose_device, choose_dtype
from instructseg.files import share
from instructseg.inference.predictor import RequestKeywords, SystemTraits, check_task
from instructseg.inference.user_input import take_image, take_instructions
from instructseg.media import ImageLike
from instructseg.prediction import Prediction
from instructseg.processing.storage import local_folder
from instructseg.structures import Task
from instructseg.systems.codecs import COLOURS, box_overlap, decode_boxes, decode_mask, decode_presence
from instructseg.systems.instructcv.asked_task import AskedTask, lacks_colours, parse_asked
from instructseg.systems.instructcv.instructcv_config import InstructCVConfig
from instructseg.systems.instructcv.space_to_depth import SpaceToDepth
from instructseg.systems.system_options import check_request, take_threshold

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from instructseg.inference.memory import Workload

SYSTEM = "InstructCV"
AT_ONCE = 8
"""Images drawn together; the guidance makes three of each."""
LEAST_AREA = 0.004
"""Share of the image below which a drawn mask is noise."""


class InstructCVPredictor:
    """InstructCV on a ``StableDiffusionInstructPix2PixPipeline`` of diffusers.

    Args:
        pipeline: with its weights.
        config: of the checkpoint.
    """

    def __init__(self, pipeline: Any, config: InstructCVConfig) -> None:
        self.pipeline, self.config = pipeline, config
        pipeline.set_progress_bar_config(disable=True)
        self._lock = threading.Lock()  # a scheduler has one run at a time

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | str | None = None,
        quantize: str | None = None,
        max_memory: int | str | None = None,
        workload: Workload | None = None,
    ) -> InstructCVPredictor:
        """Loads a folder, or a repository of the hub such as ``alaa-lab/InstructCV``.

        Args:
            name_or_path: in the layout of diffusers, without code of its own.
            device: ``None`` for an accelerator if there is one.
            dtype: of the weights, also by name; ``None`` for float32 on a CPU and float16 elsewhere.
            quantize, max_memory: not for this system.
            workload: unused.

        Raises:
            ImportError: diffusers is missing.
            FileNotFoundError: there is no such checkpoint.
            ValueError: it is damaged, there is no such dtype, or an option is not for this system.
        """
        for option, value in (("quantize", quantize), ("max_memory", max_memory)):
            if value is not None:
                raise ValueError(f"{SYSTEM} has no {option}: leave it out, or choose another model")
        folder = local_folder(name_or_path)
        config, place = InstructCVConfig.read(folder), choose_device(device)
        chosen = choose_dtype(dtype) if isinstance(dtype, str) else dtype
        chosen = chosen or (torch.float32 if place.type == "cpu" else torch.float16)
        source = str(folder if Path(str(name_or_path)).exists() or config.patch else name_or_path)
        parts = {"vae": SpaceToDepth(config.patch)} if config.patch else {}
        return cls(_read_pipeline(source, parts).to(place, chosen), config)

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes the pipeline's folders and ``config.json``."""
        self.pipeline.save_pretrained(str(folder), safe_serialization=True)
        self.config.write(Path(folder))
        for file in Path(folder).rglob("*.safetensors"):
            share(file)

    @property
    def traits(self) -> SystemTraits:
        """What a page or a service should know."""
        return SystemTraits(SYSTEM, (Task.RES,), examples=("segment the dog", "estimate the depth"))

    def predict(
        self,
        image: ImageLike,
        instructions: str | Sequence[str],
        *,
        samples: int = 1,
        seed: int = 0,
        **options: Unpack[RequestKeywords],
    ) -> list[Prediction]:
        """Predictions on an image, at least one per instruction, in their order.

        A segmentation and a detection have a mask (of a detection, the inside of its box); a detection, a depth
        map and a classification have ``drawn``, the image that the model made. A classification has ``text``,
        yes or no; its ``presence`` is that of yes.

        Args:
            image: a path, a Pillow image, or ``uint8[H, W, 3]`` RGB.
            instructions: one or several, in free words (:func:`parse_asked`); where small weights do not know a
                word of one, they are told :meth:`AskedTask.plainly` in its place.
            samples: images drawn of each instruction; of several, masks, depth and colours are their mean, and
                boxes those of the sample that agrees best with the others.
            seed: of the noise; sample ``k`` starts from that of ``seed + k``.
            options: ``threshold`` on the presence, and ``task``: ``res`` asks for masks whatever the words.

        Raises:
            ValueError: another option, a number out of range, an instruction that is too long, or a question
                without colours for its answers.
        """
        threshold, task = take_threshold(options.pop("threshold", None)), options.pop("task", None)
        check_request(SYSTEM, options)
        if task is not None and (chosen := check_task(task)) is not Task.RES:
            raise ValueError(f"{SYSTEM} has no task '{chosen.value}': say it in the instruction")
        if samples < 1 or seed < 0:
            raise ValueError(f"samples must be at least 1 and seed at least 0, got {samples} and {seed}")
        frame, texts = take_image(image), take_instructions(instructions)
        asked = [parse_asked(text) for text in texts]
        if task is not None:
            asked = [AskedTask("segment", one.category) for one in asked]
        elif refused := [text for text, one in zip(texts, asked, strict=True) if lacks_colours(text, one)]:
            raise ValueError(
                f"'{refused[0]}' asks for words: {SYSTEM} says yes and no in colours, as in "
                "'display green if there is a dog, else display red'"
            )
        said = [self._said(text, one, task is not None) for text, one in zip(texts, asked, strict=True)]
        drawn = self.draw([frame] * len(texts), said, samples, seed)
        found = list[Prediction]()
        for place, (text, one) in enumerate(zip(texts, asked, strict=True)):
            for answer in self.decode(frame, one, drawn[place]):
                low = threshold is not None and answer.presence < threshold
                mask = np.zeros_like(answer.mask) if low else answer.mask
                number = 1 + sum(other.found for other in found) if mask.any() else 0
                told = replace(answer, mask=mask, id=number, instruction=text, label=one.category or text)
                found.append(replace(told, instruction_id=place, image=frame, system=SYSTEM))
        return found

    def draw(
        self, images: Sequence[np.ndarray], instructions: Sequence[str], samples: int = 1, seed: int = 0
    ) -> np.ndarray:
        """What the model draws, ``uint8[N, K, S, S, 3]``.

        Args:
            images: ``uint8[H, W, 3]`` RGB, N of any size.
            instructions: one of each image.
            samples, seed: as of :meth:`predict`.

        Raises:
            ValueError: an instruction is longer than the text encoder reads.
        """
        for text in instructions:
            self._check_length(text)
        side, config = self.config.image_size, self.config
        small = [cv2.resize(one, (side, side), interpolation=cv2.INTER_AREA) for one in images]
        pixels = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() / 255
        jobs = [(place, sample) for place in range(len(images)) for sample in range(samples)]
        made = []
        for start in range(0, len(jobs), AT_ONCE):
            some = jobs[start : start + AT_ONCE]
            with self._lock, torch.inference_mode():
                drawn = self.pipeline(
                    [instructions[place] for place, _ in some],
                    image=pixels[[place for place, _ in some]],
                    num_inference_steps=config.steps,
                    guidance_scale=config.text_guidance,
                    image_guidance_scale=config.image_guidance,
                    # each sample has noise of its own, the same in any batch
                    generator=[torch.Generator().manual_seed(seed + sample) for _, sample in some],
                    output_type="np",
                ).images
            made.append(np.rint(np.clip(drawn, 0, 1) * 255).astype(np.uint8))
        return np.concatenate(made).reshape(len(images), samples, side, side, 3)

    def _said(self, text: str, asked: AskedTask, otherwise: bool) -> str:
        """The instruction, or plain words where something else is asked or these weights know more of them."""
        plain = asked.plainly()
        return plain if otherwise or self._unknown(plain) < self._unknown(text) else text

    def _unknown(self, text: str) -> int:
        """Number of words that are no token of their own, where the tokenizer has such words."""
        special = set(self.pipeline.tokenizer.all_special_tokens)
        words = self.pipeline.tokenizer.get_added_vocab().keys() - special
        return len(set(re.findall(r"[a-z0-9]+", text.lower())) - words) if words else 0

    def _check_length(self, text: str) -> None:
        """Refuses what the pipeline would cut off without a word."""
        tokenizer = self.pipeline.tokenizer
        length, limit = len(tokenizer(text, verbose=False).input_ids), tokenizer.model_max_length
        if length > limit:
            raise ValueError(
                f"'{text[:60]}' has {length} tokens, and {SYSTEM} reads {limit}: say it shorter, in words that "
                "these weights know (others count by letter or syllable)"
            )

    def decode(self, frame: np.ndarray, asked: AskedTask, drawn: np.ndarray) -> list[Prediction]:
        """Returns the answers that samples ``uint8[K, S, S, 3]`` of a frame ``uint8[H, W, 3]`` show."""
        size = (frame.shape[1], frame.shape[0])
        if asked.task == "detect":
            return self._decode_boxes(frame, drawn)
        mean = cv2.resize(drawn.mean(0).astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
        empty, shown = np.zeros(frame.shape[:2], bool), np.rint(mean).astype(np.uint8)
        if asked.task == "depth":
            grey = np.rint(mean.mean(2, keepdims=True)).astype(np.uint8)
            return [Prediction(empty, 1.0, 1.0, drawn=np.repeat(grey, 3, axis=2))]
        if asked.task == "classify":
            assert asked.colours is not None
            yes = decode_presence(mean, (COLOURS[asked.colours[0]], COLOURS[asked.colours[1]]))
            return [Prediction(empty, yes, yes, text="yes" if yes > 0.5 else "no", drawn=shown)]
        mask, soft = decode_mask(mean), np.clip(mean.mean(2) / 255, 0, 1).astype(np.float32)
        mask = mask if mask.mean() >= LEAST_AREA else empty
        sure = float(soft[mask].mean()) if mask.any() else 0.0
        return [Prediction(mask, sure, sure, probability=soft)]

    def _decode_boxes(self, frame: np.ndarray, drawn: np.ndarray) -> list[Prediction]:
        """Boxes of the sample that agrees best with the others, the largest first."""
        height, width = frame.shape[:2]
        side = drawn.shape[1]
        small = cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA)
        colour, smooth = self.config.box_colour, self.config.smooth_boxes
        boxes = [decode_boxes(one, small, colour, smooth=smooth) for one in drawn]
        votes = [sum(box_overlap(one[0], other[0]) for other in boxes if one and other) for one in boxes]
        best = int(np.argmax(votes))
        shown = cv2.resize(drawn[best], (width, height), interpolation=cv2.INTER_LINEAR)
        found = list[Prediction]()
        for box in boxes[best]:
            agreeing = [any(box_overlap(box, other) > 0.5 for other in some) for some in boxes]
            mask, share = np.zeros((height, width), bool), float(np.mean(agreeing))
            left, right = (round(edge * width / side) for edge in box[::2])
            top, bottom = (round(edge * height / side) for edge in box[1::2])
            mask[top:bottom, left:right] = True
            # one image shows all boxes
            found.append(Prediction(mask, share, share, drawn=None if found else shown))
        return found or [Prediction(np.zeros((height, width), bool), 0.0, 0.0, drawn=shown)]


def _read_pipeline(source: str, parts: dict[str, Any]) -> Any:
    """The pipeline of a folder or repository.

    Raises:
        ImportError: diffusers is missing.
        ValueError: a file is damaged or missing.
    """
    try:
        from diffusers import StableDiffusionInstructPix2PixPipeline
        from diffusers.utils import logging as diffusers_logging
    except ImportError as error:
        raise ImportError(f"{SYSTEM} needs an extra package: pip install diffusers") from error
    diffusers_logging.set_verbosity_error()  # it warns of latents that are no VAE's, and shows progress
    diffusers_logging.disable_progress_bar()
    options: dict[str, Any] = {"safety_checker": None, "requires_safety_checker": False, **parts}
    try:
        return StableDiffusionInstructPix2PixPipeline.from_pretrained(source, **options)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{source} is no complete {SYSTEM} checkpoint of diffusers: {reason}") from error
