"""A video that is segmented while it is read: frames in, predictions out, instructions coming and going."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import torch

from instructseg.inference.encoder import Pairs
from instructseg.inference.frame_window import REFERENCES, Window
from instructseg.inference.instructions import Anchor, Instruction, States
from instructseg.inference.predictor import BATCH_SIZE, check_batch_size, check_task
from instructseg.inference.stride import Stride
from instructseg.inference.user_input import take_image
from instructseg.media import ImageLike
from instructseg.model import InstructSeg
from instructseg.processing import InstructSegProcessor
from instructseg.structures import MaskPrediction, Task


@dataclass(frozen=True)
class StreamOptions:
    """How a stream is segmented.

    Attributes:
        task: selects the prompt, also by its name; for a question whose answer is a mask ``Task.REASON_VOS``.
        references: frames beside the key frame that the model looks at.
        spacing: frames from one reference to the next. 1 is the released rule; for what it means at other
            frame rates see :func:`~instructseg.inference.frame_window.spacing_of`.
        delay: frames that are read behind a frame before its result comes; ``None`` for half of the
            references, the released rule. 0 answers at once and looks at the past alone. With more than
            half of the references, a fixed stride may take the nearest key frame instead of the previous.
        llm_stride: frames from one run of the language model to the next: 1 is exact; ``"auto"`` runs it
            when a score falls or the picture changes; see :class:`~instructseg.inference.stride.Stride`.
        batch_size: pairs of frame and instruction that are computed together, where memory allows.
        chunk: frames that are encoded together, where several are given at once.
        threshold: presence (0..1) below which a mask is empty; ``None`` for that of the weights, where they
            have one, 0 always gives a mask.
        soft: whether the predictions carry ``probability``.

    Raises:
        ValueError: an option is out of its range.
    """

    task: Task = Task.RVOS
    references: int = REFERENCES
    spacing: int = 1
    delay: int | None = None
    llm_stride: Stride | int | str = 1
    batch_size: int = BATCH_SIZE
    chunk: int = 1
    threshold: float | None = None
    soft: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "task", check_task(self.task))
        check_batch_size(self.batch_size)
        if self.chunk < 1:
            raise ValueError(f"chunk must be at least 1, got {self.chunk}")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold {self.threshold} is outside 0..1")
        self.window()
        object.__setattr__(self, "llm_stride", Stride.of(self.llm_stride))

    def window(self) -> Window:
        """The window of a clip that begins."""
        return Window(self.references, self.delay, self.spacing)

    @property
    def stride(self) -> Stride:
        """``llm_stride`` in full."""
        assert isinstance(self.llm_stride, Stride)
        return self.llm_stride


@dataclass(frozen=True, eq=False)
class StreamResult:
    """The answers on one frame.

    Attributes:
        index: of the frame in the session, from 0.
        frame: ``uint8[H, W, 3]`` RGB, of its own memory.
        predictions: by the id of the instruction.
        keys: by the id, the frame that the language model looked at; ``index`` without a stride.
    """

    index: int
    frame: np.ndarray
    predictions: dict[int, MaskPrediction]
    keys: dict[int, int]


class VideoSession(Pairs):
    """Segments a stream, frame by frame.

    Threads may add and drop instructions; frames come from one thread at a time, and where another one is at
    it already that is an error.

    A frame's SigLIP and Swin features are computed once, whatever the number of instructions. Memory does
    not grow with the length: frames are held while they wait, or while a later one looks back at them.

    Example::

        session = VideoSession.from_pretrained()
        circle = session.add("the red circle")
        for frame in camera:
            for result in session.push(frame):
                print(result.index, result.predictions[circle].score)
        last = session.flush()

    Where an error is raised, results that were done before it come with the next call, or by :meth:`take`.

    Args:
        model: is put into evaluation mode.
        processor: of that model.
        options: how to segment.
    """

    def __init__(
        self, model: InstructSeg, processor: InstructSegProcessor, options: StreamOptions | None = None
    ) -> None:
        self.options = options = options or StreamOptions()
        super().__init__(model, processor, options.batch_size, options.chunk)
        self.closed = False
        """Whether nothing more is taken."""
        self._instructions: dict[int, Instruction] = {}
        self._added = 0
        self._start = 0  # index of the clip's first frame
        self._window = options.window()
        self._size: tuple[int, int] | None = None
        self._done: list[StreamResult] = []
        self._turn = threading.RLock()  # held by the thread that is inside

    @property
    def instructions(self) -> dict[int, str]:
        """What is asked now, by id."""
        return {number: row.text for number, row in self._instructions.items()}

    @property
    def held(self) -> int:
        """Frames that are held."""
        return len(self._window)

    @torch.inference_mode()
    def add(self, instruction: str) -> int:
        """Asks for something more, from the next frame that comes out on.

        Returns:
            its id, a key of :attr:`StreamResult.predictions`; never given twice.

        Raises:
            ValueError: the instruction is empty or too long, or the session is closed.
            TypeError: it is no text.
        """
        if not isinstance(instruction, str):
            raise TypeError(f"an instruction is a text, got {type(instruction).__name__}")
        with self._turn:
            self._require_open("add an instruction")
            number = self._added
            row = Instruction(number, instruction, self.options.task, self.processor, self.options.references)
            self._instructions[number] = row
            self._added += 1
        return number

    def drop(self, number: int) -> None:
        """Asks no longer, from the next frame that comes out on.

        Raises:
            ValueError: there is no such instruction, or the session is closed.
        """
        with self._turn:
            self._require_open("drop an instruction")
            if number not in self._instructions:
                known = ", ".join(map(str, self._instructions)) or "none"
                raise ValueError(f"no instruction has the id {number!r}: there are {known}")
            del self._instructions[number]
            self._window.forget(number)

    def push(self, frame: ImageLike) -> list[StreamResult]:
        """Takes the next frame.

        Args:
            frame: ``uint8[H, W, 3]`` RGB, a path or a Pillow image.

        Returns:
            results that are ready, in order: usually one, that of ``delay`` frames ago; none at the start.

        Raises:
            ValueError: the frame is no image, or of another size than those before; the session is closed, or
                another thread is giving it frames. The session goes on as if it had not been given.
            TypeError: the frame is something else, such as a tensor.
            torch.cuda.OutOfMemoryError: not even one instruction fits. The next call tries again.
        """
        return self.extend([frame])

    @torch.inference_mode()
    def extend(self, frames: Iterable[ImageLike]) -> list[StreamResult]:
        """Takes several frames, and encodes ``chunk`` of them together; otherwise as :meth:`push`.

        They are all held until their results come: give few at a time.
        """
        with self._alone("take a frame"):
            if self._window.ended:
                raise ValueError("the last frames of the clip before are not done: call flush() again")
            for frame in frames:
                # a copy: the caller's array may change while the frame is held
                self._window.append(self._fitting(take_image(frame)))
            return self._advance()

    def take(self) -> list[StreamResult]:
        """Results that are done and were not handed out: there are some behind an error only."""
        done, self._done = self._done, []
        return done

    @torch.inference_mode()
    def flush(self) -> list[StreamResult]:
        """Ends the clip: gives the results that were waiting for more frames.

        The next frame, of any size, begins another clip, which does not look back at this one; indices and
        instructions go on.
        """
        with self._alone("flush"):
            self._window.ended = True
            results = self._advance()
            self._start += self._window.read
            self._window = self.options.window()
            self._size = None
            for row in self._instructions.values():
                row.forget()
            return results

    def close(self) -> list[StreamResult]:
        """:meth:`flush`, and the end: nothing more is taken. A second time it gives nothing."""
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
        """Closes without the last frames: call :meth:`flush` for them before."""
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
        """This thread inside and no other; the session open."""
        if not self._turn.acquire(blocking=False):
            raise ValueError(f"cannot {wanted}: another thread is inside, give each thread its own session")
        try:
            self._require_open(wanted)
            yield
        finally:
            self._turn.release()

    def _fitting(self, frame: np.ndarray) -> np.ndarray:
        """The frame, of the same size as those before in the clip."""
        size = (frame.shape[0], frame.shape[1])
        if self._size is not None and size != self._size:
            index = self._start + self._window.read
            raise ValueError(
                f"frame {index} is {size[0]}x{size[1]}, those before are {self._size[0]}x{self._size[1]}: "
                "resize it, or call flush() to begin another clip"
            )
        self._size = size
        return frame

    def _advance(self) -> list[StreamResult]:
        """Computes what can be computed now."""
        window, stride = self._window, self.options.stride
        while ready := window.ready(self.frames_at_once):
            active = list(self._instructions.values())
            if active:
                self.encode_masks(window, ready)
                if not stride.adaptive:
                    self.reason_pairs(window, self._plan(ready, active))
            for t in ready:
                answer = self._adaptive if stride.adaptive else self._planned
                found, keys = answer(t, active) if active else ({}, {})
                shown = window[t].frame.copy()  # whoever draws on it does not draw on a later reference
                self._done.append(StreamResult(self._start + t, shown, found, keys))
                window.advance()
        return self.take()

    def _key(self, t: int, row: Instruction, known: Iterable[int]) -> int:
        """The key frame of an instruction on frame ``t``, ``known`` those it has states of."""
        stride = self.options.stride
        wanted = stride.key(t, self._window.settled(stride.following(t)))
        if wanted in known or wanted >= t:
            return wanted
        # the instruction is younger than that key frame: the first frame it was asked on takes its place
        return max((key for key in known if wanted < key <= t), default=t)

    def _plan(self, ready: list[int], active: list[Instruction]) -> list[tuple[Instruction, int]]:
        """The runs of the language model that frames need, with a fixed stride."""
        planned = []
        for row in active:
            known = set(row.states)
            for t in ready:
                key = self._key(t, row, known)
                if key not in known:
                    planned.append((row, key))
                    known.add(key)
        return sorted(planned, key=lambda pair: (pair[1], pair[0].number))

    def _planned(self, t: int, active: list[Instruction]) -> tuple[dict[int, MaskPrediction], dict[int, int]]:
        """Answers on frame ``t`` by the states of its key frames, and the key frames."""
        keys = {row.number: self._key(t, row, row.states) for row in active}
        found = self._decode(t, [(row, row.states[keys[row.number]]) for row in active])
        for row in active:
            row.keep_from(keys[row.number])
        return found, {number: self._start + key for number, key in keys.items()}

    def _adaptive(self, t: int, active: list[Instruction]) -> tuple[dict[int, MaskPrediction], dict[int, int]]:
        """Answers on frame ``t``; the language model runs where the last run no longer holds."""
        stride, shown = self.options.stride, self._window[t].shown
        assert shown is not None
        level = shown.features.levels[0]
        changed: dict[int, bool] = {}  # by the frame of the last run: instructions share it

        def holds(anchor: Anchor | None) -> bool:
            if anchor is None or t - anchor.t >= stride.every:
                return False
            if anchor.t not in changed:
                changed[anchor.t] = stride.changed(level, anchor.level)
            return not changed[anchor.t]

        run = [row for row in active if not holds(row.anchor)]
        self.reason_pairs(self._window, [(row, t) for row in run])
        found = self._decode(t, [(row, row.states[max(row.states)]) for row in active])
        fallen = [
            row
            for row in active
            if row not in run and row.anchor and stride.fallen(found[row.number].score, row.anchor.score)
        ]
        self.reason_pairs(self._window, [(row, t) for row in fallen])
        found.update(self._decode(t, [(row, row.states[t]) for row in fallen]))
        for row in (*run, *fallen):
            row.anchor = Anchor(t, level, found[row.number].score)
            row.keep_from(t)
        return found, {row.number: self._start + max(row.states) for row in active}

    def _decode(self, t: int, rows: list[tuple[Instruction, States]]) -> dict[int, MaskPrediction]:
        """Answers on frame ``t`` by id."""
        found = self.decode_pairs(
            self._window, t, rows, self.threshold(self.options.threshold), self.options.soft
        )
        return {row.number: one for (row, _), one in zip(rows, found, strict=True)}
