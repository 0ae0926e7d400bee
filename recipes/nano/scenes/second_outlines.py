"""Outlines of the eight shapes for the second renderer: other proportions, rounder corners, uneven edges."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

_STEP = 0.12  # distance of the corners of an uneven edge, in radii


@dataclass(frozen=True, eq=False)
class Outline:
    """An area around the origin, of about the visual size of a disc of radius 1.

    Attributes:
        solids: ``float[N, 2]`` corners ``(x, y)`` each; the area is what they cover together.
        holes: likewise, cut out of it.
    """

    solids: tuple[np.ndarray, ...]
    holes: tuple[np.ndarray, ...] = ()


def _disc(radius: float, x: float = 0.0, y: float = 0.0) -> np.ndarray:
    turn = np.linspace(0, 2 * math.pi, 56, endpoint=False)
    return np.stack([x + radius * np.cos(turn), y + radius * np.sin(turn)], axis=1)


def _rounded_square(half: float, corner: float) -> np.ndarray:
    inner = half - corner
    arcs = []
    for number, (x, y) in enumerate([(1, 1), (-1, 1), (-1, -1), (1, -1)]):
        turn = (number + np.linspace(0, 1, 7)) * (math.pi / 2)
        arcs.append(np.stack([x * inner + corner * np.cos(turn), y * inner + corner * np.sin(turn)], axis=1))
    return np.concatenate(arcs)


def _zigzag(outer: float, inner: float, points: int) -> np.ndarray:
    turn = np.arange(2 * points) * (math.pi / points)
    radius = np.resize((outer, inner), 2 * points)
    return np.stack([np.sin(turn) * radius, -np.cos(turn) * radius], axis=1)


def _plus(arm: float, length: float) -> np.ndarray:
    a, b = arm, length
    return np.array([(a, -b), (a, -a), (b, -a), (b, a), (a, a), (a, b),
                     (-a, b), (-a, a), (-b, a), (-b, -a), (-a, -a), (-a, -b)])  # fmt: skip


def _heart(rng: np.random.Generator) -> Outline:
    """Two discs, and a kite that touches both and ends in the tip below."""
    radius, apart, top, tip = rng.uniform(0.54, 0.6), 0.49, -0.36, rng.uniform(1.0, 1.15)
    distance = math.hypot(apart, tip - top)
    # the tangent from the tip: the right angle lies at the point that it touches
    turn = math.atan2(tip - top, -apart) - math.acos(radius / distance)
    touch = np.array([apart + radius * math.cos(turn), top + radius * math.sin(turn)])
    kite = np.array([(0, tip), touch, (apart, top), (-apart, top), touch * (-1, 1)])
    return Outline((_disc(radius, apart, top), _disc(radius, -apart, top), kite))


def _triangle(rng: np.random.Generator) -> Outline:
    half, height = rng.uniform(1.05, 1.2), rng.uniform(0.9, 1.1)
    return Outline((np.array([(0, -height * 1.12), (half, height * 0.8), (-half, height * 0.8)]),))


def _diamond(rng: np.random.Generator) -> Outline:
    half, height = rng.uniform(0.74, 0.88), rng.uniform(1.2, 1.32)
    return Outline((np.array([(0, -height), (half, 0), (0, height), (-half, 0)]),))


_OUTLINES: Mapping[str, Callable[[np.random.Generator], Outline]] = MappingProxyType(
    {
        "circle": lambda rng: Outline((_disc(1.0),)),
        "square": lambda rng: Outline((_rounded_square(rng.uniform(0.84, 0.92), rng.uniform(0.04, 0.26)),)),
        "triangle": _triangle,
        "star": lambda rng: Outline((_zigzag(1.28, rng.uniform(0.46, 0.66), 5),)),
        "cross": lambda rng: Outline((_plus(rng.uniform(0.26, 0.46), rng.uniform(1.0, 1.12)),)),
        "ring": lambda rng: Outline((_disc(1.06),), (_disc(rng.uniform(0.42, 0.7)),)),
        "heart": _heart,
        "diamond": _diamond,
    }
)


def draw_outline(rng: np.random.Generator, shape: str, uneven: float) -> Outline:
    """An outline of a shape.

    Args:
        rng: source of its proportions.
        shape: a name of :data:`~recipes.nano.scenes.objects.SHAPES`.
        uneven: how far an edge wanders, in radii.
    """
    outline = _OUTLINES[shape](rng)
    # one field for all parts: where two of them meet they stay together
    bends = rng.normal(0, 1, (2, 4)), rng.uniform(0, 2 * math.pi, (2, 4)), rng.normal(0, 2.5, (2, 4, 2))

    def bent(contour: np.ndarray) -> np.ndarray:
        corners = _divided(contour)
        size, phase, wave = bends
        field = [(size[i] * np.sin(corners @ wave[i].T + phase[i])).sum(axis=1) for i in range(2)]
        return corners + uneven / 2 * np.stack(field, axis=1)

    return Outline(tuple(map(bent, outline.solids)), tuple(map(bent, outline.holes)))


def _divided(contour: np.ndarray) -> np.ndarray:
    """The same polygon with further corners on its edges."""
    parts = []
    for start, end in zip(contour, np.roll(contour, -1, axis=0), strict=True):
        count = max(1, math.ceil(np.hypot(*(end - start)) / _STEP))
        parts.append(start + np.arange(count)[:, None] / count * (end - start))
    return np.concatenate(parts)
