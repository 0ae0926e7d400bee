"""Instructions on a video: every frame is the key frame in turn, its nearest neighbours are the references.

Frames are read as they are needed and kept as long as a neighbour may look at them: five at a time, so
memory does not grow with the clip. SigLIP and the mask branch see each frame once, the perceiver each pair
of frame and instruction once. The numbers are those of one forward per frame.

The length of a stream need not be known. A frame waits for the frames that its references may be among:
the rule (:func:`~instructseg.data.frames.neighbour_references`) gives the same answer for the part that
was read as for the whole, once half of the references lie behind the key frame and all of them are read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypedDict, TypeVar

import numpy as np
import torch

from instructseg.data.frames import neighbour_references
from instructseg.inference.postprocess import predictions
from instructseg.inference.session import BATCH_SIZE, Prompt, Session, batches
from instructseg.media import ImageLike, TruncatedVideoError, VideoSource, open_video
from instructseg.model import InstructSeg
from instructseg.processing import InstructSegProcessor
from instructseg.structures import MaskPrediction, Task

REFERENCES = 4
"""Reference frames, as released."""

_Item = TypeVar("_Item")


@dataclass(frozen=True, eq=False)
class FrameResult:
    """The answers on one frame.

    Attributes:
        index: of the frame, from 0.
        frame: ``uint8[H, W, 3]`` RGB.
        predictions: one per instruction, in order.
    """

    index: int
    frame: np.ndarray
    predictions: list[MaskPrediction]


@dataclass(eq=False)
class _Seen:
    """A frame that was read; ``perceived``, per batch of instructions, is filled when it is first looked at."""

    frame: np.ndarray
    tokens: torch.Tensor
    perceived: list[torch.Tensor | None] = field(default_factory=list)


class _Options(TypedDict):
    """What :func:`predictions` is told."""

    threshold: float | None
    soft: bool


class VideoPredictor(Session):
    """Segments video.

    Example::

        predictor = VideoPredictor.from_pretrained()
        for result in predictor.predict("clip.mp4", "the red circle moving left"):
            print(result.index, result.predictions[0].score)

    Args:
        model: is put into evaluation mode.
        processor: of that model.
        references: frames beside the key frame that the model looks at.
    """

    def __init__(
        self, model: InstructSeg, processor: InstructSegProcessor, references: int = REFERENCES
    ) -> None:
        super().__init__(model, processor)
        if references < 0:
            raise ValueError(f"references must not be negative, got {references}")
        self.references = references

    def predict(
        self,
        video: VideoSource | ImageLike | Iterable[ImageLike],
        instructions: str | Sequence[str],
        task: Task = Task.RVOS,
        *,
        soft: bool = False,
        batch_size: int = BATCH_SIZE,
        threshold: float | None = None,
    ) -> Iterator[FrameResult]:
        """What each instruction asks for, frame by frame.

        Args:
            video: a file, a folder of frames, or frames from anywhere, such as a camera; as
                :func:`~instructseg.media.open_video` takes it.
            instructions: one or several.
            task: selects the prompt; for a question whose answer is a mask ``Task.REASON_VOS``.
            soft: whether the predictions carry ``probability``.
            batch_size: instructions read together.
            threshold: presence (0..1) below which a mask is empty; ``None`` always gives a mask.

        Yields:
            one result per frame, in order, at most ``references`` frames after it was read.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: there is no frame, or a frame or an argument does not fit (see :func:`batches`,
                :meth:`Session.prompt`).
            TruncatedVideoError: the video breaks off; the frames before it were yielded.
        """
        given = (instructions,) if isinstance(instructions, str) else tuple(instructions)
        groups = batches(given, task, batch_size)
        frames = video if isinstance(video, VideoSource) else open_video(video)
        return self._run(frames, groups, task, {"threshold": threshold, "soft": soft})

    def _run(
        self, frames: Iterable[np.ndarray], groups: Sequence[Sequence[str]], task: Task, options: _Options
    ) -> Iterator[FrameResult]:
        """Lays the instructions out as soon as the number of references is known, then goes on by windows."""
        seen = (_Seen(frame, self.tokens(frame)) for frame in frames)
        prompts: list[Prompt] = []
        for index, key, references in windows(seen, self.references):
            prompts = prompts or [self.prompt(group, task, len(references)) for group in groups]
            for frame in references or [key]:
                if not frame.perceived:
                    frame.perceived = [self.perceive(prompt, frame.tokens) for prompt in prompts]
            shown = self.key_frame(key.frame, key.tokens)
            found: list[MaskPrediction] = []
            for number, prompt in enumerate(prompts):
                output = self.solve(prompt, shown, [frame.perceived[number] for frame in references or [key]])
                rows = len(prompt.instructions)
                found += predictions(output, [shown.geometry] * rows, prompt.instructions, **options)
            yield FrameResult(index, key.frame, found)


def windows(items: Iterable[_Item], references: int) -> Iterator[tuple[int, _Item, list[_Item]]]:
    """Each item of a stream with its neighbours, holding no more than ``references + 1`` items.

    Args:
        items: frames, or what stands for them.
        references: how many neighbours are wanted.

    Yields:
        index, item, and its neighbours in order; a short stream has fewer of them.

    Raises:
        TruncatedVideoError: that of ``items``, behind the items before it.
    """
    held: deque[_Item] = deque(maxlen=references + 1)
    read = index = 0
    failure: TruncatedVideoError | None = None

    def window() -> tuple[int, _Item, list[_Item]]:
        first = read - len(held)
        return (
            index,
            held[index - first],
            [held[i - first] for i in neighbour_references(index, read, references)],
        )

    try:
        for item in items:
            held.append(item)
            read += 1
            while read > references and index + references // 2 < read:
                yield window()
                index += 1
    except TruncatedVideoError as error:
        failure = error
    while index < read:
        yield window()
        index += 1
    if failure is not None:
        raise failure
