"""Image-guided edges of masks: a fast guided filter with the frame as its guide.

Mask logits stand on cells of several pixels, so an enlarged mask wobbles around the outline of its object. The
filter (He, Sun, "Fast Guided Filter", arXiv 1505.00996; colour guide as in He, Sun, Tang, "Guided Image
Filtering", equations 19 to 21) fits, in each window, the soft mask as a linear function of colour, at
:data:`PER_CELL` samples per cell; the coefficients are enlarged and meet the frame at its own size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from instructseg.structures import Geometry

STRIDE = 4
"""Pixels of the resized frame per cell of mask logits."""
PER_CELL = 2
"""Samples of the guide per cell, along each axis."""
RADIUS = 4
"""Of a window, in samples."""
EPSILON = 1e-4
"""Regularization: variances of colour (0..1) below it count as noise."""
LEAST_AGREEMENT = 0.75
"""IoU with the mask given below which that one is kept: thin or tiny objects are smoothed away."""

_PIXELS_AT_ONCE = 2**20
_MARGIN = 3 * PER_CELL * STRIDE  # pixels of the resized frame around the mask


def follow_edges(probability: np.ndarray, frame: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Moves the outline of a mask to edges of its frame.

    Args:
        probability: ``float32[H, W]``, the soft mask, 0..1.
        frame: ``uint8[H, W, 3]``.
        geometry: of the frame.

    Returns:
        ``float32[H, W]``, 0..1; ``probability`` itself where the filter would change too much of the mask.
    """
    inside = probability > 0.5
    if not inside.any():
        return probability
    (height, width), resized = inside.shape, geometry.resized
    rows, columns = (max(1, round(side * PER_CELL / STRIDE)) for side in resized)
    small = (columns, rows)
    fitted = _fit(_reduced(frame, small) / np.float32(255), _reduced(probability, small))
    moved = probability.copy()
    for part in _strips(*_around(inside, (height / resized[0], width / resized[1]))):
        there = _enlarged(fitted, part, (rows / height, columns / width))
        colour = frame[part] / np.float32(255)
        moved[part] = np.clip((there[..., :3] * colour).sum(-1) + there[..., 3], 0, 1)
    after = moved > 0.5
    agree = np.count_nonzero(inside & after) >= LEAST_AGREEMENT * np.count_nonzero(inside | after)
    return moved if agree else probability


def _fit(guide: np.ndarray, soft: np.ndarray) -> np.ndarray:
    """Mean coefficients of the windows around each sample.

    Args:
        guide: ``float32[h, w, 3]``, 0..1.
        soft: ``float32[h, w]``, 0..1.

    Returns:
        ``float32[h, w, 4]``, slope by channel, and offset: ``soft`` is about ``slope @ colour + offset``.
    """
    mean, mean_soft = _blur(guide), _blur(soft)
    covariance = _blur(guide * soft[..., None]) - mean * mean_soft[..., None]
    products = guide[..., :, None] * guide[..., None, :]
    variance = _blur(products.reshape(*soft.shape, 9)).reshape(*soft.shape, 3, 3)
    variance += EPSILON * np.eye(3, dtype=np.float32) - mean[..., :, None] * mean[..., None, :]
    slope = np.linalg.solve(variance, covariance[..., None])[..., 0]
    offset = mean_soft - (slope * mean).sum(-1)
    return _blur(np.dstack([slope, offset]))


def _blur(values: np.ndarray) -> np.ndarray:
    """Mean of each window, by channel."""
    return cv2.blur(values, (2 * RADIUS + 1, 2 * RADIUS + 1), borderType=cv2.BORDER_REFLECT_101)


def _reduced(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Values at so many columns and rows."""
    return cv2.resize(values, size, interpolation=cv2.INTER_AREA).astype(np.float32)


def _around(inside: np.ndarray, pixels: Sequence[float]) -> tuple[slice, slice]:
    """Rows and columns of a mask with a margin; ``pixels`` of the frame per resized pixel, by axis."""

    def along(axis: int) -> slice:
        places, margin = np.flatnonzero(inside.any(1 - axis)), math.ceil(_MARGIN * pixels[axis])
        last = min(inside.shape[axis], int(places[-1]) + 1 + margin)
        return slice(max(0, int(places[0]) - margin), last)

    return along(0), along(1)


def _strips(rows: slice, columns: slice) -> Iterator[tuple[slice, slice]]:
    """Parts of an area, small enough to bound the memory of the enlarged coefficients."""
    height = max(1, _PIXELS_AT_ONCE // (columns.stop - columns.start))
    for top in range(rows.start, rows.stop, height):
        yield slice(top, min(top + height, rows.stop)), columns


def _enlarged(values: np.ndarray, part: tuple[slice, slice], samples: Sequence[float]) -> np.ndarray:
    """Bilinear values at the pixels of a part of the frame; ``samples`` per pixel, by axis."""
    (rows, columns), (y, x) = part, samples
    to_samples = np.array([[x, 0, (columns.start + 0.5) * x - 0.5], [0, y, (rows.start + 0.5) * y - 0.5]])
    size = (columns.stop - columns.start, rows.stop - rows.start)
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(values, to_samples, size, flags=how, borderMode=cv2.BORDER_REPLICATE)
