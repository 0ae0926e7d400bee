"""Image-guided edges of masks: a fast guided filter with the frame as its guide.

Mask logits stand on cells of several pixels, so an enlarged mask wobbles around the outline of its object. The
filter (He, Sun, "Fast Guided Filter", arXiv 1505.00996; colour guide as in He, Sun, Tang, "Guided Image
Filtering", equations 19 to 21) fits, in each window, the soft mask as a linear function of colour, at
:data:`PER_CELL` samples per cell; the coefficients are enlarged and meet the frame at its own size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property

import cv2
import numpy as np

from instructseg.masks import mask_bounds
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


class EdgeGuide:
    """The edges of a frame, for all masks on it.

    Args:
        frame: ``uint8[H, W, 3]``.
        geometry: of the frame.
    """

    def __init__(self, frame: np.ndarray, geometry: Geometry) -> None:
        self.frame, self.geometry = frame, geometry

    def follow(self, probability: np.ndarray) -> np.ndarray:
        """Moves the outline of a mask to edges of the frame.

        Args:
            probability: ``float32[H, W]``, the soft mask, 0..1.

        Returns:
            ``float32[H, W]``, 0..1; ``probability`` itself where the filter would change too much of the mask,
            or would find something apart from it.
        """
        inside = probability > 0.5
        bounds = mask_bounds(inside)
        if bounds is None:
            return probability
        height, width = inside.shape
        rows, columns = self._colours.samples.shape[:2]
        fitted = self._colours.fit(_reduced(probability, (columns, rows)))
        moved = probability.copy()
        for part in _strips(*self._around(bounds)):
            there = _enlarged(fitted, part, (rows / height, columns / width))
            colour = self.frame[part] / np.float32(255)
            moved[part] = np.clip((there[..., :3] * colour).sum(-1) + there[..., 3], 0, 1)
        self._without_islands(moved, probability, self._around(bounds))
        after = moved > 0.5
        agree = np.count_nonzero(inside & after) >= LEAST_AGREEMENT * np.count_nonzero(inside | after)
        return moved if agree else probability

    @staticmethod
    def _without_islands(moved: np.ndarray, given: np.ndarray, part: tuple[slice, slice]) -> None:
        """Undoes in ``moved`` what stands apart from the mask given: something else of its colour nearby."""
        count, pieces = cv2.connectedComponents((moved[part] > 0.5).astype(np.uint8), connectivity=8)
        apart = np.setdiff1d(np.arange(1, count), pieces[given[part] > 0.5])
        if len(apart):
            islands = np.isin(pieces, apart)
            moved[part][islands] = given[part][islands]

    @cached_property
    def _colours(self) -> WindowColours:
        """Statistics of the frame, computed for its first mask."""
        rows, columns = (max(1, round(side * PER_CELL / STRIDE)) for side in self.geometry.resized)
        return WindowColours(_reduced(self.frame, (columns, rows)) / np.float32(255))

    def _around(self, bounds: tuple[int, int, int, int]) -> tuple[slice, slice]:
        """Rows and columns of a mask with a margin."""
        (height, width), resized = self.frame.shape[:2], self.geometry.resized
        left, top, right, bottom = bounds
        down, across = math.ceil(_MARGIN * height / resized[0]), math.ceil(_MARGIN * width / resized[1])
        rows = slice(max(0, top - down), min(height, bottom + down))
        return rows, slice(max(0, left - across), min(width, right + across))


class WindowColours:
    """Colours in the window around each sample of a frame.

    Args:
        samples: ``float32[h, w, 3]``, 0..1.
    """

    def __init__(self, samples: np.ndarray) -> None:
        self.samples, self._mean = samples, _blur(samples)
        noise = EPSILON * np.eye(3, dtype=np.float32)
        products = samples[..., :, None] * samples[..., None, :]
        variance = _blur(products.reshape(*samples.shape[:2], 9)).reshape(products.shape)
        self._variance = variance + (noise - self._mean[..., :, None] * self._mean[..., None, :])

    def fit(self, soft: np.ndarray) -> np.ndarray:
        """Mean coefficients of the windows around each sample.

        Args:
            soft: ``float32[h, w]``, 0..1.

        Returns:
            ``float32[h, w, 4]``, slope by channel, and offset: ``soft`` is about ``slope @ colour + offset``.
        """
        mean_soft = _blur(soft)
        covariance = _blur(self.samples * soft[..., None]) - self._mean * mean_soft[..., None]
        slope = np.linalg.solve(self._variance, covariance[..., None])[..., 0]
        offset = mean_soft - (slope * self._mean).sum(-1)
        return _blur(np.dstack([slope, offset]))


def _blur(values: np.ndarray) -> np.ndarray:
    """Mean of each window, by channel."""
    return cv2.blur(values, (2 * RADIUS + 1, 2 * RADIUS + 1), borderType=cv2.BORDER_REFLECT_101)


def _reduced(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Values at so many columns and rows."""
    return cv2.resize(values, size, interpolation=cv2.INTER_AREA).astype(np.float32)


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
