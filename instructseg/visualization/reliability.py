"""Reliability diagram: how often something is there, over the presence that was said."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SIDE, EDGE = 320, 44
"""Pixels of the square from 0 to 1, and of the margin for numbers."""
_GREY, _BLUE, _INK = (205, 205, 205), (31, 119, 180), (60, 60, 60)


def draw_reliability(bins: Sequence[tuple[int, float, float]], title: str) -> np.ndarray:
    """The diagram, ``uint8[H, W, 3]`` RGB: a disc for each bin, on the diagonal where presence is right.

    Args:
        bins: number of instructions, their mean presence and share of those with a target, 0..1 each, as of
            :func:`instructseg.evaluation.calibration.reliability`.
        title: a line above it.
    """
    from PIL import Image, ImageDraw

    canvas = Image.new("RGB", (SIDE + 2 * EDGE, SIDE + 2 * EDGE), "white")
    draw = ImageDraw.Draw(canvas)

    def place(x: float, y: float) -> tuple[float, float]:
        return EDGE + x * SIDE, EDGE + (1 - y) * SIDE

    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        draw.line([place(tick, 0), place(tick, 1)], _GREY)
        draw.line([place(0, tick), place(1, tick)], _GREY)
        draw.text(place(tick, -0.03), f"{tick:g}", _INK, anchor="mt")
        draw.text(place(-0.02, tick), f"{tick:g}", _INK, anchor="rm")
    draw.line([place(0, 0), place(1, 1)], _INK)
    draw.text(place(0.5, 1.07), title, _INK, anchor="mb")
    draw.text(place(0.5, -0.09), "presence", _INK, anchor="mt")
    draw.text(place(0.01, 1.02), "share with a target", _INK, anchor="lb")
    total = sum(size for size, _, _ in bins)
    draw.line([place(x, y) for _, x, y in bins], _BLUE, 2)
    for size, x, y in bins:
        radius = 3 + 12 * (size / total) ** 0.5
        left, top = place(x, y)
        draw.ellipse((left - radius, top - radius, left + radius, top + radius), _BLUE)
    return np.array(canvas)
