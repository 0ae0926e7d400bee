"""Instructions on a video: each frame is the key frame in turn, its neighbours are the references.

Frames are read as needed and held while they serve as references, so memory does not grow with the length.
The vision tower and mask branch see each frame once, the perceiver each pair of frame and instruction once.
The numbers are those of one forward per frame. The work is done by
:class:`~instructseg.inference.session.VideoSession`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from instructseg.inference.frame_window import REFERENCES, spacing_of
from instructseg.inference.memory import gaining_chunk
from instructseg.inference.predictor import PretrainedPredictor
from instructseg.inference.propagation.propagation import LOOKAHEAD
from instructseg.inference.propagation.tracker_names import OFF
from instructseg.inference.session import VideoSession
from instructseg.inference.stream_options import PredictOptions, SessionOptions, StreamOptions, with_speed
from instructseg.inference.stride import Stride
from instructseg.inference.user_input import take_instructions, take_video
from instructseg.media import ImageLike, VideoSource
from instructseg.model import InstructSeg
from instructseg.prediction import FrameResult
from instructseg.processing import InstructSegProcessor
from instructseg.structures import Task

if TYPE_CHECKING:
    from typing_extensions import Unpack


class VideoPredictor(PretrainedPredictor):
    """Segments video.

    Example::

        predictor = VideoPredictor.from_pretrained()
        for result in predictor.predict("clip.mp4", "the red circle moving left"):
            print(result.index, result.predictions[0].score)

    Args:
        model: is put into evaluation mode.
        processor: of that model.
        references: reference frames beside the key frame.
    """

    reads_video = True

    def __init__(
        self, model: InstructSeg, processor: InstructSegProcessor, references: int = REFERENCES
    ) -> None:
        super().__init__(model, processor)
        if references < 0:
            raise ValueError(f"references must not be negative, got {references}")
        self.references = references

    def session(self, **options: Unpack[SessionOptions]) -> VideoSession:
        """Opens a session with this model.

        Args:
            options: fields of :class:`~instructseg.inference.session.StreamOptions`, and ``speed``.

        Raises:
            ValueError: an option is out of range.
        """
        own = {"references": self.references, "batch_size": self.batch_size}
        stream = StreamOptions(**{**own, **with_speed(options)})
        session = VideoSession(self.model, self.processor, stream)
        session.length_multiple = self.length_multiple
        return session

    def predict(
        self,
        video: VideoSource | ImageLike | Iterable[ImageLike] | int,
        instructions: str | Sequence[str],
        task: Task | str = Task.RVOS,
        **options: Unpack[PredictOptions],
    ) -> Iterator[FrameResult]:
        """Segments a video by instructions, frame by frame.

        Args:
            video: a file, a folder of frames, the number of a camera, or frames from anywhere; as
                :func:`~instructseg.media.open_video` takes it, but arrays as ``uint8[H, W, 3]`` alone.
            instructions: one or several.
            task: selects the prompt, also by name; ``Task.REASON_VOS`` for questions answered by a mask.
            options: fields of :class:`StreamOptions`: ``soft``, ``threshold``, ``batch_size``,
                ``llm_stride``, ``keep_tokens``, ``spacing``, ``delay``, ``chunk``, ``track``; and ``speed``:
                ``"exact"``, ``"balanced"`` or ``"fast"``, which sets ``llm_stride`` and ``keep_tokens``. By
                default the references of a video with a known frame rate are spaced by
                :func:`~instructseg.inference.frame_window.spacing_of`, those of other sources are the nearest
                frames; the delay of a fixed ``llm_stride`` is long enough for the nearest key frame; the chunk
                of a file is :attr:`chunk`, or without a memory budget 4 for small images or on a GPU; with
                ``track``, 32 frames of a file are held back.

        Yields:
            One result per frame, in order, at most ``references`` times ``spacing`` frames after it was read
            (with a stride half of it more, with a chunk the chunk more).

        Raises:
            FileNotFoundError: no such file.
            ValueError: no frames, or a frame, an instruction or an option does not fit.
            TypeError: not a video, a frame no image, or an instruction no text.
            TruncatedVideoError: the video breaks off; the frames before were yielded.
        """
        given = take_instructions(instructions)
        stride = Stride.of(with_speed(options)["llm_stride"])
        frames = take_video(video)
        references, spacing = options.get("references", self.references), options.get("spacing")
        if spacing is None:
            spacing = spacing_of(frames.fps, frames.about, references) if frames.timed else 1
        options["spacing"] = spacing
        if stride.every > 1 and not stride.adaptive and options.get("delay") is None:
            options["delay"] = references // 2 * spacing + stride.every // 2
        if options.get("chunk") is None:
            options["chunk"] = 1 if frames.about is None else self._chunk()
        if options.get("lookahead") is None:
            tracked = options.get("track", OFF) != OFF
            options["lookahead"] = LOOKAHEAD if tracked and frames.about is not None else 0
        session = self.session(task=task, **options)
        for instruction in given:
            session.add(instruction)
        return _results(session, frames)

    def _chunk(self) -> int:
        """Frames of a file encoded together."""
        return self.chunk or gaining_chunk(self.model.config, self.model.device)


def _results(session: VideoSession, frames: VideoSource) -> Iterator[FrameResult]:
    """Results of a session on a video; after a failure, those on the frames before come first."""
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
    """Frames before the first unreadable one, whose error is appended to ``failure``."""
    try:
        yield from frames
    except (TypeError, ValueError, OSError, RuntimeError) as error:
        failure.append(error)


def _listed(video: VideoSource, results: Iterable[FrameResult]) -> Iterator[FrameResult]:
    for one in results:
        yield replace(one, time=video.time(one.index))
