"""Polygons to masks as COCO fills them, whatever their coordinates, and masks to polygons.

Time and memory depend on the image alone. COCO's own code walks along the outline in fifths of a pixel,
outside the image too, so that one far corner takes gigabytes. Here only the crossings of the image's columns
are computed, by the same arithmetic.
"""

from __future__ import annotations

import numpy as np

FARTHEST = 1e9
"""Pixels from the origin beyond which a number is no coordinate."""
_SCALE = 5  # COCO's steps per pixel
_WALKED = 2_000_000
"""Steps that pycocotools may take: 16 bytes each."""
_AT_ONCE = 250_000
"""Crossings that are computed together."""


def fill_polygon(outline: np.ndarray, height: int, width: int) -> np.ndarray:
    """Fills one polygon.

    Args:
        outline: ``float64[2n]``, x and y in turn, finite and at most :data:`FARTHEST`.
        height: of the image, in pixels.
        width: likewise.

    Returns:
        ``bool[H, W]``, bit for bit what ``pycocotools`` gives, which is quicker on usual outlines (see
        :func:`is_usual`).
    """
    x, y = np.trunc(_SCALE * outline.reshape(-1, 2).T + 0.5)
    edges = np.stack([x, y, np.roll(x, -1), np.roll(y, -1)])
    # an even number of crossings before a pixel, column by column, is outside
    crossed = np.zeros(height * width + 1, np.uint8)
    together = max(1, _AT_ONCE // width)
    for first in range(0, edges.shape[1], together):
        columns, rows = _crossings(edges[:, first : first + together], height, width)
        np.add.at(crossed, columns * height + rows, np.uint8(1))
    odd = np.bitwise_and(np.add.accumulate(crossed[:-1], dtype=np.uint8), 1)
    return np.ascontiguousarray(odd.reshape(width, height).T).view(bool)


def clip_outline(outline: np.ndarray, farthest: float) -> np.ndarray:
    """A polygon cut to the square of ``farthest`` around the origin, for code that counts in 32 bits.

    Args:
        outline: ``float64[n, 2]`` of x and y.
        farthest: half the side of the square, in pixels; far outside any image, so that what is cut off shows
            nowhere.

    Returns:
        The outline itself where it lies inside; else another, perhaps of no point.
    """
    if not len(outline) or np.abs(outline).max() <= farthest:
        return outline
    for axis in (0, 1):
        for sign in (1.0, -1.0):
            outline = _cut(outline, axis, sign, farthest)
    return outline


def _cut(outline: np.ndarray, axis: int, sign: float, farthest: float) -> np.ndarray:
    """The part on the near side of one line (Sutherland and Hodgman)."""
    kept: list[np.ndarray] = []
    for start, end in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        a, b = sign * start[axis] - farthest, sign * end[axis] - farthest
        if a <= 0:
            kept.append(start)
        if (a <= 0) != (b <= 0):
            kept.append(start + (end - start) * (a / (a - b)))
    return np.array(kept, np.float64).reshape(-1, 2)


def is_usual(outline: np.ndarray) -> bool:
    """Whether COCO's own code takes few steps along ``float64[2n]``, and so little memory."""
    points = outline.reshape(-1, 2)
    moved = np.abs(points - np.roll(points, -1, axis=0)).max(axis=1, initial=0)
    return bool(_SCALE * moved.sum() + len(points) <= _WALKED)


def _crossings(edges: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Column and row, ``int64[m]`` each, of every crossing of an edge with the middle of a column.

    A column is crossed between step ``5 * column + 2`` and the next one. Of the two steps the upper row counts.
    """
    xs, ys, xe, ye = edges
    wide = np.abs(xe - xs) >= np.abs(ye - ys)
    back = np.where(wide, xs > xe, ys > ye)  # COCO draws every edge in rising order
    xs, xe, ys, ye = np.where(back, (xe, xs, ye, ys), (xs, xe, ys, ye))
    left, right = np.minimum(xs, xe), np.maximum(xs, xe)
    first = np.clip(np.ceil((left - 2) / _SCALE), 0, width).astype(np.int64)
    last = np.clip(np.floor((right - 3) / _SCALE), -1, width - 1).astype(np.int64)
    counts = np.maximum(last - first + 1, 0)
    edge = np.repeat(np.arange(len(counts)), counts)
    columns = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    step = _SCALE * columns + 2.0
    xs, ys, xe, ye, wide = xs[edge], ys[edge], xe[edge], ye[edge], wide[edge]
    slope = np.where(wide, ye - ys, xe - xs) / np.where(wide, xe - xs, ye - ys)
    along = np.minimum(np.trunc(ys + slope * (step - xs) + 0.5), np.trunc(ys + slope * (step + 1 - xs) + 0.5))
    upper = np.where(wide, along, ys + _before(step, xs, slope, ye - ys))
    rows = np.ceil(np.clip((upper + 0.5) / _SCALE - 0.5, 0, height))
    return columns, rows.astype(np.int64)


def _before(step: np.ndarray, xs: np.ndarray, slope: np.ndarray, length: np.ndarray) -> np.ndarray:
    """The last place of a steep edge, from its top, before it passes from ``step`` to the next one or back."""
    rising = slope > 0
    # within one of the place by real numbers; which one it is, the rounded numbers decide
    with np.errstate(divide="ignore", invalid="ignore"):
        guess = np.floor(np.nan_to_num((step + 0.5 - xs) / slope))
    found = np.zeros_like(step)
    for offset in (-2, -1, 0, 1, 2):
        place = np.clip(guess + offset, 0, np.maximum(length - 1, 0))
        here = np.trunc(xs + slope * place + 0.5)
        there = np.trunc(xs + slope * (place + 1) + 0.5)
        passes = np.where(rising, (here == step) & (there == step + 1), (here == step + 1) & (there == step))
        found = np.where(passes, place, found)
    return found


def smallest_rectangle(mask: np.ndarray) -> np.ndarray:
    """The smallest rectangle of any angle around a mask, ``float32[4, 2]`` of its corners as x and y.

    Raises:
        ValueError: the mask is empty.
    """
    import cv2

    lines = [part[0] for part in mask_outlines(mask)]
    if not lines:
        raise ValueError("no rectangle is around an empty mask")
    corners: np.ndarray = cv2.boxPoints(cv2.minAreaRect(np.concatenate(lines).astype(np.float32)))
    return corners


def mask_outlines(mask: np.ndarray, tolerance: float = 0.0) -> list[list[np.ndarray]]:
    """Outlines along the edges of the pixels of a mask, so that filling them gives the mask again.

    Args:
        mask: ``[H, W]``, true or non-zero inside.
        tolerance: pixels by which a simplified outline may miss the exact one; 0 for the exact one.

    Returns:
        For each part (pixels that share a side), the largest first: its outer outline, then its holes, each
        ``float64[n, 2]`` of x and y, n >= 4 corners (n >= 3 if simplified). Pixel ``(0, 0)`` has the corners
        (0, 0) and (1, 1).
    """
    import cv2

    count, labels, stats, _ = cv2.connectedComponentsWithStats((mask != 0).astype(np.uint8), connectivity=4)
    found = []
    for part in sorted(range(1, count), key=lambda i: -stats[i, cv2.CC_STAT_AREA]):
        left, top, width, height, _ = stats[part]
        inside = np.pad(labels[top : top + height, left : left + width] == part, 1)
        # a hole may touch the outer outline in a corner, which no outline passes twice: valid by OGC's rules
        gaps, gap_labels = cv2.connectedComponents((~inside).astype(np.uint8), connectivity=4)
        regions = [inside, *(gap_labels == gap for gap in range(1, gaps) if gap != gap_labels[0, 0])]
        traced = [_trace(region, tolerance) for region in regions]
        found.append([line + np.array([left - 1, top - 1]) for line in traced if len(line) >= 3])
    return [lines for lines in found if lines]


def keyhole(outlines: list[list[np.ndarray]]) -> np.ndarray:
    """One outline around all parts and holes of :func:`mask_outlines`, joined by bridges without width.

    For formats that have one polygon per object.

    Returns:
        ``float64[n, 2]`` of x and y; no point without parts.
    """
    lines = [line for part in outlines for line in part]
    if not lines:
        return np.zeros((0, 2))
    joined = lines[0]
    for line in lines[1:]:
        away = ((joined[:, None] - line[None]) ** 2).sum(-1)
        here, there = np.unravel_index(int(away.argmin()), away.shape)
        around = np.roll(line, -int(there), axis=0)
        joined = np.concatenate([joined[: here + 1], around, around[:1], joined[here:]])
    return joined


def _trace(region: np.ndarray, tolerance: float) -> np.ndarray:
    """Outer outline of a connected region ``bool[h, w]``, ``float64[n, 2]``."""
    import cv2

    # of pixels twice as large, the outermost ones lie on either side of every corner
    doubled = np.repeat(np.repeat(region, 2, 0), 2, 1).astype(np.uint8)
    contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    line = (max(contours, key=len)[:, 0] + 1) // 2
    line = line[(line != np.roll(line, 1, 0)).any(1)]
    before, after = line - np.roll(line, 1, 0), np.roll(line, -1, 0) - line
    line = line[(before != after).any(1)]
    if tolerance:
        line = cv2.approxPolyDP(line.astype(np.int32)[:, None], tolerance, True)[:, 0]
    return line.astype(np.float64)


def resample_outline(outline: np.ndarray, points: int) -> np.ndarray:
    """An outline ``float64[n, 2]`` with a given number of points, evenly spaced, from its first corner on.

    Raises:
        ValueError: fewer than 3 points.
    """
    if points < 3:
        raise ValueError(f"a polygon has at least 3 points, got {points}")
    closed = np.concatenate([outline, outline[:1]])
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    places = np.linspace(0, along[-1], points, endpoint=False)
    return np.stack([np.interp(places, along, closed[:, axis]) for axis in (0, 1)], axis=1)
