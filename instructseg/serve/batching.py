"""Requests answered together: one encoding per image, one batch of the language model for all images."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from instructseg.inference import ImagePredictor
from instructseg.inference.encoder import CachedFrame, Encoder, Pair
from instructseg.inference.image import MAX_NEW_TOKENS
from instructseg.inference.instructions import Instruction
from instructseg.inference.predictor import (
    Predictor,
    RequestKeywords,
    TextPredictor,
    text_tasks_of,
    traits_of,
)
from instructseg.inference.selection import AnswerOptions
from instructseg.prediction import Prediction
from instructseg.questions import wants_words
from instructseg.structures import Task


@dataclass(frozen=True, eq=False)
class ImageRequest:
    """Instructions on an image.

    Attributes:
        image: ``uint8[H, W, 3]`` RGB.
        digest: of the image: requests of equal digests share its features.
        instructions: at least one.
        task: ``None`` for words where a question asks for them, else masks.
        threshold: presence (0..1) below which a mask is empty; ``None`` for that of the weights.
    """

    image: np.ndarray
    digest: str
    instructions: tuple[str, ...]
    task: Task | None = None
    threshold: float | None = None

    def in_words(self, learned: Collection[Task], words_decide: bool = False) -> list[bool]:
        """Whether each instruction is answered in text, by weights that have learned these text tasks.

        Args:
            learned: the text tasks.
            words_decide: whether the system without them finds by itself what a question wants.

        Raises:
            ValueError: text is asked for, which these weights have not learned to write.
        """
        asked = [
            self.task is Task.VQA or (self.task is None and wants_words(text)) for text in self.instructions
        ]
        if not any(asked) or Task.VQA in learned:
            return asked
        if words_decide and self.task is None:
            return [False] * len(asked)
        text = self.instructions[asked.index(True)]
        raise ValueError(f"'{text}' asks for words, which these weights have not learned to write")


def segment_together(
    predictor: Predictor, requests: Sequence[ImageRequest]
) -> list[list[Prediction] | ValueError]:
    """Answers requests, in order: at least one prediction per instruction, or the error of a request.

    Predictions of instructions answered in words carry ``text`` and an empty mask.

    Raises:
        torch.cuda.OutOfMemoryError: a single instruction does not fit.
    """
    if not isinstance(predictor, ImagePredictor):
        return [_alone(predictor, request) for request in requests]
    encoder = predictor.encoder()
    shared = {one.digest: CachedFrame(one.image) for one in requests}
    plans: list[_Plan | ValueError] = []
    for request in requests:
        try:
            plans.append(_Plan(predictor, request))
        except ValueError as error:
            plans.append(error)
    good = [plan for plan in plans if isinstance(plan, _Plan)]
    encoder.encode_tokens(list(dict.fromkeys(shared[plan.request.digest] for plan in good)))
    for plan in good:
        source = shared[plan.request.digest]
        if plan.rows:
            encoder.encode_maps([source])
        # a cache of its own: instruction numbers begin again with every request
        plan.frame = CachedFrame(source.frame, source.tokens, maps=source.maps)
    states = iter(encoder.reason([Pair(row, plan.frame) for plan in good for row in plan.rows]))
    answers: list[list[Prediction] | ValueError] = []
    for one in plans:
        if isinstance(one, ValueError):
            answers.append(one)
            continue
        rows = [(row, next(states)) for row in one.rows]
        found = encoder.decode(one.frame, rows, one.rule) if rows else []
        masks = [mask for some in found for mask in some]
        answers.append(_in_order(one, masks, _replies(encoder, one)))
    return answers


def _alone(predictor: Predictor, request: ImageRequest) -> list[Prediction] | ValueError:
    """The answer of another system, whose options are its own."""
    options: RequestKeywords = {}
    if request.task is not None:
        options["task"] = request.task
    if request.threshold is not None:
        options["threshold"] = request.threshold
    try:
        in_words = request.in_words(text_tasks_of(predictor), traits_of(predictor).words_decide)
        rows = [place for place, words in enumerate(in_words) if not words]
        given = [request.instructions[place] for place in rows]
        found = predictor.predict(request.image, given, **options) if given else []
        answers = [replace(one, instruction_id=rows[one.instruction_id]) for one in found]
        answers += _written(predictor, request, in_words)
    except ValueError as error:
        return error
    return sorted(answers, key=lambda one: one.instruction_id)


def _written(predictor: Predictor, request: ImageRequest, in_words: Sequence[bool]) -> list[Prediction]:
    """Replies of another system to the questions."""
    if not any(in_words):
        return []
    assert isinstance(predictor, TextPredictor)
    image, empty = predictor.encode(request.image), np.zeros(request.image.shape[:2], bool)
    system = traits_of(predictor).system
    return [
        Prediction(
            empty, 0.0, 0.0, text, text=predictor.answer(image, text), instruction_id=place, system=system
        )
        for place, text in enumerate(request.instructions)
        if in_words[place]
    ]


class _Plan:
    """Rows of one request for a mask, and its questions."""

    def __init__(self, predictor: ImagePredictor, request: ImageRequest) -> None:
        self.request, self.rule = request, predictor.rule(AnswerOptions(request.threshold))
        self.in_words = request.in_words(predictor.processor.config.text_tasks)
        task = Task.RES if request.task is None or request.task is Task.VQA else request.task
        self.rows = [
            Instruction(number, text, task, predictor.processor, 0)
            for number, text in enumerate(request.instructions)
            if not self.in_words[number]
        ]
        self.questions = [
            text for text, words in zip(request.instructions, self.in_words, strict=True) if words
        ]
        if self.questions:
            predictor.processor.encode_text(self.questions, Task.VQA, generate=True)  # errors appear now
        self.frame = CachedFrame(request.image)


def _replies(encoder: Encoder, plan: _Plan) -> list[str]:
    if not plan.questions:
        return []
    return encoder.write_text(plan.frame, plan.questions, Task.VQA, MAX_NEW_TOKENS)


def _in_order(plan: _Plan, masks: Sequence[Prediction], replies: Sequence[str]) -> list[Prediction]:
    """Masks and replies in the order of the instructions."""
    written, empty = iter(replies), np.zeros(plan.request.image.shape[:2], bool)
    found, ids = list[Prediction](), count(1)
    for number, text in enumerate(plan.request.instructions):
        if plan.in_words[number]:
            found.append(Prediction(empty, 0.0, 0.0, text, text=next(written), instruction_id=number))
        of_it = [one for one in masks if one.instruction_id == number]
        found += [replace(one, id=next(ids), image=plan.request.image) for one in of_it]
    return found
