"""Predictor protocols, and the base of the predictors of this package."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, runtime_checkable

import torch

from instructseg.deprecation import renamed_keyword
from instructseg.inference.encoder import BATCH_SIZE, Encoder
from instructseg.inference.memory import Workload, plan_checkpoint
from instructseg.inference.selection import CUT, AnswerKeywords, AnswerOptions, AnswerRule
from instructseg.media import ImageLike, VideoSource
from instructseg.model import InstructSeg
from instructseg.model.tokens import ALL_TOKENS, TokenChoice
from instructseg.prediction import FrameResult, Prediction
from instructseg.pretrained import load_pretrained
from instructseg.processing import InstructSegProcessor
from instructseg.structures import Task

if TYPE_CHECKING:
    from typing_extensions import Unpack

LENGTH_MULTIPLE = 32
"""Step, in positions, between the lengths of compiled language sequences."""

OWN_SYSTEM = "InstructSeg"
"""The system of this package, which its own predictions do not name."""

_Self = TypeVar("_Self", bound="PretrainedPredictor")


class RequestKeywords(AnswerKeywords, total=False):
    """Options that the command line passes to any system, each only where it was given.

    A system that lacks one raises a ``ValueError``.
    """

    task: Task | str


class Predictor(Protocol):
    """Interface of a segmentation system for images."""

    def predict(
        self, image: ImageLike, instructions: str | Sequence[str], **options: Unpack[RequestKeywords]
    ) -> list[Prediction]:
        """Predictions on an image, at least one per instruction, in their order.

        Args:
            image: a path, a Pillow image, or ``uint8[H, W, 3]`` RGB.
            instructions: one or several.
            options: see :class:`RequestKeywords`.
        """


class VideoSystem(Protocol):
    """Interface of a segmentation system for video."""

    def predict(
        self,
        video: VideoSource | ImageLike | Iterable[ImageLike] | int,
        instructions: str | Sequence[str],
        **options: Unpack[RequestKeywords],
    ) -> Iterator[FrameResult]:
        """Predictions on a video, one result per frame, in order; arguments as of :class:`Predictor`."""


@runtime_checkable
class TextPredictor(Protocol):
    """A predictor that also writes text."""

    @property
    def text_tasks(self) -> Collection[Task]:
        """``Task.VQA`` with replies, ``Task.REASON_SEG`` with explanations (``explain=True``)."""

    def encode(self, image: ImageLike) -> Any:
        """The image in the system's own form, for several calls of ``predict`` and ``answer``."""

    def answer(self, image: Any, question: str) -> str:
        """The reply to a question about an image, or about the result of ``encode``."""


@dataclass(frozen=True)
class SystemTraits:
    """What a page or a service tells of a system, and how it asks it; defaults for one that says nothing.

    Attributes:
        system: its name, as in :attr:`Prediction.system`.
        tasks: tasks with a mask that ``predict`` takes as ``task``.
        words_decide: whether the words of an instruction choose what comes back: a mask, a box, a depth map,
            text. Else a question goes to :meth:`TextPredictor.answer`, or is refused.
        threshold: presence (0..1) below which a mask is empty by default, and ``predict(threshold=0)`` gives
            every mask; ``None`` where the system itself decides what there is.
        examples: instructions that it understands.
        note: a sentence on words of instructions that the weights do not know; empty for none.
    """

    system: str = ""
    tasks: tuple[Task, ...] = ()
    words_decide: bool = True
    threshold: float | None = None
    examples: tuple[str, ...] = ("the dog on the left",)
    note: Callable[[Sequence[str]], str] = lambda _: ""


@runtime_checkable
class DescribedPredictor(Protocol):
    """A predictor that tells of its system."""

    @property
    def traits(self) -> SystemTraits:
        """What a page or a service should know."""


def traits_of(predictor: object) -> SystemTraits:
    """What a predictor says of its system, or what holds for any."""
    return predictor.traits if isinstance(predictor, DescribedPredictor) else SystemTraits()


def text_tasks_of(predictor: object) -> Collection[Task]:
    """Tasks in which a predictor writes text; none unless it says so."""
    return predictor.text_tasks if isinstance(predictor, TextPredictor) else ()


class PretrainedPredictor:
    """A model with its processor: loading, saving and compiling.

    Args:
        model: is put into evaluation mode.
        processor: of that model.

    Attributes:
        length_multiple: language sequences are padded to a multiple of it.
        batch_size: default number of instructions per batch.
        chunk: most frames of a file encoded together; ``None`` for the fastest number.
    """

    reads_video: ClassVar[bool] = False
    """Whether frames of a file are encoded together."""

    def __init__(self, model: InstructSeg, processor: InstructSegProcessor) -> None:
        self.model, self.processor = model.eval(), processor
        self.length_multiple = 1
        self.batch_size = BATCH_SIZE
        self.chunk: int | None = None

    @classmethod
    @renamed_keyword("quantise", "quantize")
    def from_pretrained(
        cls: type[_Self],
        name_or_path: str | Path | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | str | None = None,
        quantize: str | None = None,
        max_memory: int | str | None = None,
        workload: Workload | None = None,
    ) -> _Self:
        """Loads model and processor; arguments and errors as of :func:`instructseg.pretrained.load_pretrained`.

        Args:
            name_or_path, device, dtype, quantize: as there.
            max_memory: memory budget, e.g. ``"6GB"``; settings left open are chosen to fit, ``batch_size`` and
                ``chunk`` included (:func:`instructseg.inference.memory.plan_memory`).
            workload: expected use under ``max_memory``; ``None`` for 16 instructions on images, or on video
                at 30 frames per second, of 1080 x 1920 pixels.

        Raises:
            ValueError: nothing fits, or as :func:`instructseg.pretrained.load_pretrained`.
        """
        if max_memory is None:
            return cls(*load_pretrained(name_or_path, device, dtype, quantize))
        given = (name_or_path, max_memory, device, dtype, quantize)
        plan = plan_checkpoint(*given, video=cls.reads_video, workload=workload)
        predictor = cls(*load_pretrained(name_or_path, device, plan.dtype, plan.quantize))
        predictor.batch_size, predictor.chunk = plan.batch_size, plan.chunk
        return predictor

    def save_pretrained(self, folder: str | Path, *, max_shard_size: int | str | None = None) -> None:
        """Writes model and processor, quantized or not, for ``--model`` and :meth:`from_pretrained`.

        Args:
            folder: created if missing; files of the same names are replaced.
            max_shard_size: largest weights file, e.g. ``"5GB"``; ``None`` for the default of transformers.

        Raises:
            OSError: the disk refuses.
        """
        self.model.processor = self.processor
        given = {} if max_shard_size is None else {"max_shard_size": max_shard_size}
        self.model.save_pretrained(folder, **given)

    def push_to_hub(
        self,
        repository: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        commit_message: str | None = None,
    ) -> Any:
        """Uploads model and processor to a repository of the Hugging Face hub.

        Args:
            repository: ``owner/name``; created if missing.
            private: whether a new repository is private.
            token: access token; ``None`` for the stored one.
            commit_message: of the upload.

        Returns:
            The hub's description of the commit.
        """
        self.model.processor = self.processor
        given = {"private": private, "token": token, "commit_message": commit_message}
        return self.model.push_to_hub(repository, **{k: v for k, v in given.items() if v is not None})

    def compile(self, mode: str | None = None) -> None:
        """Compiles the encoders and the language model with ``torch.compile``, in place; results stay close.

        Shapes are static: each number of frames, of rows and (in steps of :data:`LENGTH_MULTIPLE`) each
        length of the language sequence is compiled on first use, which takes a minute or more for large
        weights. Pays off on long videos.

        Args:
            mode: of ``torch.compile``, e.g. ``"max-autotune"``.
        """
        for part in (self.model.vision, self.model.backbone, self.model.language.model):
            part.compile(dynamic=False, mode=mode)
        self.length_multiple = LENGTH_MULTIPLE

    def encoder(
        self,
        batch_size: int | None = None,
        frames_at_once: int = 1,
        keep_tokens: TokenChoice = ALL_TOKENS,
    ) -> Encoder:
        """The model's stages with this predictor's settings."""
        size = self.batch_size if batch_size is None else batch_size
        check_batch_size(size)
        return Encoder(self.model, self.processor, size, frames_at_once, self.length_multiple, keep_tokens)

    @property
    def text_tasks(self) -> tuple[Task, ...]:
        """Tasks for which the weights have learned to write text."""
        return self.processor.config.text_tasks

    @property
    def traits(self) -> SystemTraits:
        """What a page or a service should know."""
        return SystemTraits(
            OWN_SYSTEM,
            tuple(task for task in Task if task.has_mask),
            words_decide=False,
            threshold=self.rule(AnswerOptions()).threshold,
            note=self.processor.known_words.note,
        )

    def rule(self, options: AnswerOptions, soft: bool = False) -> AnswerRule:
        """Rule of the predictions: options, and the settings of the weights where none are given.

        Args:
            options: for the predictions.
            soft: whether predictions carry ``probability`` in any case; they do where classes are arranged.
        """
        config, threshold = self.processor.config, options.threshold
        if threshold is None:
            threshold = config.presence_threshold or 0.0
        cut = CUT if config.instance_threshold is None else config.instance_threshold
        temperature = config.presence_temperature or 1.0
        soft = soft or options.soft or options.arrange is not None
        edges = config.edges if options.edges is None else options.edges
        chosen = (threshold, soft, options.all_instances, options.union, options.arrange, edges)
        return AnswerRule(*chosen, temperature, cut)


def check_task(task: Task | str) -> Task:
    """The task of that name.

    Raises:
        ValueError: unknown, or without a mask.
    """
    try:
        found = Task(task)
    except ValueError:
        known = ", ".join(one.value for one in Task if one.has_mask)
        raise ValueError(f"unknown task {task!r}: use {known}") from None
    if not found.has_mask:
        raise ValueError(f"task '{found.value}' has no mask: use ImagePredictor.answer instead")
    return found


def check_batch_size(batch_size: int) -> None:
    """Raises a ValueError below 1."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
