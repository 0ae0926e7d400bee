"""Interface of trackers that carry masks from frame to frame."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np


class TrackedMask(NamedTuple):
    """An object on a frame, by a tracker.

    Attributes:
        probability: ``float32[H, W]``, 0..1, of each pixel.
        seen: 0..1, probability that the object is on the frame.
    """

    probability: np.ndarray
    seen: float


class TrackerMemory(NamedTuple):
    """Memory of a tracker in bytes, on the device where it runs.

    Attributes:
        weights: of its model.
        held: by one pass over a video, from frame to frame.
        step: besides, at the peak of a frame.
    """

    weights: int
    held: int
    step: int


class MaskTracker(Protocol):
    """Follows objects through frames in one direction; the state of one pass over a video.

    Its memory does not grow with the number of frames.
    """

    @property
    def refines(self) -> bool:
        """Whether its masks are finer than those of the model where both agree."""

    def advance(self, frame: np.ndarray) -> dict[int, TrackedMask]:
        """Takes the next frame ``uint8[H, W, 3]``; returns every object begun before on it, by id."""

    def anchor(self, number: int, mask: np.ndarray, quality: float) -> None:
        """Takes a mask of an object on the frame of the last :meth:`advance`; the first one begins it.

        Args:
            number: id of the object.
            mask: ``bool[H, W]`` with at least one pixel.
            quality: 0..1, chooses the anchors that are remembered.
        """

    def drop(self, number: int) -> None:
        """Forgets an object, if it was begun."""
