"""The part of a clip that a stream keeps: frames that wait for their result, and those still looked back at.

A frame's references are its nearest neighbours, or with a ``spacing`` those of the clip that has only every
``spacing``-th frame, to which it belongs. ``delay`` frames must have been read behind a frame before
its result comes out. With ``delay >= references // 2 * spacing`` the references are those of the released rule
(:func:`~instructseg.data.frames.neighbour_references`), which gives the same answer for the part that was
read as for the whole clip, once half of the references lie behind the key frame and all of them are read.
With less delay the window is moved into the past; at the start of a clip it is then cut, not waited for.

Letters: ``P`` SigLIP tokens, ``K`` perceiver queries, ``D`` width of the language model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import takewhile

import numpy as np
import torch

from instructseg.data.frames import neighbour_references
from instructseg.model import FrameFeatures
from instructseg.structures import Geometry

REFERENCES = 4
"""Reference frames, as released."""
REFERENCE_FPS = 6
"""Frames per second that the released rule is made for: Ref-YouTube-VOS shows every fifth frame of 30."""


def spacing_of(fps: float, length: int | None = None, references: int = REFERENCES) -> int:
    """How far references lie apart in a clip, so that they show as much time as at :data:`REFERENCE_FPS`.

    Args:
        fps: frames per second of the clip.
        length: frames of the clip: a short one has its references closer, so that it has all of them.
        references: how many.

    Returns:
        Frames from one reference to the next, at least 1.
    """
    spacing = round(fps / REFERENCE_FPS)
    if length is not None and references:
        spacing = min(spacing, length // (references + 1))
    return max(1, spacing)


def most_held(spacing: int, references: int = REFERENCES, chunk: int = 1) -> int:
    """Frames that a :class:`Window` of the released rule holds at most, where ``chunk`` come at once."""
    return (references + 1) * spacing + chunk


@dataclass(frozen=True, eq=False)
class Shown:
    """A frame's mask branch.

    Attributes:
        features: of it alone (F = 1).
        geometry: undoes resize and padding.
    """

    features: FrameFeatures
    geometry: Geometry


@dataclass(eq=False)
class Held:
    """A frame that was read; what is computed of it is filled in when it is first needed.

    Attributes:
        frame: ``uint8[H, W, 3]`` RGB.
        tokens: ``float[1, P, D]``, its language side.
        perceived: by instruction, ``float[K, D]``: the frame as a reference.
        shown: its mask branch; ``None`` until its result is asked for.
    """

    frame: np.ndarray
    tokens: torch.Tensor | None = None
    perceived: dict[int, torch.Tensor] = field(default_factory=dict)
    shown: Shown | None = None


class Window:
    """The frames of one clip that are held. Frames are counted from 0 at the start of the clip.

    Args:
        references: frames beside the key frame that the model looks at.
        delay: frames that are read behind a frame before its result; ``None`` for half of the references.
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
        """References behind the key frame in the middle of a clip."""
        self.released = delay is None or delay >= max(half, 1) * spacing
        """Whether the released rule holds; otherwise the window is cut at the start of the clip."""
        self.read = 0
        """Frames read."""
        self.next = 0
        """The frame whose result is the next to come."""
        self.ended = False
        """Whether no frame will follow."""
        self._held: dict[int, Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __getitem__(self, t: int) -> Held:
        """Frame ``t``; a KeyError where it is not held."""
        return self._held[t]

    def append(self, frame: np.ndarray) -> None:
        """Takes the next frame, ``uint8[H, W, 3]``."""
        self._held[self.read] = Held(frame)
        self.read += 1

    def settled(self, t: int) -> bool:
        """Whether frame ``t`` was read, and its references are what they will be in the whole clip."""
        if self.ended:
            return t < self.read
        within = t + self.future * self.spacing < self.read
        return within and not (self.released and self._read_of(t) <= self.references)

    def neighbours(self, t: int) -> list[int]:
        """The references of a settled frame, in the order of time; none make it its own reference."""
        place, first = divmod(t, self.spacing)
        count = self._read_of(t)
        if self.released:
            seen = neighbour_references(place, count, self.references)
        else:
            last = min(place + self.future, count - 1)
            seen = [i for i in range(max(0, last - self.references), last + 1) if i != place]
        return [first + i * self.spacing for i in seen]

    def _read_of(self, t: int) -> int:
        """Frames read of those that ``t`` may look at, itself included."""
        return len(range(t % self.spacing, self.read, self.spacing))

    def ready(self, most: int) -> list[int]:
        """The frames whose results can be computed now, at most ``most`` of them, in order."""
        stop = self.read if self.ended else self.read - self.delay
        found = range(self.next, min(stop, self.next + most))
        return list(takewhile(self.settled, found))

    def waiting(self) -> range:
        """The frames without a result."""
        return range(self.next, self.read)

    def advance(self) -> np.ndarray:
        """Takes the next frame off, whose result is done; frames that nobody looks back at are let go.

        Returns:
            its pixels.
        """
        done = self._held[self.next]
        done.shown = None
        self.next += 1
        behind = self.references - self.future
        first = min(self.next - behind * self.spacing, self.read - (self.references + 1) * self.spacing)
        for t in [t for t in self._held if t < first]:
            del self._held[t]
        return done.frame

    def forget(self, instruction: int) -> None:
        """Lets go what an instruction saw in the frames."""
        for held in self._held.values():
            held.perceived.pop(instruction, None)
