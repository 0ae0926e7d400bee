"""Instructions on an image, encoded once for all of them: a video of one frame, its own reference."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from instructseg.inference.arrangement import arrange
from instructseg.inference.consensus import MOST_PARAPHRASES, agree, paraphrases
from instructseg.inference.encoder import CachedFrame, Encoder, Pair
from instructseg.inference.instructions import Instruction
from instructseg.inference.predictor import PretrainedPredictor, check_task
from instructseg.inference.selection import MOST_INSTANCES, AnswerKeywords, AnswerOptions, AnswerRule, join
from instructseg.inference.user_input import take_image, take_instructions
from instructseg.inference.zoom import MOST_ZOOM, PART_PRESENCE, add_closer, parts_of
from instructseg.media import ImageLike
from instructseg.model.tokens import TokenChoice
from instructseg.plurals import named_number
from instructseg.prediction import Prediction
from instructseg.structures import Task

if TYPE_CHECKING:
    from typing_extensions import Unpack

MAX_NEW_TOKENS = 64
"""Longest generated text, in tokens."""


@dataclass(frozen=True)
class ImageOptions(AnswerOptions):
    """Settings of a prediction on an image, besides those of every prediction.

    Attributes:
        explain: whether the model writes an explanation before the mask tokens, as trained
            (``Task.REASON_SEG``); predictions carry it as ``text``.
        batch_size: instructions per batch, where memory allows; ``None`` for that of the predictor.
        max_new_tokens: longest explanation.
        consensus: number of paraphrases of each instruction, itself among them, of which most must agree
            (:mod:`instructseg.inference.consensus`); 1 for the instruction alone.
        keep_tokens: share of the key frame's tokens that the language model reads, above 0 and at most 1;
            1 for all. :class:`~instructseg.model.tokens.TokenChoice` sets more. Text is written from all.
        zoom: looks once more at ``zoom * zoom`` enlarged parts of the image, for small objects
            (:mod:`instructseg.inference.zoom`), where several objects may answer; 1 for the image alone.

    Raises:
        ValueError: an option is out of range, or two exclude each other.
    """

    explain: bool = False
    batch_size: int | None = None
    max_new_tokens: int = MAX_NEW_TOKENS
    consensus: int = 1
    keep_tokens: TokenChoice | float = 1.0
    zoom: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "keep_tokens", TokenChoice.of(self.keep_tokens))
        for name, most in (("consensus", MOST_PARAPHRASES), ("zoom", MOST_ZOOM)):
            value = getattr(self, name)
            if not isinstance(value, Integral) or not 1 <= int(value) <= most:
                raise ValueError(f"{name} must be from 1 to {most}, a whole number, got {value!r}")
        if self.explain and self.consensus > 1:
            raise ValueError("an explanation belongs to one wording: leave out explain or consensus")
        if self.zoom > 1 and self.consensus > 1:
            raise ValueError("zoom and consensus exclude each other: leave out one of them")

    @property
    def kept(self) -> TokenChoice:
        """``keep_tokens`` as a choice."""
        assert isinstance(self.keep_tokens, TokenChoice)
        return self.keep_tokens


class ImageKeywords(AnswerKeywords, total=False):
    """Fields of :class:`ImageOptions` by keyword."""

    explain: bool
    batch_size: int | None
    max_new_tokens: int
    consensus: int
    keep_tokens: TokenChoice | float
    zoom: int


class ImagePredictor(PretrainedPredictor):
    """Segments images. Threads may share a predictor.

    Example::

        predictor = ImagePredictor.from_pretrained()
        for found in predictor.predict("photo.jpg", ["the red circle", "the blue square"]):
            print(found)

    Args:
        model: is put into evaluation mode.
        processor: of that model.
    """

    def encode(self, image: ImageLike) -> CachedFrame:
        """Encodes an image once, for several calls of :meth:`predict` and :meth:`answer`.

        Args:
            image: a file, a Pillow image, or ``uint8[H, W, 3]`` RGB.

        Raises:
            FileNotFoundError: no such file.
            ValueError: no image, or without pixels; an array other than ``uint8[H, W, 3]``.
            TypeError: something else, such as a tensor or bytes.
            torch.cuda.OutOfMemoryError: it does not fit.
        """
        shown = CachedFrame(take_image(image))  # a copy: the caller's array may change
        encoder = self.encoder()
        encoder.encode_tokens([shown])
        encoder.encode_maps([shown])
        return shown

    def predict(
        self,
        image: ImageLike | CachedFrame,
        instructions: str | Sequence[str],
        task: Task | str = Task.RES,
        **options: Unpack[ImageKeywords],
    ) -> list[Prediction]:
        """Segments an image by instructions.

        Args:
            image: a file, a Pillow image, ``uint8[H, W, 3]`` RGB, or the result of :meth:`encode`.
            instructions: one or several.
            task: selects the prompt, also by name; ``Task.REASON_SEG`` for questions answered by a mask.
            options: fields of :class:`ImageOptions`.

        Returns:
            Predictions in the order of the instructions: one for each, or every object that fits, the best
            first. Where nothing is there, one with an empty mask.

        Raises:
            FileNotFoundError: as :meth:`encode`.
            TypeError: an instruction is no text, or as :meth:`encode`.
            ValueError: an instruction is empty or too long, an explanation leaves no room for the mask (lower
                ``max_new_tokens``), an option is out of range, or as :meth:`encode`.
            torch.cuda.OutOfMemoryError: a single instruction does not fit.
        """
        chosen, task, given = ImageOptions(**options), check_task(task), take_instructions(instructions)
        encoder = self.encoder(chosen.batch_size, keep_tokens=chosen.kept)
        encoded = image if isinstance(image, CachedFrame) else self.encode(image)
        if chosen.consensus > 1:
            found = self._agreed(encoder, encoded, given, task, chosen)
        else:
            answered = self._segment(encoder, encoded, given, task, chosen, self.rule(chosen))
            if chosen.zoom > 1:
                answered = self._looked_closer(encoder, encoded, given, task, chosen, answered)
            found = [one for some in answered for one in some]
        if chosen.batch_size is None:
            self.batch_size = encoder.batch_size  # smaller after memory ran out
        if chosen.arrange is not None:
            found = arrange(found, chosen.arrange)
        soft = {} if chosen.soft else {"probability": None}
        return [replace(one, id=place, **soft) for place, one in enumerate(found, 1)]  # type: ignore[arg-type]

    def predict_many(
        self,
        images: Iterable[ImageLike],
        instructions: str | Sequence[str],
        task: Task | str = Task.RES,
        **options: Unpack[ImageKeywords],
    ) -> Iterator[list[Prediction]]:
        """Segments several images by the same instructions, one after another.

        Args:
            images: each as of :meth:`predict`; read when its turn comes.
            instructions, task, options: as of :meth:`predict`.

        Yields:
            The predictions on each image, in order, as of :meth:`predict`.

        Raises:
            TypeError: ``images`` is a single one.
            FileNotFoundError, ValueError: as :meth:`predict`; those of an image when its turn comes.
        """
        if isinstance(images, str | Path | bytes) or not isinstance(images, Iterable):
            raise TypeError(f"images are a list or another iterable, got {type(images).__name__}: use predict")
        ImageOptions(**options), check_task(task)
        given = take_instructions(instructions)
        return (self.predict(image, given, task, **options) for image in images)

    def _segment(
        self,
        encoder: Encoder,
        image: CachedFrame,
        given: Sequence[str],
        task: Task,
        chosen: ImageOptions,
        rule: AnswerRule,
    ) -> list[list[Prediction]]:
        """Predictions on an image by instruction."""
        # a cache of its own for what is perceived: instruction numbers begin again with every call
        frame = CachedFrame(image.frame, image.tokens, maps=image.maps)
        size, found = encoder.batch_size, list[list[Prediction]]()
        for start in range(0, len(given), size):
            group = given[start : start + size]
            written: Sequence[str | None] = [None] * len(group)
            if chosen.explain:
                written = encoder.write_text(frame, group, task, chosen.max_new_tokens)
            rows = [
                Instruction(number, text, task, self.processor, 0, explanation)
                for number, (text, explanation) in enumerate(zip(group, written, strict=True), start)
            ]
            states = encoder.reason([Pair(row, frame) for row in rows])
            answered = encoder.decode(frame, list(zip(rows, states, strict=True)), rule)
            for some, text in zip(answered, written, strict=True):
                found.append([replace(one, text=text, image=frame.frame) for one in some])
        return found

    def _looked_closer(
        self,
        encoder: Encoder,
        image: CachedFrame,
        given: Sequence[str],
        task: Task,
        chosen: ImageOptions,
        answered: Sequence[list[Prediction]],
    ) -> list[list[Prediction]]:
        """Predictions by instruction, with the objects of the enlarged parts added where several may answer."""
        rule = self.rule(chosen)
        asked = [n for n, text in enumerate(given) if rule.several(text) and answered[n][0].found]
        fitted = self.processor.config.presence_threshold
        closer = replace(rule, threshold=fitted or PART_PRESENCE, union=False, all_instances=True)
        texts, plain, seen = [given[n] for n in asked], replace(chosen, explain=False), []
        for part in parts_of(image.frame.shape[:2], chosen.zoom) if asked else []:
            shown = CachedFrame(np.ascontiguousarray(image.frame[part]))
            seen.append((part, self._segment(encoder, shown, texts, task, plain, closer)))
        found = list(answered)
        for place, number in enumerate(asked):
            whole, parts = found[number], [(part, some[place]) for part, some in seen]
            most = named_number(given[number]) or MOST_INSTANCES
            some = add_closer(whole, parts, chosen.union, most)
            found[number] = [
                replace(one, instruction_id=number, text=whole[0].text, image=image.frame)
                for one in ([join(some)] if chosen.union else some)
            ]
        return found

    def _agreed(
        self,
        encoder: Encoder,
        image: CachedFrame,
        given: Sequence[str],
        task: Task,
        chosen: ImageOptions,
    ) -> list[Prediction]:
        """Predictions that most paraphrases of an instruction agree on."""
        found = []
        for number, text in enumerate(given):
            said = paraphrases(text, chosen.consensus)
            rule = replace(self.rule(chosen, soft=True), union=False)  # each object has votes of its own
            if rule.arrange is None:  # the words of the instruction itself decide
                rule = replace(rule, all_instances=chosen.union or rule.several(text))
            agreed = agree(self._segment(encoder, image, said, task, chosen, rule))
            agreed = [join(agreed)] if chosen.union else agreed
            found += [replace(one, instruction_id=number) for one in agreed]
        return found

    def answer(
        self,
        image: ImageLike | CachedFrame,
        question: str,
        max_new_tokens: int = MAX_NEW_TOKENS,
        stream: Callable[[str], None] | None = None,
    ) -> str:
        """Replies to a question about an image in text (``Task.VQA``).

        Args:
            image: as of :meth:`predict`.
            question: a text.
            max_new_tokens: longest reply.
            stream: called with each further part of the reply while it is written.

        Raises:
            FileNotFoundError: as :meth:`encode`.
            TypeError: the question is no text, or as :meth:`encode`.
            ValueError: the question is empty or too long, or as :meth:`encode`.
            torch.cuda.OutOfMemoryError: it does not fit.
        """
        if not isinstance(question, str):
            raise TypeError(f"a question is a text, got {type(question).__name__}")
        encoded = image if isinstance(image, CachedFrame) else self.encode(image)
        return self.encoder().write_text(encoded, (question,), Task.VQA, max_new_tokens, stream)[0]
