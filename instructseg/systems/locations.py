"""Location tokens of VisionLLM: boxes and polygons as whole numbers, and back.

A coordinate is a token ``<p-R>`` to ``<pR>``, in units of 1/R of the image's width or height. Relative to the
centre that the image tokenizer gives an object, there are ``2 R + 1`` of them (1025 with R = 512, section 3.3
of the paper, table 3c); absolute ones start at ``<p0>`` (1000 bins where R = 999).

``N`` is the number of points. They are x, y pairs as shares of width and height, 0..1 inside the image.
"""

from __future__ import annotations

import numpy as np

from instructseg.masks import mask_bounds
from instructseg.polygons import fill_polygon, mask_outlines, resample_outline

POINTS = (3, 24)
"""Fewest and most points of a polygon."""


def to_bins(values: np.ndarray, half: int, absolute: bool = False) -> np.ndarray:
    """Shares of the image's side to whole numbers.

    Args:
        values: ``float[...]``: offsets, -1..1, or absolute places, 0..1; values outside are clipped.
        half: R, bins of one side; the result is -R..R, or 0..R.
        absolute: whether negative numbers are clipped, too.
    """
    return np.clip(np.rint(np.asarray(values) * half), 0 if absolute else -half, half).astype(np.int64)


def from_bins(bins: np.ndarray, half: int) -> np.ndarray:
    """The middle of each bin, ``float64[...]``, as a share of the image's side."""
    return np.asarray(bins) / half


def mask_box(mask: np.ndarray) -> np.ndarray:
    """The corners of a mask ``bool[H, W]``, ``float64[2, 2]``: left top, right bottom, as shares of the sides.

    Raises:
        ValueError: the mask is empty.
    """
    bounds = mask_bounds(mask)
    if bounds is None:
        raise ValueError("an empty mask has no box")
    height, width = mask.shape
    return np.array(bounds, np.float64).reshape(2, 2) / [width, height]


def mask_polygon(mask: np.ndarray, points: int) -> np.ndarray:
    """The outline of a mask's largest part with a given number of points, evenly spaced.

    The first one lies straight above the middle of the part's box, the others follow clockwise: each has one
    meaning for every object, which parallel decoding needs. The polygon grows to the area that its cut corners
    lost (both ours).

    Args:
        mask: ``bool[H, W]``.
        points: N.

    Raises:
        ValueError: the mask is empty, or N is below 3.
    """
    parts = mask_outlines(mask, tolerance=0.75)  # off the stairs of slanting edges
    if not parts:
        raise ValueError("an empty mask has no polygon")
    outline = _from_above(_clockwise(parts[0][0]))
    polygon = resample_outline(outline, points)
    middle = (outline.min(0) + outline.max(0)) / 2
    lost = np.sqrt(_area(outline) / max(_area(polygon), 1e-9))
    height, width = mask.shape
    return (middle + (polygon - middle) * np.clip(lost, 1.0, 1.1)) / [width, height]


def polygon_mask(polygon: np.ndarray, height: int, width: int) -> np.ndarray:
    """A polygon ``float[N, 2]`` of shares to ``bool[H, W]``."""
    return fill_polygon((np.asarray(polygon, np.float64) * [width, height]).reshape(-1), height, width)


def _clockwise(outline: np.ndarray) -> np.ndarray:
    """The outline ``float64[n, 2]`` in clockwise order, as seen on a screen, where y grows downwards."""
    return outline if _area(outline) >= 0 else outline[::-1]


def _area(outline: np.ndarray) -> float:
    """Inside of ``float64[n, 2]``, negative if the order is anticlockwise."""
    following = np.roll(outline, -1, axis=0)
    return float((outline[:, 0] * following[:, 1] - outline[:, 1] * following[:, 0]).sum() / 2)


def _from_above(outline: np.ndarray) -> np.ndarray:
    """The outline with a new first point, where it crosses the middle column of its box at the top."""
    middle = outline[:, 0].min() / 2 + outline[:, 0].max() / 2
    following = np.roll(outline, -1, axis=0)
    rises = (outline[:, 0] <= middle) & (following[:, 0] > middle)  # clockwise, the upper side runs right
    starts = np.flatnonzero(rises)
    share = (middle - outline[starts, 0]) / (following[starts, 0] - outline[starts, 0])
    heights = outline[starts, 1] + share * (following[starts, 1] - outline[starts, 1])
    first = int(heights.argmin())
    around = np.roll(outline, -int(starts[first]) - 1, axis=0)
    return np.concatenate([[[middle, heights[first]]], around])
