"""Masks to compare, and the official J and F written pixel by pixel, slowly and apart from the package."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

sizes = st.tuples(st.integers(1, 4), st.integers(1, 12), st.integers(1, 12))
"""``(T, H, W)``."""


def label_maps(shape: tuple[int, ...], labels: int) -> st.SearchStrategy[np.ndarray]:
    """``uint8[T, H, W]`` of labels 0..``labels``: noise, rectangles, or one value."""
    values = st.integers(0, labels)
    return st.one_of(
        arrays(np.uint8, shape, elements=values),
        values.map(lambda value: np.full(shape, value, np.uint8)),
        st.lists(
            st.tuples(values, *(st.integers(0, side) for side in shape for _ in range(2))), max_size=4
        ).map(lambda boxes: _paint(shape, boxes)),
    )


def _paint(shape: tuple[int, ...], boxes: list[tuple[int, ...]]) -> np.ndarray:
    canvas = np.zeros(shape, np.uint8)
    for value, *ends in boxes:
        canvas[tuple(slice(*sorted(ends[i : i + 2])) for i in (0, 2, 4))] = value
    return canvas


def slow_j(prediction: np.ndarray, truth: np.ndarray, void: np.ndarray) -> float:
    """IoU of one frame, 1 where the union is empty."""
    both = either = 0
    for p, t, v in zip(prediction.flat, truth.flat, void.flat, strict=True):
        both += bool(p and t and not v)
        either += bool((p or t) and not v)
    return both / either if either else 1.0


def slow_boundary(mask: np.ndarray) -> set[tuple[int, int]]:
    """Pixels that differ from the right, lower or lower right one; less of these on the last row and column."""
    height, width = mask.shape
    found = set()
    for y in range(height):
        for x in range(width):
            others = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
            if y == height - 1:
                others = [(y, x + 1)]
            elif x == width - 1:
                others = [(y + 1, x)]
            inside = [(a, b) for a, b in others if a < height and b < width]
            if any(bool(mask[y, x]) != bool(mask[a, b]) for a, b in inside):
                found.add((y, x))
    return found


def slow_f(prediction: np.ndarray, truth: np.ndarray, void: np.ndarray, bound_th: float = 0.008) -> float:
    """Boundary measure of one frame."""
    reach = bound_th if bound_th >= 1 else math.ceil(bound_th * float(np.linalg.norm(truth.shape)))
    ours, theirs = (slow_boundary((mask != 0) & (void == 0)) for mask in (prediction, truth))
    if not ours or not theirs:
        return float(not ours and not theirs)

    def near(pixel: tuple[int, int], others: set[tuple[int, int]]) -> bool:
        return any((pixel[0] - y) ** 2 + (pixel[1] - x) ** 2 <= reach**2 for y, x in others)

    precision = sum(near(pixel, theirs) for pixel in ours) / len(ours)
    recall = sum(near(pixel, ours) for pixel in theirs) / len(theirs)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
