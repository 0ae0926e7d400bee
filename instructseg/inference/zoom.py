"""A closer look: overlapping parts of an image, each enlarged to the model's input size.

What is small in the whole image is larger in a part of it, as in slicing-aided inference (Akyon et al., arXiv
2202.06934). The whole image says whether anything is there, and finds what is too large for a part; objects of
the parts are added to its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from instructseg.inference.selection import select_objects
from instructseg.prediction import Prediction

MOST_ZOOM = 4
"""Largest number of parts along a side."""
OVERLAP = 0.2
"""Length by which a part exceeds its share of a side, as a portion of that share."""
PART_PRESENCE = 0.5
"""Presence from which something is there in a part, for weights without a fitted threshold."""

Part = tuple[slice, slice]
"""Rows and columns of an image."""


def parts_of(size: tuple[int, int], zoom: int) -> list[Part]:
    """Overlapping parts of equal size that cover an image, row by row.

    Args:
        size: height and width of the image, in pixels.
        zoom: parts along each side.
    """
    spans = []
    for side in size:
        length = min(side, math.ceil(side * (1 + OVERLAP) / zoom))
        starts = np.linspace(0, side - length, zoom).round().astype(int)
        spans.append([slice(int(start), int(start) + length) for start in starts])
    return list(product(*spans))


def add_closer(
    whole: Sequence[Prediction], closer: Sequence[tuple[Part, Sequence[Prediction]]], union: bool, most: int
) -> list[Prediction]:
    """Objects of an instruction in the whole image and in its parts, the best first.

    Args:
        whole: predictions on the image, at least one.
        closer: predictions on each part.
        union: whether the objects will be joined: all of them are kept. Otherwise duplicates are removed, and
            objects at the border of a part, which may be cut off.
        most: largest number of objects.

    Returns:
        At least one prediction; ``whole`` itself where the parts add nothing.
    """
    size = whole[0].mask.shape
    added = [
        _lifted(one, part, size)
        for part, found in closer
        for one in found
        if one.found and (union or not _cut_off(one.mask, part, size))
    ]
    if not added:
        return list(whole)
    pool = [*(one for one in whole if one.found), *added]
    pool = [replace(one, presence=whole[0].presence) for one in pool]
    if union:
        return sorted(pool, key=lambda one: -one.score)
    chosen = select_objects(np.stack([one.mask for one in pool]), np.array([one.score for one in pool]))
    return [pool[place] for place in chosen[:most]]


def _lifted(one: Prediction, part: Part, size: tuple[int, ...]) -> Prediction:
    """A prediction on a part, as one on the image."""
    mask, soft = np.zeros(size, bool), None
    mask[part] = one.mask
    if one.probability is not None:
        soft = np.zeros(size, np.float32)
        soft[part] = one.probability
    return replace(one, mask=mask, probability=soft)


def _cut_off(mask: np.ndarray, part: Part, size: tuple[int, ...]) -> bool:
    """Whether a mask on a part reaches a border of it that is none of the image."""
    (rows, columns), (height, width) = part, size
    return bool(
        (rows.start > 0 and mask[0].any())
        or (rows.stop < height and mask[-1].any())
        or (columns.start > 0 and mask[:, 0].any())
        or (columns.stop < width and mask[:, -1].any())
    )
