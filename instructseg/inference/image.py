"""Instructions on an image, encoded once for all of them: a video of one frame, its own reference."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from instructseg.inference.encoder import CachedFrame, Encoder, Pair
from instructseg.inference.instructions import Instruction
from instructseg.inference.predictor import PretrainedPredictor, check_task
from instructseg.inference.user_input import take_image, take_instructions
from instructseg.media import ImageLike
from instructseg.model import InstructSeg
from instructseg.prediction import Prediction
from instructseg.processing import InstructSegProcessor
from instructseg.structures import Task

MAX_NEW_TOKENS = 64
"""Longest generated text, in tokens."""


class ImagePredictor(PretrainedPredictor):
    """Segments images, one after another.

    Threads may share a predictor: each sees the image that it set itself, and gets an error before it set
    one. Weights are shared, so another thread costs the features of its image only.

    Example::

        predictor = ImagePredictor.from_pretrained()
        predictor.set_image("photo.jpg")
        for found in predictor.predict(["the red circle", "the blue square"]):
            print(found.instruction, found.score, found.mask.sum())
    """

    def __init__(self, model: InstructSeg, processor: InstructSegProcessor) -> None:
        super().__init__(model, processor)
        self._own = threading.local()  # the current image, by thread
        self._is_set = False  # in any thread

    def set_image(self, image: ImageLike) -> None:
        """Encodes an image for the calls that follow.

        Args:
            image: a file, a Pillow image, or ``uint8[H, W, 3]`` RGB.

        Raises:
            FileNotFoundError: no such file.
            ValueError: no image, or without pixels; an array other than ``uint8[H, W, 3]``.
            TypeError: something else, such as a tensor or bytes.
            torch.cuda.OutOfMemoryError: it does not fit; the previous image stays set.
        """
        shown = CachedFrame(take_image(image))  # a copy: the caller's array may change
        encoder = self.encoder()
        encoder.encode_tokens([shown])
        encoder.encode_maps([shown])
        self._own.shown, self._is_set = shown, True

    @property
    def frame(self) -> np.ndarray:
        """The current image, ``uint8[H, W, 3]`` RGB.

        Raises:
            ValueError: none is set.
        """
        return self._current().frame

    def predict(
        self,
        instructions: str | Sequence[str],
        task: Task | str = Task.RES,
        *,
        soft: bool = False,
        answer: bool = False,
        batch_size: int | None = None,
        threshold: float | None = None,
        max_new_tokens: int = MAX_NEW_TOKENS,
    ) -> list[Prediction]:
        """Segments the current image by instructions.

        Args:
            instructions: one or several.
            task: selects the prompt, also by name; ``Task.REASON_SEG`` for questions answered by a mask.
            soft: whether predictions carry ``probability``.
            answer: whether the model writes an explanation before the mask tokens, as trained
                (``Task.REASON_SEG``); predictions carry it.
            batch_size: instructions per batch, where memory allows; ``None`` for that of the predictor.
            threshold: presence (0..1) below which a mask is empty; ``None`` for that of the weights, if they
                have one (the bundled model has); 0 for a mask in any case.
            max_new_tokens: longest explanation.

        Returns:
            One prediction per instruction, in order.

        Raises:
            TypeError: an instruction is no text.
            ValueError: no image is set in this thread, an instruction is empty or too long, an explanation
                leaves no room for the mask (lower ``max_new_tokens``), or an argument is out of range.
            torch.cuda.OutOfMemoryError: a single instruction does not fit.
        """
        current, task = self._current(), check_task(task)
        given, threshold = take_instructions(instructions), self.threshold(threshold)
        encoder = self.encoder(batch_size)
        size, found = encoder.batch_size, list[Prediction]()
        for start in range(0, len(given), size):
            group = given[start : start + size]
            written: Sequence[str | None] = [None] * len(group)
            if answer:
                written = encoder.write_text(current, group, task, max_new_tokens)
            rows = [
                Instruction(number, text, task, self.processor, 0, explanation)
                for number, (text, explanation) in enumerate(zip(group, written, strict=True), start)
            ]
            masks = _segment(encoder, current, rows, threshold, soft)
            found += [
                replace(mask, text=text, image=current.frame) for mask, text in zip(masks, written, strict=True)
            ]
        if batch_size is None:
            self.batch_size = encoder.batch_size  # smaller after memory ran out
        return found

    def segment(
        self,
        image: ImageLike,
        instructions: str | Sequence[str],
        task: Task | str = Task.RES,
        *,
        soft: bool = False,
        answer: bool = False,
        batch_size: int | None = None,
        threshold: float | None = None,
        max_new_tokens: int = MAX_NEW_TOKENS,
    ) -> list[Prediction]:
        """:meth:`set_image` and :meth:`predict` in one call."""
        self.set_image(image)
        return self.predict(
            instructions,
            task,
            soft=soft,
            answer=answer,
            batch_size=batch_size,
            threshold=threshold,
            max_new_tokens=max_new_tokens,
        )

    def answer(self, question: str, max_new_tokens: int = MAX_NEW_TOKENS) -> str:
        """Replies to a question about the current image (``Task.VQA``).

        Raises:
            ValueError: no image is set, or the question is empty or too long.
            torch.cuda.OutOfMemoryError: it does not fit.
        """
        current = self._current()
        if not isinstance(question, str):
            raise TypeError(f"a question is a text, got {type(question).__name__}")
        return self.encoder().write_text(current, (question,), Task.VQA, max_new_tokens)[0]

    def _current(self) -> CachedFrame:
        shown: CachedFrame | None = getattr(self._own, "shown", None)
        if shown is None:
            here = "in this thread, which has an image of its own" if self._is_set else "yet"
            raise ValueError(f"no image {here}: call set_image first, or segment")
        return shown


def _segment(
    encoder: Encoder, image: CachedFrame, rows: Sequence[Instruction], threshold: float, soft: bool
) -> list[Prediction]:
    """Predictions on an image, its own reference."""
    # a cache of its own: instruction numbers begin again with every call
    frame = CachedFrame(image.frame, image.tokens, maps=image.maps)
    states = encoder.reason([Pair(row, frame) for row in rows])
    return encoder.decode(frame, list(zip(rows, states, strict=True)), threshold, soft)
