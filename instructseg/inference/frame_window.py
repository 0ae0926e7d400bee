"""Frames held by a video session: pending ones, and references of later frames.

A frame's references are its nearest neighbours; with a ``spacing``, the nearest among every ``spacing``-th
frame counted from it. ``delay`` frames must have been read after a frame before its result is emitted. With
``delay >= references // 2 * spacing`` the references are those of the released rule
(:func:`~instructseg.data.frames.neighbour_references`), which gives the same references for the part read so
far as for the whole video once half of them lie after the key frame and all are read. With less delay the
window moves into the past, and is cut at the start of a video.
"""

from __future__ import annotations

from itertools import takewhile

import numpy as np

from instructseg.data.frames import neighbour_references
from instructseg.inference.encoder import CachedFrame

REFERENCES = 4
"""Number of reference frames, as released."""
REFERENCE_FPS = 6
"""Frame rate of the released rule: Ref-YouTube-VOS shows every fifth frame of 30."""


def spacing_of(fps: float, length: int | None = None, references: int = REFERENCES) -> int:
    """Distance between references that spans as much time as at :data:`REFERENCE_FPS`.

    Args:
        fps: frames per second of the video.
        length: frames of the video; a short one gets closer references, so that all of them exist.
        references: their number.

    Returns:
        Frames from one reference to the next, at least 1.
    """
    spacing = round(fps / REFERENCE_FPS)
    if length is not None and references:
        spacing = min(spacing, length // (references + 1))
    return max(1, spacing)


def most_held(spacing: int, references: int = REFERENCES, chunk: int = 1) -> int:
    """Largest number of frames in a :class:`FrameWindow` of the released rule, with ``chunk`` added at once."""
    return (references + 1) * spacing + chunk


class FrameWindow:
    """Held frames of one video, counted from 0 at its start.

    Args:
        references: reference frames beside the key frame.
        delay: frames read after a frame before its result; ``None`` for half of the references.
        spacing: frames from one reference to the next.

    Raises:
        ValueError: a number is negative, or ``spacing`` is 0.
    """

    def __init__(self, references: int = REFERENCES, delay: int | None = None, spacing: int = 1) -> None:
        if references < 0:
            raise ValueError(f"references must not be negative, got {references}")
        if delay is not None and delay < 0:
            raise ValueError(f"delay must not be negative, got {delay}")
        if spacing < 1:
            raise ValueError(f"spacing must be at least 1, got {spacing}")
        half = references // 2
        self.references, self.spacing = references, spacing
        self.delay = half * spacing if delay is None else delay
        self.future = min(self.delay // spacing, half)
        """References after the key frame in the middle of a video."""
        self.released = delay is None or delay >= max(half, 1) * spacing
        """Whether the released rule applies; otherwise the window is cut at the start of the video."""
        self.read = 0
        """Number of frames read."""
        self.next = 0
        """Frame of the next result."""
        self.ended = False
        """True once no frame follows."""
        self._held: dict[int, CachedFrame] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __getitem__(self, t: int) -> CachedFrame:
        """Frame ``t``; KeyError if not held."""
        return self._held[t]

    def append(self, frame: np.ndarray) -> None:
        """Adds the next frame, ``uint8[H, W, 3]``."""
        self._held[self.read] = CachedFrame(frame)
        self.read += 1

    def settled(self, t: int) -> bool:
        """True once frame ``t`` and all its reference frames have been read."""
        if self.ended:
            return t < self.read
        within = t + self.future * self.spacing < self.read
        return within and not (self.released and self._read_of(t) <= self.references)

    def neighbours(self, t: int) -> list[int]:
        """References of a settled frame, in temporal order; if empty, the frame is its own reference."""
        place, first = divmod(t, self.spacing)
        count = self._read_of(t)
        if self.released:
            seen = neighbour_references(place, count, self.references)
        else:
            last = min(place + self.future, count - 1)
            seen = [i for i in range(max(0, last - self.references), last + 1) if i != place]
        return [first + i * self.spacing for i in seen]

    def _read_of(self, t: int) -> int:
        """Number of frames read at the spacing of ``t``, itself included."""
        return len(range(t % self.spacing, self.read, self.spacing))

    def ready(self, most: int) -> list[int]:
        """Frames with computable results, at most ``most`` of them, in order."""
        stop = self.read if self.ended else self.read - self.delay
        found = range(self.next, min(stop, self.next + most))
        return list(takewhile(self.settled, found))

    def waiting(self) -> range:
        """Frames without a result."""
        return range(self.next, self.read)

    def advance(self) -> np.ndarray:
        """Pops the oldest pending frame and evicts frames no longer used as references.

        Returns:
            Its pixels.
        """
        done = self._held[self.next]
        done.maps = None
        self.next += 1
        behind = self.references - self.future
        first = min(self.next - behind * self.spacing, self.read - (self.references + 1) * self.spacing)
        for t in [t for t in self._held if t < first]:
            del self._held[t]
        return done.frame

    def forget(self, instruction: int) -> None:
        """Evicts what an instruction perceived in the frames."""
        for held in self._held.values():
            held.perceived.pop(instruction, None)
