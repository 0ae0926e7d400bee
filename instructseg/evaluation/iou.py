"""Region similarity: cIoU and gIoU as LISA's released evaluation defines them.

``cIoU`` divides summed intersections by summed unions; ``gIoU`` is the mean IoU of the masks. Two empty
masks agree (IoU 1); an empty truth with a prediction has IoU 0. Pixels of value 255 in the truth do not
count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from instructseg.structures import IGNORE_PIXEL


def intersection_union(prediction: np.ndarray, truth: np.ndarray) -> tuple[int, int]:
    """Pixels in both and pixels in either.

    Args:
        prediction: ``bool[H, W]``.
        truth: ``uint8 or bool[H, W]``: 0, 1, or 255 where not to count.

    Raises:
        ValueError: the sizes differ.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"the prediction is {prediction.shape} but the truth is {truth.shape}")
    counted = truth != IGNORE_PIXEL
    inside, target = prediction.astype(bool) & counted, truth.astype(bool) & counted
    return int((inside & target).sum()), int((inside | target).sum())


def iou(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union, 0..1; 1 where both are empty."""
    intersection, union = intersection_union(prediction, truth)
    return intersection / union if union else 1.0


@dataclass
class IouSums:
    """Sums over masks, to be added over processes and divided once."""

    intersection: int = 0
    union: int = 0
    iou: float = 0.0
    count: int = 0

    def add(self, prediction: np.ndarray, truth: np.ndarray) -> float:
        """Counts one mask; returns its IoU."""
        intersection, union = intersection_union(prediction, truth)
        value = intersection / union if union else 1.0
        self.intersection += intersection
        self.union += union
        self.iou += value
        self.count += 1
        return value

    @property
    def ciou(self) -> float:
        """Cumulative IoU, 0..1; 0 before anything was counted."""
        return self.intersection / self.union if self.union else float(self.count > 0)

    @property
    def giou(self) -> float:
        """Mean IoU of the masks, 0..1."""
        return self.iou / self.count if self.count else 0.0
