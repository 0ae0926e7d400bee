"""What can be measured of a mask: its place, its size, its colour."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

COLOURS: dict[str, tuple[tuple[float, float, float], ...]] = {
    "red": ((45, 62, 45), (35, 50, 30)),
    "orange": ((65, 40, 65), (60, 45, 55)),
    "yellow": ((85, -5, 75), (78, 5, 65)),
    "green": ((45, -35, 30), (60, -45, 40), (30, -20, 15)),
    "blue": ((40, 10, -50), (55, -5, -40), (30, 15, -40), (35, 45, -80)),
    "purple": ((35, 40, -40), (45, 45, -25)),
    "pink": ((70, 40, 0), (65, 50, -5)),
    "brown": ((35, 18, 28), (45, 15, 25)),
    "black": ((8, 0, 0), (15, 0, 0)),
    "white": ((95, 0, 0), (88, 0, 2)),
    "grey": ((50, 0, 0), (65, 0, 0)),
}
"""Names and examples of them in CIE L*a*b*."""
_NAMES = tuple(COLOURS)
_EXAMPLES = np.array([example for examples in COLOURS.values() for example in examples], np.float32)
_NAME_OF = np.array([i for i, examples in enumerate(COLOURS.values()) for _ in examples])
_LIGHTNESS = 0.5  # shading changes lightness more than hue
LEAST_SHARE = 0.55
"""Share of the pixels that must have a colour for the object to be called by it."""


@dataclass(frozen=True, eq=False)
class Look:
    """One mask; places and sizes as shares of the frame's width and height.

    Attributes:
        mask: ``bool[H, W]``, not empty.
        frame: ``uint8[H, W, 3]``.
    """

    mask: np.ndarray
    frame: np.ndarray

    @cached_property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom, 0..1."""
        height, width = self.mask.shape
        rows, columns = self.mask.any(1).nonzero()[0], self.mask.any(0).nonzero()[0]
        return (
            columns[0] / width,
            rows[0] / height,
            (columns[-1] + 1) / width,
            (rows[-1] + 1) / height,
        )

    @cached_property
    def area(self) -> float:
        """Share of the frame's pixels."""
        return float(self.mask.mean())

    @property
    def x(self) -> float:
        """Middle of the box."""
        return (self.box[0] + self.box[2]) / 2

    @property
    def y(self) -> float:
        """Middle of the box."""
        return (self.box[1] + self.box[3]) / 2

    @cached_property
    def colour(self) -> str | None:
        """The name of its colour, where most of it has one."""
        pixels = self.frame[self.mask]
        if len(pixels) > 2000:
            pixels = pixels[:: len(pixels) // 2000]
        lab = cv2.cvtColor(pixels[None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0]
        off = (lab[:, None] - _EXAMPLES) * np.array([_LIGHTNESS, 1, 1], np.float32)
        votes = np.bincount(_NAME_OF[(off**2).sum(-1).argmin(1)], minlength=len(_NAMES)) / len(lab)
        best = int(votes.argmax())
        return _NAMES[best] if votes[best] >= LEAST_SHARE else None

    def gap(self, other: Look) -> tuple[float, float]:
        """Distance of the boxes across and down; negative where they overlap."""
        mine, theirs = self.box, other.box
        across = max(mine[0], theirs[0]) - min(mine[2], theirs[2])
        return across, max(mine[1], theirs[1]) - min(mine[3], theirs[3])

    def inside(self, other: Look) -> float:
        """Share of its box that lies in the other's box."""
        across, down = self.gap(other)
        left, top, right, bottom = self.box
        return max(0.0, -across) * max(0.0, -down) / max(1e-9, (right - left) * (bottom - top))

    def stands_on(self, other: Look) -> bool:
        """Whether most of what is right below its lowest rows belongs to the other."""
        height = self.mask.shape[0]
        bottom, step = round(self.box[3] * height), max(2, height // 60)
        rows: np.ndarray = np.any(self.mask[max(0, bottom - 3 * step) : bottom], axis=0)
        below = other.mask[bottom : bottom + step]
        if not len(below) or rows.sum() < 3:
            return False
        return bool(np.any(below[:, rows], axis=0).mean() > 0.6)
