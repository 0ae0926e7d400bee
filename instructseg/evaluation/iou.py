"""Region similarity of images: cIoU and gIoU as LISA defines them; oIoU, mIoU and Pr@k as LAVT does.

``cIoU`` and ``oIoU`` are one number, summed intersections over summed unions; ``gIoU`` and ``mIoU`` are the
mean IoU of the masks. The two differ where nothing is to be found and nothing was: LISA counts IoU 1, LAVT 0.
An empty truth with a prediction has IoU 0 in both. Pixels of value 255 in the truth do not count.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from instructseg.evaluation.sums import mean
from instructseg.structures import IGNORE_PIXEL

LAVT_SIZE = 480
"""Side in pixels of the square to which LAVT resizes image and truth before it compares."""


def intersection_union(prediction: np.ndarray, truth: np.ndarray) -> tuple[int, int]:
    """Pixels in both and pixels in either.

    Args:
        prediction: ``bool[H, W]``.
        truth: ``uint8 or bool[H, W]``: 0, 1, or 255 to ignore.

    Raises:
        ValueError: the sizes differ.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"the prediction is {prediction.shape} but the truth is {truth.shape}")
    inside, target = prediction.astype(bool), truth.astype(bool)
    if truth.dtype != bool:
        counted = truth != IGNORE_PIXEL
        inside, target = inside & counted, target & counted
    return int(np.count_nonzero(inside & target)), int(np.count_nonzero(inside | target))


def at_lavt_size(mask: np.ndarray) -> np.ndarray:
    """Resizes a mask ``[H, W]`` to 480 x 480 with the nearest pixel, as LAVT does with the truth."""
    import cv2

    size = (LAVT_SIZE, LAVT_SIZE)
    resized = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT)
    return resized.astype(mask.dtype)


@dataclass
class IouSums:
    """Sums over masks, to be merged over processes and divided once.

    Attributes:
        both_empty: IoU of an empty prediction where the truth is empty: 1 (LISA) or 0 (LAVT).
        official: divide by a little more than the union and the count, as LISA's code does: union + 1e-5 for
            one mask, union + 1e-10 for the sums, count + 1e-5 for the mean.
        intersection: pixels in both.
        union: pixels in either.
        values: IoU per mask.
    """

    both_empty: float = 1.0
    official: bool = False
    intersection: int = 0
    union: int = 0
    values: list[float] = field(default_factory=list)

    @classmethod
    def lavt(cls) -> IouSums:
        """By LAVT's rule; its masks are compared :func:`at_lavt_size`."""
        return cls(both_empty=0.0)

    def add(self, prediction: np.ndarray, truth: np.ndarray) -> float:
        """Counts one mask; returns its IoU. See :func:`intersection_union`."""
        return self.add_counts(*intersection_union(prediction, truth))

    def add_counts(self, intersection: int, union: int) -> float:
        """Counts one mask by its pixels; returns its IoU."""
        value = intersection / (union + 1e-5 * self.official) if union else self.both_empty
        self.intersection += intersection
        self.union += union
        self.values.append(value)
        return value

    def merge(self, other: IouSums) -> None:
        """Adds the counts of ``other``."""
        self.intersection += other.intersection
        self.union += other.union
        self.values.extend(other.values)

    @property
    def count(self) -> int:
        """Number of masks."""
        return len(self.values)

    @property
    def ciou(self) -> float:
        """Cumulative IoU, 0..1; 0 before anything was counted. Also called oIoU.

        Where the union of all masks is empty it is :attr:`both_empty`, but 0 for the official code.
        """
        if not self.union:
            return self.both_empty * float(self.count > 0 and not self.official)
        return self.intersection / (self.union + 1e-10 * self.official)

    @property
    def giou(self) -> float:
        """Mean IoU of the masks, 0..1. Also called mIoU."""
        if self.official and self.count:
            return mean(self.values) * self.count / (self.count + 1e-5)
        return mean(self.values)

    def precision(self, threshold: float) -> float:
        """Pr@``threshold``: part of the masks with at least this IoU, 0..1."""
        return mean(value >= threshold for value in self.values)
