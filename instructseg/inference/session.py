"""Streaming segmentation: frames in, predictions out, instructions added and dropped at any time."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType

import numpy as np
import torch

from instructseg.inference.arrangement import arrange
from instructseg.inference.encoder import Pair
from instructseg.inference.instructions import Anchor, Instruction, States
from instructseg.inference.predictor import PretrainedPredictor
from instructseg.inference.propagation.propagation import Propagation
from instructseg.inference.propagation.tracker_names import tracker_maker
from instructseg.inference.stream_options import StreamOptions
from instructseg.inference.tracking import Identities
from instructseg.inference.user_input import take_image
from instructseg.media import ImageLike
from instructseg.model import InstructSeg
from instructseg.prediction import FrameResult, Prediction
from instructseg.processing import InstructSegProcessor

_Found = dict[int, list[Prediction]]
"""Predictions by id of the instruction, the best first."""


class VideoSession(PretrainedPredictor):
    """Segments a stream, frame by frame.

    Any thread may add and drop instructions; frames come from one thread at a time, and a second one at the
    same time gets an error.

    Each frame is encoded once, whatever the number of instructions. Memory does not grow with the length:
    frames are held while they wait for their result or serve as references.

    Example::

        session = VideoSession.from_pretrained()
        circle = session.add("the red circle")
        for frame in camera:
            for result in session.push(frame):
                print(result.index, result.of(circle)[0].score)
        last = session.flush()

    Results computed before an error are returned by the next call, or by :meth:`take`.

    Args:
        model: is put into evaluation mode.
        processor: of that model.
        options: settings; ``None`` for the defaults.
    """

    def __init__(
        self, model: InstructSeg, processor: InstructSegProcessor, options: StreamOptions | None = None
    ) -> None:
        self.options = options = options or StreamOptions()
        super().__init__(model, processor)
        self.closed = False
        """True once no more frames are accepted."""
        self._encoder = self.encoder(options.batch_size, options.chunk, options.kept)
        self._instructions: dict[int, Instruction] = {}
        self._added = 0
        self._rule = self.rule(options, soft=options.smooth > 0)
        self._identities = Identities(options.smooth)
        make = tracker_maker(options.track, self.model.device)
        shown = self.rule(options)  # without the soft masks that smoothing reads
        self._propagation = None if make is None else Propagation(make, options.lookahead, shown.soft)
        self._start = 0  # index of the first frame of the current video
        self._window = options.window()
        self._size: tuple[int, int] | None = None
        self._done: list[FrameResult] = []
        self._turn = threading.RLock()  # held by the thread that is inside

    @property
    def instructions(self) -> dict[int, str]:
        """Active instructions, by id."""
        return {number: row.text for number, row in self._instructions.items()}

    @property
    def held(self) -> int:
        """Number of frames in memory."""
        return len(self._window)

    @torch.inference_mode()
    def add(self, instruction: str) -> int:
        """Adds an instruction, effective from the next emitted frame.

        Returns:
            Its id, for :meth:`FrameResult.of`; never reused.

        Raises:
            ValueError: the instruction is empty or too long, or the session is closed.
            TypeError: not a text.
        """
        if not isinstance(instruction, str):
            raise TypeError(f"an instruction is a text, got {type(instruction).__name__}")
        with self._turn:
            self._require_open("add an instruction")
            number = self._added
            row = Instruction(number, instruction, self.options.task, self.processor, self.options.references)
            self._instructions[number] = row
            self._identities.add(number, self._rule.numbers_objects(instruction))
            self._added += 1
        return number

    def drop(self, number: int) -> None:
        """Drops an instruction, effective from the next emitted frame.

        Raises:
            ValueError: no such instruction, or the session is closed.
        """
        with self._turn:
            self._require_open("drop an instruction")
            if number not in self._instructions:
                known = ", ".join(map(str, self._instructions)) or "none"
                raise ValueError(f"no instruction has the id {number!r}: there are {known}")
            del self._instructions[number]
            self._identities.drop(number)
            self._window.forget(number)
            if self._propagation is not None:
                self._propagation.drop(number)

    def push(self, frame: ImageLike) -> list[FrameResult]:
        """Adds the next frame.

        Args:
            frame: ``uint8[H, W, 3]`` RGB, a path or a Pillow image.

        Returns:
            Results that are ready, in order: usually one, that of ``delay`` frames ago; none at the start.

        Raises:
            ValueError: the frame is no image, or differs in size from the frames before; the session is closed,
                or in use by another thread. The session continues without that frame.
            TypeError: the frame is something else, such as a tensor.
            torch.cuda.OutOfMemoryError: not even one instruction fits. The next call tries again.
        """
        return self.extend([frame])

    @torch.inference_mode()
    def extend(self, frames: Iterable[ImageLike]) -> list[FrameResult]:
        """Adds several frames, encoded ``chunk`` at a time; otherwise as :meth:`push`.

        All of them are held until their results are emitted: give few at a time.
        """
        with self._alone("take a frame"):
            if self._window.ended:
                raise ValueError("the previous video has unfinished frames: call flush() again")
            for frame in frames:
                # a copy: the caller's array may change while the frame is held
                self._window.append(self._fitting(take_image(frame)))
            return self._advance()

    def take(self) -> list[FrameResult]:
        """Returns results computed before an error interrupted the last call."""
        if self._propagation is not None:
            self._done += [self._finished(one) for one in self._propagation.release()]
        return self._taken()

    def _taken(self) -> list[FrameResult]:
        done, self._done = self._done, []
        return done

    @torch.inference_mode()
    def flush(self) -> list[FrameResult]:
        """Ends the video: returns the results that waited for more frames.

        The next frame, of any size, begins another video with references of its own; indices continue and
        instructions stay.
        """
        with self._alone("flush"):
            self._window.ended = True
            results = self._advance()
            if self._propagation is not None:
                results += [self._finished(one) for one in self._propagation.end()]
            self._start += self._window.read
            self._window = self.options.window()
            self._size = None
            self._identities.restart()
            for row in self._instructions.values():
                row.forget()
            return results

    def close(self) -> list[FrameResult]:
        """Flushes and closes the session; a second call returns nothing."""
        if self.closed:
            return []
        results = self.flush()
        self._shut()
        return results

    def __enter__(self) -> VideoSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes without the last frames; call :meth:`flush` first to get them."""
        self._shut()

    def _shut(self) -> None:
        self.closed = True
        self._instructions.clear()
        self._window = self.options.window()

    def _require_open(self, wanted: str) -> None:
        if self.closed:
            raise ValueError(f"cannot {wanted}: the session is closed, open another one")

    @contextmanager
    def _alone(self, wanted: str) -> Iterator[None]:
        """Exclusive use by this thread, of an open session."""
        if not self._turn.acquire(blocking=False):
            raise ValueError(f"cannot {wanted}: another thread is inside, give each thread its own session")
        try:
            self._require_open(wanted)
            yield
        finally:
            self._turn.release()

    def _fitting(self, frame: np.ndarray) -> np.ndarray:
        """The frame, checked to have the size of the frames before."""
        size = (frame.shape[0], frame.shape[1])
        if self._size is not None and size != self._size:
            index = self._start + self._window.read
            raise ValueError(
                f"frame {index} is {size[0]}x{size[1]}, the frames before are {self._size[0]}x{self._size[1]}: "
                "resize it, or call flush() to begin another video"
            )
        self._size = size
        return frame

    def _advance(self) -> list[FrameResult]:
        """Computes all results that are ready."""
        window, stride, encoder = self._window, self.options.stride, self._encoder
        encoder.length_multiple = self.length_multiple
        while ready := window.ready(encoder.frames_at_once):
            active = list(self._instructions.values())
            if active:
                encoder.encode_maps([window[t] for t in ready])
                if not stride.adaptive:
                    self._reason(self._plan(ready, active))
            for t in ready:
                answer = self._adaptive if stride.adaptive else self._planned
                found, keys = answer(t, active) if active else ({}, {})
                shown = window[t].frame.copy()  # drawing on it must not change a later reference
                named = self._identities.update(shown, found)
                result = FrameResult(self._start + t, shown, named, keys=keys)
                results = [result] if self._propagation is None else self._propagation.add(result)
                self._done += [self._finished(one) for one in results]
                window.advance()
        return self._taken()

    def _finished(self, result: FrameResult) -> FrameResult:
        """The result as users get it."""
        named = result.predictions
        if self.options.arrange is not None and named:
            named = arrange(named, self.options.arrange)
        if not self.options.soft:
            named = [replace(one, probability=None) for one in named]
        return replace(result, predictions=named)

    def _key(self, t: int, row: Instruction, known: Iterable[int]) -> int:
        """Key frame of an instruction for frame ``t``, given the key frames with states."""
        stride = self.options.stride
        wanted = stride.key(t, self._window.settled(stride.following(t)))
        if wanted in known or wanted >= t:
            return wanted
        # the instruction was added after that key frame: its first frame takes the place
        return max((key for key in known if wanted < key <= t), default=t)

    def _plan(self, ready: list[int], active: list[Instruction]) -> list[tuple[Instruction, int]]:
        """Missing language-model runs, with a fixed stride."""
        planned = []
        for row in active:
            known = set(row.states)
            for t in ready:
                key = self._key(t, row, known)
                if key not in known:
                    planned.append((row, key))
                    known.add(key)
        return sorted(planned, key=lambda pair: (pair[1], pair[0].number))

    def _planned(self, t: int, active: list[Instruction]) -> tuple[_Found, dict[int, int]]:
        """Predictions on frame ``t`` by the states of its key frames, and the key frames."""
        keys = {row.number: self._key(t, row, row.states) for row in active}
        found = self._decode(t, [(row, row.states[keys[row.number]]) for row in active])
        for row in active:
            row.keep_from(keys[row.number])
        return found, {number: self._start + key for number, key in keys.items()}

    def _adaptive(
        self, t: int, active: list[Instruction]
    ) -> tuple[dict[int, list[Prediction]], dict[int, int]]:
        """Predictions on frame ``t``; the language model runs where its last run no longer holds."""
        stride, maps = self.options.stride, self._window[t].maps
        assert maps is not None
        level = maps.features.levels[0]
        changed: dict[int, bool] = {}  # by the frame of the last run: instructions share it

        def holds(anchor: Anchor | None) -> bool:
            if anchor is None or t - anchor.t >= stride.every:
                return False
            if anchor.t not in changed:
                changed[anchor.t] = stride.changed(level, anchor.level)
            return not changed[anchor.t]

        run = [row for row in active if not holds(row.anchor)]
        self._reason([(row, t) for row in run])
        found = self._decode(t, [(row, row.states[max(row.states)]) for row in active])
        fallen = [
            row
            for row in active
            if row not in run and row.anchor and stride.fallen(found[row.number][0].score, row.anchor.score)
        ]
        self._reason([(row, t) for row in fallen])
        found.update(self._decode(t, [(row, row.states[t]) for row in fallen]))
        for row in (*run, *fallen):
            row.anchor = Anchor(t, level, found[row.number][0].score)
            row.keep_from(t)
        return found, {row.number: self._start + max(row.states) for row in active}

    def _reason(self, rows: list[tuple[Instruction, int]]) -> None:
        """Runs the language model on instructions and their key frames; states are kept by instruction."""
        window = self._window
        pairs = [Pair(row, window[key], [window[t] for t in window.neighbours(key)]) for row, key in rows]
        for (row, key), states in zip(rows, self._encoder.reason(pairs), strict=True):
            row.states[key] = states

    def _decode(self, t: int, rows: list[tuple[Instruction, States]]) -> _Found:
        """Predictions on frame ``t`` by id of the instruction, the best first."""
        found = self._encoder.decode(self._window[t], rows, self._rule)
        return {row.number: one for (row, _), one in zip(rows, found, strict=True)}
