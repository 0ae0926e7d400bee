"""Region similarity J and boundary accuracy F, by the rules of the DAVIS 2017 benchmark.

J is the IoU of two masks of a frame, 1 where both are empty. F is the harmonic mean of precision and recall of
their boundary pixels, each counted as found when a boundary pixel of the other mask lies within the tolerance;
1 where neither mask has a boundary, 0 where only one has.

Eight frames of an object share a byte: bit ``i`` of a pixel is frame ``i``, so one bitwise operation works on
eight masks. Each object is cropped to the box it stays in, its boundary and what is near to it are drawn once,
and a pair of objects costs nothing but counting.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

BOUND_TH = 0.008
"""The official tolerance, as a part of the frame's diagonal."""

_FRAMES = 8
_BITS = tuple(np.uint8(1 << bit) for bit in range(_FRAMES))


@dataclass(frozen=True, eq=False)
class _Track:
    """One object in up to eight frames, cropped to its box.

    Attributes:
        top, left: where the canvas starts in the frame; may be negative.
        inside, edge, near: ``uint8[h, w]``, a bit per frame: the mask, its boundary, and all pixels within the
            tolerance of its boundary.
        area, length: ``int64[8]``, pixels of the mask and of its boundary.
    """

    top: int
    left: int
    inside: np.ndarray
    edge: np.ndarray
    near: np.ndarray
    area: np.ndarray
    length: np.ndarray


def tolerance(height: int, width: int, bound_th: float = BOUND_TH) -> int:
    """Tolerance of boundaries in pixels.

    Args:
        height: of the frame, in pixels.
        width: of the frame, in pixels.
        bound_th: below 1 a part of the diagonal, rounded up; otherwise whole pixels.

    Raises:
        ValueError: ``bound_th`` is negative, or at least 1 and not whole.
    """
    if bound_th < 0 or (bound_th >= 1 and bound_th != int(bound_th)):
        raise ValueError(f"bound_th is {bound_th}: give a part of the diagonal below 1, or whole pixels")
    # as the official code rounds it; math.hypot may differ in the last bit
    return int(bound_th) if bound_th >= 1 else math.ceil(bound_th * math.sqrt(height**2 + width**2))


def region_and_boundary(
    prediction: np.ndarray, truth: np.ndarray, void: np.ndarray | None = None, bound_th: float = BOUND_TH
) -> tuple[np.ndarray, np.ndarray]:
    """J and F of each pair of masks.

    Args:
        prediction: ``[..., H, W]``, not 0 inside; usually the frames of one object.
        truth: the same shape.
        void: the same shape, not 0 where neither mask counts.
        bound_th: see :func:`tolerance`.

    Returns:
        J and F, ``float64[...]`` each, 0..1.

    Raises:
        ValueError: the shapes differ.
    """
    given = [("truth", truth)] if void is None else [("truth", truth), ("void mask", void)]
    for name, other in given:
        if other.shape != prediction.shape:
            raise ValueError(f"the prediction is {prediction.shape} but the {name} is {other.shape}")
    frames, shape = prediction.shape[:-2], (-1, *prediction.shape[-2:])
    inside, target = _binary(prediction).reshape(shape), _binary(truth).reshape(shape)
    if void is not None:
        counted = ~_binary(void).reshape(shape)
        inside, target = inside & counted, target & counted
    region, boundary = score_pairs(inside, target, [(1, 1)], bound_th)
    return region[0].reshape(frames), boundary[0].reshape(frames)


def score_pairs(
    prediction: np.ndarray, truth: np.ndarray, pairs: Sequence[tuple[int, int]], bound_th: float = BOUND_TH
) -> tuple[np.ndarray, np.ndarray]:
    """J and F of pairs of objects in the label maps of a sequence.

    Args:
        prediction: ``bool or int[T, H, W]``, the label of the object at each pixel.
        truth: the same shape.
        pairs: a label of the prediction and one of the truth each; a label that does not occur is an object
            that is empty.
        bound_th: see :func:`tolerance`.

    Returns:
        J and F, ``float64[len(pairs), T]`` each, 0..1.

    Raises:
        ValueError: the shapes differ.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"the prediction is {prediction.shape} but the truth is {truth.shape}")
    # numpy compares bytes with a number much faster than it compares booleans
    prediction, truth = (
        labels.view(np.uint8) if labels.dtype == bool else labels for labels in (prediction, truth)
    )
    count, height, width = prediction.shape
    radius = tolerance(height, width, bound_th)
    region, boundary = np.empty((len(pairs), count)), np.empty((len(pairs), count))
    for first in range(0, count, _FRAMES):
        frames = slice(first, min(first + _FRAMES, count))
        found = {label: _track(prediction[frames] == label, radius) for label in {pair[0] for pair in pairs}}
        wanted = {label: _track(truth[frames] == label, radius) for label in {pair[1] for pair in pairs}}
        for row, (one, other) in enumerate(pairs):
            values = _compare(found[one], wanted[other])
            used = frames.stop - first
            region[row, frames], boundary[row, frames] = values[0][:used], values[1][:used]
    return region, boundary


def _binary(masks: np.ndarray) -> np.ndarray:
    return masks if masks.dtype == bool else masks != 0


def _track(masks: np.ndarray, radius: int) -> _Track:
    """Crops and draws ``bool[up to 8, H, W]``."""
    packed = np.zeros(masks.shape[1:], np.uint8)
    for mask in masks[::-1]:
        packed += packed  # a shift to the left, but numpy adds bytes faster than it shifts them
        packed |= mask.view(np.uint8)
    left, top, width, height = cv2.boundingRect(packed)
    margin = radius + 1
    inside = np.zeros((height + 2 * margin, width + 2 * margin), np.uint8)
    inside[margin : margin + height, margin : margin + width] = packed[top : top + height, left : left + width]
    edge = np.zeros_like(inside)
    edge[margin - 1 : margin + height, margin - 1 : margin + width] = _edge(packed, top, left, height, width)
    near = _spread(edge, radius)
    return _Track(top - margin, left - margin, inside, edge, near, _count(inside), _count(edge))


def _edge(packed: np.ndarray, top: int, left: int, height: int, width: int) -> np.ndarray:
    """``uint8[height + 1, width + 1]``, the boundary from one pixel above and left of the box.

    A boundary pixel differs from the one below, right, or below and right of it; the last row and column of
    the frame have no such neighbours and are continued.
    """
    box = packed[top : top + height, left : left + width]
    right, bottom = left + width == packed.shape[1], top + height == packed.shape[0]
    seen = np.zeros((height + 2, width + 2), np.uint8)
    seen[1:-1, 1:-1] = box
    if bottom:
        seen[-1] = seen[-2]
    if right:
        seen[:, -1] = seen[:, -2]
    here = seen[:-1, :-1]
    edge = (here ^ seen[1:, :-1]) | (here ^ seen[:-1, 1:]) | (here ^ seen[1:, 1:])
    if top == 0:  # there is nothing above the frame
        edge[0] = 0
    if left == 0:
        edge[:, 0] = 0
    return edge


def _spread(edge: np.ndarray, radius: int) -> np.ndarray:
    """Dilates by the disc ``dx**2 + dy**2 <= radius**2``; no bit is set within ``radius`` of the border.

    The disc is a union of rectangles, from its tip (no width, ``radius`` high) to its equator. What is drawn
    so far grows by one row while the next rectangle's row grows to its width. Rows lie one after the other,
    so a step to a neighbour is a shift of the whole plane; the empty border keeps rows apart.
    """
    row = drawn = edge.ravel()
    reach = 0
    for height in range(radius, -1, -1):
        wanted = math.isqrt(radius**2 - height**2)
        if wanted > reach:
            for _ in range(wanted - reach):
                row = _grow(row, 1)
            drawn, reach = drawn | row, wanted
        if height:
            drawn = _grow(drawn, edge.shape[1])
    return drawn.reshape(edge.shape)


def _grow(plane: np.ndarray, step: int) -> np.ndarray:
    grown = plane.copy()
    grown[step:] |= plane[:-step]
    grown[:-step] |= plane[step:]
    return grown


def _count(plane: np.ndarray) -> np.ndarray:
    """``int64[8]``, pixels per bit."""
    if not plane.size:
        return np.zeros(_FRAMES, np.int64)
    return np.array([cv2.countNonZero(plane & bit) for bit in _BITS], np.int64)


def _compare(found: _Track, wanted: _Track) -> tuple[np.ndarray, np.ndarray]:
    """J and F, ``float64[8]`` each."""
    ours, theirs = _shared(found, wanted)
    both = _count(found.inside[ours] & wanted.inside[theirs])
    either = found.area + wanted.area - both
    region = np.divide(both, either, out=np.ones(_FRAMES), where=either > 0)
    precision = _part(_count(found.edge[ours] & wanted.near[theirs]), found.length)
    recall = _part(_count(found.near[ours] & wanted.edge[theirs]), wanted.length)
    boundary = _part(2 * precision * recall, precision + recall)
    boundary[(found.length == 0) & (wanted.length == 0)] = 1
    return region, boundary


def _part(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(_FRAMES), where=whole > 0)


def _shared(one: _Track, other: _Track) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Overlap of two canvases, as an index of each."""
    top, left = max(one.top, other.top), max(one.left, other.left)
    bottom = max(top, min(one.top + one.inside.shape[0], other.top + other.inside.shape[0]))
    right = max(left, min(one.left + one.inside.shape[1], other.left + other.inside.shape[1]))

    def within(track: _Track) -> tuple[slice, slice]:
        return slice(top - track.top, bottom - track.top), slice(left - track.left, right - track.left)

    return within(one), within(other)


@dataclass(frozen=True)
class Statistics:
    """The three DAVIS numbers of one object: ``mean`` and ``recall`` (part above 0.5) 0..1, ``decay`` -1..1.

    Decay is the mean of the first quarter of the frames less that of the last.
    """

    mean: float
    recall: float
    decay: float


def statistics(values: np.ndarray, official_decay: bool = False) -> Statistics:
    """Mean, recall and decay of one object's J or F.

    Args:
        values: ``float[T]``, per frame.
        official_decay: keep the released code's 8 bit frame numbers, which start again at 0 after 256 frames:
            the last quarter is then another one, or empty (decay is not a number).

    Raises:
        ValueError: there are no frames.
    """
    if not len(values):
        raise ValueError("no frames to take the mean of")
    ends = np.round(np.linspace(1, len(values), 5) + 1e-10).astype(np.int64) - 1
    if official_decay:
        ends %= 256  # the slices end one later, at 256 too
    first, last = values[ends[0] : ends[1] + 1], values[ends[3] : ends[4] + 1]
    decay = float(np.mean(first) - np.mean(last)) if len(last) else math.nan
    return Statistics(float(np.mean(values)), float(np.mean(values > 0.5)), decay)
