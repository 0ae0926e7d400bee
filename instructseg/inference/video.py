"""Instructions on a video: every frame is the key frame in turn, frames around it are the references.

Frames are read as they are needed and kept as long as a neighbour may look at them, so memory does not grow
with the clip. SigLIP and the mask branch see each frame once, the perceiver each pair of frame and
instruction once. The numbers are those of one forward per frame. The work is done by
:class:`~instructseg.inference.session.VideoSession`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from instructseg.inference.frame_window import REFERENCES, spacing_of
from instructseg.inference.memory import gaining_chunk
from instructseg.inference.predictor import Session
from instructseg.inference.session import StreamOptions, StreamResult, VideoSession
from instructseg.inference.stride import Stride
from instructseg.inference.user_input import take_instructions, take_video
from instructseg.media import ImageLike, VideoSource
from instructseg.model import InstructSeg
from instructseg.processing import InstructSegProcessor
from instructseg.structures import MaskPrediction, Task


@dataclass(frozen=True, eq=False)
class FrameResult:
    """The answers on one frame.

    Attributes:
        index: of the frame, from 0.
        frame: ``uint8[H, W, 3]`` RGB.
        predictions: one per instruction, in order.
        time: when the frame is shown, in seconds by the clock of its source; ``None`` for an image.
    """

    index: int
    frame: np.ndarray
    predictions: list[MaskPrediction]
    time: float | None = None


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

    takes_clips = True

    def __init__(
        self, model: InstructSeg, processor: InstructSegProcessor, references: int = REFERENCES
    ) -> None:
        super().__init__(model, processor)
        if references < 0:
            raise ValueError(f"references must not be negative, got {references}")
        self.references = references

    def session(self, **options: Any) -> VideoSession:
        """Opens a stream with this model.

        Args:
            options: fields of :class:`~instructseg.inference.session.StreamOptions`.

        Raises:
            ValueError: an option is out of its range.
        """
        stream = StreamOptions(**{"references": self.references, "batch_size": self.batch_size, **options})
        session = VideoSession(self.model, self.processor, stream)
        session.length_multiple = self.length_multiple
        return session

    def predict(
        self,
        video: VideoSource | ImageLike | Iterable[ImageLike],
        instructions: str | Sequence[str],
        task: Task | str = Task.RVOS,
        **options: Any,
    ) -> Iterator[FrameResult]:
        """What each instruction asks for, frame by frame.

        Args:
            video: a file, a folder of frames, or frames from anywhere, such as a camera; as
                :func:`~instructseg.media.open_video` takes it, but arrays as ``uint8[H, W, 3]`` alone.
            instructions: one or several.
            task: selects the prompt, also by its name; for a question whose answer is a mask
                ``Task.REASON_VOS``.
            options: fields of :class:`StreamOptions`: ``soft``, ``threshold``, ``batch_size``,
                ``llm_stride``, ``spacing``, ``delay``, ``chunk``. By default the references of a clip that
                tells its frames per second are spaced as :func:`~instructseg.inference.frame_window.spacing_of`
                says, those of other clips are the nearest frames; the delay of a fixed ``llm_stride`` is long
                enough to take the nearest key frame, and the chunk is :attr:`chunk` where the frames lie
                ready; without a limit on memory 4, where they are small or on a GPU.

        Yields:
            one result per frame, in order, at most ``references`` times ``spacing`` frames after it was read
            (with a stride half of it more, with a chunk the chunk more).

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: there is no frame, or a frame, an instruction or an option does not fit.
            TypeError: what is given is no video, a frame no image, or an instruction no text.
            TruncatedVideoError: the video breaks off; the frames before it were yielded.
        """
        given = take_instructions(instructions)
        stride = Stride.of(options.get("llm_stride", 1))
        frames = take_video(video)
        references = options.get("references", self.references)
        if options.get("spacing") is None:
            options["spacing"] = spacing_of(frames.fps, frames.about, references) if frames.timed else 1
        if stride.every > 1 and not stride.adaptive and options.get("delay") is None:
            options["delay"] = references // 2 * options["spacing"] + stride.every // 2
        if options.get("chunk") is None:
            options["chunk"] = 1 if frames.about is None else self._chunk()
        session = self.session(task=task, **options)
        for instruction in given:
            session.add(instruction)
        return _results(session, frames)

    def _chunk(self) -> int:
        """Frames of a file that are encoded together."""
        return self.chunk or gaining_chunk(self.model.config, self.model.device)


def _results(session: VideoSession, frames: VideoSource) -> Iterator[FrameResult]:
    """A session's results on a clip; where it fails, those on the frames before come first."""
    failure: list[Exception] = []
    group: list[np.ndarray] = []
    try:
        for frame in _until_failure(frames, failure):
            group.append(frame)
            if len(group) >= session.options.chunk:
                yield from _listed(frames, session.extend(group))
                group = []
        yield from _listed(frames, session.extend(group))
        yield from _listed(frames, session.close())
    except RuntimeError:  # out of memory
        yield from _listed(frames, session.take())
        raise
    if failure:
        raise failure[0]


def _until_failure(frames: Iterable[np.ndarray], failure: list[Exception]) -> Iterator[np.ndarray]:
    """Frames up to the one that cannot be read; why is put into ``failure``."""
    try:
        yield from frames
    except (TypeError, ValueError, OSError, RuntimeError) as error:
        failure.append(error)


def _listed(video: VideoSource, results: Iterable[StreamResult]) -> Iterator[FrameResult]:
    for one in results:
        yield FrameResult(one.index, one.frame, list(one.predictions.values()), video.time(one.index))
