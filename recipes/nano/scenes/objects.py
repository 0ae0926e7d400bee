"""Parts of a drawn scene: named colours, outlines, sizes, textures and motions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

COLOURS = MappingProxyType(
    {
        "red": (214, 38, 38),
        "orange": (247, 140, 22),
        "yellow": (250, 224, 52),
        "green": (38, 158, 62),
        "blue": (36, 92, 222),
        "purple": (140, 52, 186),
        "white": (246, 246, 246),
        "black": (28, 28, 30),
    }
)
"""Name -> RGB, 0..255, around which an object's own colour is drawn."""

PURE_COLOURS = MappingProxyType(
    {
        "red": (255, 0, 0),
        "orange": (255, 165, 0),
        "yellow": (255, 255, 0),
        "green": (0, 128, 0),
        "blue": (0, 0, 255),
        "purple": (128, 0, 128),
        "white": (255, 255, 255),
        "black": (0, 0, 0),
    }
)
"""Name -> RGB, 0..255, which CSS means by it, and so do most programs that draw."""

SIZES = MappingProxyType({"small": (0.0, 0.2), "medium": (0.42, 0.58), "big": (0.8, 1.0)})
"""Name -> band of the radius, on a logarithmic scale from the smallest (0) to the largest (1) radius of a
configuration; the gaps between the bands are what lets a person tell the classes apart."""

TEXTURES = ("plain", "striped", "dotted")

MOTIONS = MappingProxyType(
    {
        "still": ((0.0, 0.0),),
        "left": ((-1.0, 0.0),),
        "right": ((1.0, 0.0),),
        "up": ((0.0, -1.0),),
        "down": ((0.0, 1.0),),
        "diagonal": tuple((x * math.sqrt(0.5), y * math.sqrt(0.5)) for x in (-1, 1) for y in (-1, 1)),
    }
)
"""Name -> unit directions ``(x, y)``, y pointing down."""

HELD_OUT = frozenset(
    {
        ("red", "diamond"),
        ("orange", "star"),
        ("yellow", "square"),
        ("green", "ring"),
        ("blue", "heart"),
        ("purple", "cross"),
    }
)
"""Pairs of colour and shape that no training scene shows: what remains of them must be understood."""


@dataclass(frozen=True, eq=False)
class SceneObject:
    """One object in a scene.

    Attributes:
        colour: a name of :data:`COLOURS`.
        shape: a name of :data:`SHAPES`.
        size: a name of :data:`SIZES`.
        texture: one of :data:`TEXTURES`.
        motion: a name of :data:`MOTIONS`; ``still`` in an image.
        rgb: its own colour, 0..255 each.
        radius: of the disc of about the same visual size, in pixels.
        angle: clockwise rotation in radians.
        centres: ``float[T, 2]``, ``(x, y)`` in pixels, one per frame; may lie outside the frame.
        shaded: whether it is lit from above.
        rim: width of a dark line along its edge in radii; 0 for none.
    """

    colour: str
    shape: str
    size: str
    texture: str
    motion: str
    rgb: tuple[float, float, float]
    radius: float
    angle: float
    centres: np.ndarray
    shaded: bool = True
    rim: float = 0.0

    @property
    def velocities(self) -> np.ndarray:
        """``float[T - 1, 2]`` pixels per frame."""
        return np.diff(self.centres, axis=0)


@dataclass(frozen=True, eq=False)
class Shape:
    """An outline around the origin, of about the visual size of a disc of radius 1.

    Attributes:
        contours: ``float[N, 2]`` corners ``(x, y)`` each; a second contour is a hole.
        tilt: largest rotation to either side in degrees; keeps a square from becoming a diamond.
        textured: whether there is room for a texture that can be recognised.
    """

    contours: tuple[np.ndarray, ...]
    tilt: float = 180.0
    textured: bool = True

    @property
    def reach(self) -> float:
        """Distance of the farthest corner from the origin."""
        return float(max(np.hypot(*contour.T).max() for contour in self.contours))


def _polar(radii: tuple[float, ...], points: int) -> np.ndarray:
    """A closed line whose radius runs through ``radii`` again and again, the first point up."""
    turn = np.arange(points) * (2 * math.pi / points)
    radius = np.resize(radii, points)
    return np.stack([np.sin(turn) * radius, -np.cos(turn) * radius], axis=1)


def _cross(arm: float, length: float) -> np.ndarray:
    corner = np.array([(arm, -length), (arm, -arm), (length, -arm)])
    turns = [corner, corner[::-1] * (1, -1), corner * (-1, -1), corner[::-1] * (-1, 1)]
    return np.concatenate(turns)


def _heart() -> np.ndarray:
    t = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([16 * np.sin(t) ** 3, y - 2], axis=1) / 14.5


SHAPES = MappingProxyType(
    {
        "circle": Shape((_polar((1.0,), 48),)),
        "square": Shape((np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * 0.88,), tilt=18),
        "triangle": Shape((np.add(_polar((1.28,), 3), (0, 0.12)),)),
        "star": Shape((_polar((1.3, 0.54), 10),)),
        "cross": Shape((_cross(0.36, 1.12),), tilt=18),
        "ring": Shape((_polar((1.06,), 48), _polar((0.56,), 36)), textured=False),
        "heart": Shape((_heart(),), tilt=25),
        "diamond": Shape((np.array([(0, -1.32), (0.78, 0), (0, 1.32), (-0.78, 0)]),), tilt=12),
    }
)
"""Name -> outline."""
