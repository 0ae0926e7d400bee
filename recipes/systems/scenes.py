"""Drawn scenes with the targets of every task: masks, classes, boxes, depth, caption.

A wall stands behind a floor; its foot is the horizon. Objects of one shape and one colour stand on the floor,
a nearer one in front of those behind it, so that depth can be seen: it is that of the floor where they stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

SHAPES = ("circle", "square", "triangle")
COLOURS = {"red": (220, 40, 40), "green": (40, 170, 60), "blue": (50, 80, 220), "yellow": (235, 205, 40)}
"""RGB of the objects, by name."""
NEAR, FAR = 1.0, 9.0
"""Metres: of the floor at the lower border, and of the wall."""
NUMBERS = ("no", "one", "two", "three")
LOW = {"circle": 1.0, "square": 0.88, "triangle": 0.6}
"""From the middle of a shape to its foot, in radii."""
LEAST_SEEN = 0.5
"""Share of an object that those in front of it leave visible."""


@dataclass(frozen=True, eq=False)
class SceneObject:
    """An object of a scene.

    Attributes:
        shape: of :data:`SHAPES`.
        colour: of :data:`COLOURS`.
        mask: ``bool[S, S]``, its visible part.
        depth: metres.
    """

    shape: str
    colour: str
    mask: np.ndarray
    depth: float

    @property
    def name(self) -> str:
        """Colour and shape."""
        return f"{self.colour} {self.shape}"

    @property
    def box(self) -> tuple[int, int, int, int]:
        """``(left, top, right, bottom)`` in pixels, the last two exclusive."""
        left, top, width, height = cv2.boundingRect(self.mask.astype(np.uint8))
        return left, top, left + width, top + height


@dataclass(frozen=True, eq=False)
class Scene:
    """A scene.

    Attributes:
        image: ``uint8[S, S, 3]`` RGB.
        objects: from the left to the right; no two of one name.
        depth: ``float32[S, S]``, metres, ``NEAR`` to ``FAR``.
    """

    image: np.ndarray
    objects: tuple[SceneObject, ...]
    depth: np.ndarray

    @property
    def caption(self) -> str:
        """The objects in words, from the left to the right."""
        return " and ".join(f"a {one.name}" for one in self.objects)

    @property
    def names(self) -> set[str]:
        """Names of the objects."""
        return {one.name for one in self.objects}


ALL_NAMES = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
"""Every name that an object can have."""


def draw_scene(
    rng: np.random.Generator, size: int = 64, most: int = 3, least: int = 1, alike: bool = False
) -> Scene:
    """A random scene.

    Args:
        rng: source of all that is random.
        size: ``S``, pixels of a side, at least 24.
        most: largest number of objects, 1 to 3.
        least: smallest number of objects.
        alike: whether each object shares its colour or its shape with another one, so that neither word alone
            names it; for at least 2 objects.
    """
    while True:
        horizon = int(size * rng.uniform(0.25, 0.5))
        image, depth = _ground(rng, size, horizon)
        names = rng.choice(len(ALL_NAMES), int(rng.integers(least, most + 1)), replace=False)
        if alike and not all(siblings(ALL_NAMES[one], [ALL_NAMES[other] for other in names]) for one in names):
            continue
        feet = np.sort(rng.uniform(horizon + 0.25 * size, size - 1, len(names)))  # the farthest first
        drawn = []
        for name, foot in zip(names, feet, strict=True):
            colour, shape = ALL_NAMES[name].split()
            whole = _outline(rng, shape, size, foot)
            shade = np.array(COLOURS[colour]) * rng.uniform(0.85, 1.1) + rng.normal(0, 6, 3)
            image[whole] = np.clip(shade, 0, 255)
            depth[whole] = _floor(foot, horizon, size)
            drawn.append((shape, colour, whole, float(_floor(foot, horizon, size))))
        objects = _visible(drawn)
        if objects:
            grain = rng.normal(0, 4, (size, size, 1))
            return Scene(np.clip(image + grain, 0, 255).astype(np.uint8), objects, depth)


def siblings(name: str, names: Sequence[str]) -> list[str]:
    """Those of some names that share the colour or the shape with a name, but not both."""
    words = name.split()
    return [other for other in names if sum(a == b for a, b in zip(words, other.split(), strict=True)) == 1]


def _floor(row: float | np.ndarray, horizon: int, size: int) -> float | np.ndarray:
    """Metres of the floor at a row of the image."""
    return FAR - (FAR - NEAR) * (row - horizon) / (size - horizon)


def _ground(rng: np.random.Generator, size: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Wall and floor, ``float64[S, S, 3]``, and their depth, ``float32[S, S]``."""
    wall = rng.uniform(150, 230) + rng.normal(0, 10, 3)
    floor = rng.uniform(60, 120) + rng.normal(0, 10, 3)
    rows = np.arange(size)
    light = np.where(rows < horizon, 0, (rows - horizon) * 30 / size)[:, None]
    colours = np.where((rows < horizon)[:, None], wall, floor) + light
    metres = np.where(rows < horizon, FAR, _floor(rows, horizon, size))
    image = np.broadcast_to(colours[:, None], (size, size, 3)).copy()
    return image, np.broadcast_to(metres[:, None], (size, size)).astype(np.float32)


def _outline(rng: np.random.Generator, shape: str, size: int, foot: float) -> np.ndarray:
    """``bool[S, S]`` of a shape that stands at row ``foot``; part of it may be outside of the image."""
    radius = size * rng.uniform(0.12, 0.22)
    across, middle = rng.uniform(radius, size - radius), foot - radius * LOW[shape]
    mask = np.zeros((size, size), np.uint8)
    if shape == "circle":
        cv2.circle(mask, (round(across * 16), round(middle * 16)), round(radius * 16), 1, -1, cv2.LINE_8, 4)
    else:
        turns = {"square": (-0.25, 0.25, 0.75, 1.25), "triangle": (-0.5, 1 / 6, 5 / 6)}[shape]
        angles = np.pi * np.array(turns)
        reach = radius * (1.25 if shape == "square" else 1.2)
        corners = np.stack([across + reach * np.cos(angles), middle + reach * np.sin(angles)], 1)
        cv2.fillPoly(mask, [np.rint(corners * 16).astype(np.int32)], 1, cv2.LINE_8, 4)
    return mask.astype(bool)


def _visible(drawn: list[tuple[str, str, np.ndarray, float]]) -> tuple[SceneObject, ...]:
    """The objects with what is seen of them; none where one is hidden too much."""
    found = []
    for place, (shape, colour, whole, metres) in enumerate(drawn):
        seen = whole.copy()
        for _, _, other, _ in drawn[place + 1 :]:
            seen &= ~other
        if seen.sum() < LEAST_SEEN * whole.sum() or not seen.any():
            return ()
        found.append(SceneObject(shape, colour, seen, metres))
    return tuple(sorted(found, key=lambda one: one.box[0] + one.box[2]))
