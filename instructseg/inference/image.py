"""Instructions on a picture: the picture is encoded once, whatever is asked about it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from instructseg.inference.postprocess import predictions
from instructseg.inference.predictor import KeyFrame, Session, batches, check_task
from instructseg.inference.user_input import take_image, take_instructions
from instructseg.media import ImageLike
from instructseg.model import InstructSeg
from instructseg.out_of_memory import explain_out_of_memory
from instructseg.processing import InstructSegProcessor
from instructseg.structures import MaskPrediction, ModelInputs, Task

MAX_NEW_TOKENS = 64
"""Longest generated text, in tokens."""
LOAD_SMALLER = "load the model with dtype bfloat16, or on another device"
ADVICE = f"lower batch_size, {LOAD_SMALLER}"
"""Where memory runs out."""


class ImagePredictor(Session):
    """Segments one picture after another.

    Threads may share a predictor: each has the picture that it set itself, and a thread that set none is told
    so. The weights are shared, so a thread more costs the features of its picture only.

    Example::

        predictor = ImagePredictor.from_pretrained()
        predictor.set_image("photo.jpg")
        for found in predictor.predict(["the red circle", "the blue square"]):
            print(found.instruction, found.score, found.mask.sum())
    """

    def __init__(self, model: InstructSeg, processor: InstructSegProcessor) -> None:
        super().__init__(model, processor)
        self._own = threading.local()  # the picture that is set, by thread
        self._is_set = False  # in any thread

    def set_image(self, image: ImageLike) -> None:
        """Takes a picture and encodes it; all that follows is about it.

        Args:
            image: a file, a Pillow image, or ``uint8[H, W, 3]`` RGB.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no picture, or one without pixels; an array is other than ``uint8[H, W, 3]``.
            TypeError: it is something else, such as a tensor or bytes.
            torch.cuda.OutOfMemoryError: it does not fit; the picture before stays.
        """
        frame = take_image(image)  # a copy: the caller's array may change
        with explain_out_of_memory(
            f"on a picture of {frame.shape[0]}x{frame.shape[1]}", LOAD_SMALLER, self.model.device
        ):
            self._own.shown = (frame, self.key_frame(frame, self.tokens(frame)))
        self._is_set = True

    @property
    def frame(self) -> np.ndarray:
        """The picture that is set, ``uint8[H, W, 3]`` RGB.

        Raises:
            ValueError: none is.
        """
        return self._require()[0]

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
    ) -> list[MaskPrediction]:
        """What each instruction asks for in the picture.

        Args:
            instructions: one or several.
            task: selects the prompt, also by its name; for a question whose answer is a mask
                ``Task.REASON_SEG``.
            soft: whether the predictions carry ``probability``.
            answer: whether the model first writes an explanation, which the predictions carry and the mask
                tokens stand behind, as trained (``Task.REASON_SEG``).
            batch_size: instructions read together; ``None`` for that of the session.
            threshold: presence (0..1) below which the mask is empty; ``None`` for that of the weights, where
                they have one (the bundled model has), 0 always gives a mask.
            max_new_tokens: longest explanation.

        Returns:
            one prediction per instruction, in order.

        Raises:
            TypeError: an instruction is no text.
            ValueError: no picture is set in this thread, an explanation leaves no room for the mask (lower
                ``max_new_tokens``), or an argument does not fit (see :func:`batches`, and
                :meth:`Session.prompt`).
            torch.cuda.OutOfMemoryError: the group does not fit.
        """
        _, key = self._require()
        task = check_task(task)
        given, threshold = take_instructions(instructions), self.threshold(threshold)
        found: list[MaskPrediction] = []
        for group in batches(given, self.batch_size if batch_size is None else batch_size):
            texts = self._generate(group, task, max_new_tokens) if answer else None
            said: Sequence[str | None] = texts or [None] * len(group)
            prompt = self.prompt(group, task, 0, texts)
            with explain_out_of_memory(f"on {len(group)} instructions at once", ADVICE, self.model.device):
                reference = self.perceive(prompt, key.tokens)
                output = self.solve(prompt, key, [reference])
                geometry = [key.geometry] * len(group)
                masks = predictions(output, geometry, group, threshold=threshold, soft=soft)
            found += [replace(mask, answer=text) for mask, text in zip(masks, said, strict=True)]
        return found

    def segment(
        self,
        image: ImageLike,
        instructions: str | Sequence[str],
        task: Task | str = Task.RES,
        **options: Any,
    ) -> list[MaskPrediction]:
        """:meth:`set_image` and :meth:`predict` in one."""
        self.set_image(image)
        return self.predict(instructions, task, **options)

    def answer(self, question: str, max_new_tokens: int = MAX_NEW_TOKENS) -> str:
        """The model's reply to a question about the picture (``Task.VQA``).

        Raises:
            ValueError: no picture is set, or the question is empty or too long.
            torch.cuda.OutOfMemoryError: it does not fit.
        """
        self._require()
        if not isinstance(question, str):
            raise TypeError(f"a question is a text, got {type(question).__name__}")
        return self._generate((question,), Task.VQA, max_new_tokens)[0]

    def _require(self) -> tuple[np.ndarray, KeyFrame]:
        shown: tuple[np.ndarray, KeyFrame] | None = getattr(self._own, "shown", None)
        if shown is None:
            here = "in this thread, which has a picture of its own" if self._is_set else "yet"
            raise ValueError(f"no picture {here}: call set_image first, or segment")
        return shown

    def _generate(self, instructions: Sequence[str], task: Task, max_new_tokens: int) -> list[str]:
        """Text that the model writes to each instruction: the reply to a question, else the explanation."""
        input_ids, roles = self.processor.encode_text(
            instructions, task, explain=task is not Task.VQA, generate=True
        )
        inputs = ModelInputs(
            input_ids,
            roles,
            clip_pixels=torch.empty(1, 1, 3, 0, 0),  # encoded already
            num_references=torch.zeros(1, dtype=torch.int64),
            picture=torch.zeros(len(instructions), dtype=torch.int64),
        )
        inputs, stop = inputs.to(self.model.device, self.model.dtype), (self.processor.seg_token_id,)
        with explain_out_of_memory(
            f"on the text of {len(instructions)} instructions", ADVICE, self.model.device
        ):
            written = self.model.answer(inputs, max_new_tokens, stop, tokens=self._require()[1].tokens)
        return [self.processor.decode(ids) for ids in written]
