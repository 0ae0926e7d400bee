"""Settings of a video session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from instructseg.inference.encoder import BATCH_SIZE
from instructseg.inference.frame_window import REFERENCES, FrameWindow
from instructseg.inference.predictor import check_batch_size, check_task
from instructseg.inference.propagation.tracker_names import OFF
from instructseg.inference.selection import AnswerKeywords, AnswerOptions
from instructseg.inference.stride import Stride
from instructseg.model.tokens import TokenChoice
from instructseg.structures import Task

SpeedName = Literal["exact", "balanced", "fast"]
"""Names of settings that trade exactness for speed."""
SPEEDS: Mapping[SpeedName, tuple[int, float]] = {"exact": (1, 1.0), "balanced": (4, 0.5), "fast": (8, 0.2)}
"""``llm_stride`` and ``keep_tokens`` by name, from the measured frontier (``docs/performance.md``)."""


@dataclass(frozen=True)
class StreamOptions(AnswerOptions):
    """Settings of a video session, besides those of every prediction.

    Attributes:
        task: selects the prompt, also by name; ``Task.REASON_VOS`` for questions answered by a mask.
        references: reference frames beside the key frame.
        spacing: frames from one reference to the next. 1 is the released rule; for other frame rates see
            :func:`~instructseg.inference.frame_window.spacing_of`.
        delay: frames read after a frame before its result is emitted; ``None`` for half of the references,
            the released rule. 0 answers at once from past frames alone. With more than half of the
            references, a fixed stride may take the nearest key frame instead of the previous one.
        llm_stride: frames from one run of the language model to the next: 1 is exact; ``"auto"`` runs it
            when a score falls or the image changes; see :class:`~instructseg.inference.stride.Stride`.
        keep_tokens: share of the key frame's tokens that the language model reads, above 0 and at most 1;
            1 for all. :class:`~instructseg.model.tokens.TokenChoice` sets more.
        batch_size: pairs of frame and instruction per batch, where memory allows.
        chunk: frames encoded together when several are given at once.
        smooth: share (0..1) of the frame before in the soft mask of an object, moved on with it; 0 for none.
        track: what carries masks from frame to frame: ``"off"``, ``"flow"``, ``"sam2.1-tiny"`` or another
            name of :func:`~instructseg.inference.propagation.tracker_names.tracker_maker`. The surer of a
            carried mask and the model's own is shown.
        lookahead: frames that ``track`` holds back together, to carry masks backward, too; 0 for none.

    Raises:
        ValueError: an option is out of range.
    """

    task: Task = Task.RVOS
    references: int = REFERENCES
    spacing: int = 1
    delay: int | None = None
    llm_stride: Stride | int | str = 1
    keep_tokens: TokenChoice | float = 1.0
    batch_size: int = BATCH_SIZE
    chunk: int = 1
    smooth: float = 0.0
    track: str = OFF
    lookahead: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "task", check_task(self.task))
        check_batch_size(self.batch_size)
        if self.chunk < 1:
            raise ValueError(f"chunk must be at least 1, got {self.chunk}")
        super().__post_init__()
        if not 0 <= self.smooth < 1:
            raise ValueError(f"smooth {self.smooth} must be at least 0 and below 1")
        if self.lookahead < 0:
            raise ValueError(f"lookahead must not be negative, got {self.lookahead}")
        self.window()
        object.__setattr__(self, "llm_stride", Stride.of(self.llm_stride))
        object.__setattr__(self, "keep_tokens", TokenChoice.of(self.keep_tokens))

    def window(self) -> FrameWindow:
        """An empty window for a new video."""
        return FrameWindow(self.references, self.delay, self.spacing)

    @property
    def stride(self) -> Stride:
        """``llm_stride`` as a :class:`Stride`."""
        assert isinstance(self.llm_stride, Stride)
        return self.llm_stride

    @property
    def kept(self) -> TokenChoice:
        """``keep_tokens`` as a choice."""
        assert isinstance(self.keep_tokens, TokenChoice)
        return self.keep_tokens


class PredictOptions(AnswerKeywords, total=False):
    """Fields of :class:`StreamOptions` by keyword, ``task`` apart, and ``speed``, which sets two of them."""

    references: int
    spacing: int | None
    delay: int | None
    llm_stride: Stride | int | str
    keep_tokens: TokenChoice | float
    batch_size: int
    chunk: int | None
    smooth: float
    track: str
    lookahead: int | None
    speed: SpeedName


class SessionOptions(PredictOptions, total=False):
    """Fields of :class:`StreamOptions` by keyword."""

    task: Task | str


def with_speed(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with ``speed`` replaced by what it means; of these settings, those given as well stay.

    Raises:
        ValueError: no such speed.
    """
    given = dict(options)
    speed = given.pop("speed", "exact")
    if speed not in SPEEDS:
        raise ValueError(f"unknown speed {speed!r}: use {', '.join(SPEEDS)}")
    stride, keep = SPEEDS[speed]
    return {"llm_stride": stride, "keep_tokens": keep, **given}
