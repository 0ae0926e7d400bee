"""gRefCOCO: expressions with several targets or none, scored as by ReLA.

An expression without target that is answered by nothing has IoU 1 and adds nothing to the cumulative IoU;
answered by a mask it has IoU 0, and the mask adds to the union. An expression with a target that is answered by
nothing has IoU 0, and the mask that was not given still adds to the union. ReLA compares at its network's 480 x
480; :func:`~instructseg.evaluation.iou.at_lavt_size` brings masks there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from instructseg.evaluation.iou import intersection_union
from instructseg.evaluation.sums import mean


@dataclass
class GeneralizedSums:
    """Sums over expressions, to be merged over processes and divided once.

    Attributes:
        intersection: pixels in both.
        union: pixels in either.
        nothing: IoU, 1 or 0, of each expression that has no target.
        targeted: IoU of each expression that has one.
        answered: whether each expression of ``targeted`` was answered by a mask.
    """

    intersection: int = 0
    union: int = 0
    nothing: list[float] = field(default_factory=list)
    targeted: list[float] = field(default_factory=list)
    answered: list[bool] = field(default_factory=list)

    def add(
        self, prediction: np.ndarray, truth: np.ndarray, says_nothing: bool, is_nothing: bool | None = None
    ) -> float:
        """Counts one expression; returns its IoU.

        Args:
            prediction: ``bool[H, W]``, the mask, whatever ``says_nothing``.
            truth: ``uint8 or bool[H, W]``, the union of the targets.
            says_nothing: whether the model answers that nothing is meant.
            is_nothing: whether nothing is meant; ``None`` to read it from an empty ``truth``.

        Raises:
            ValueError: the sizes differ.
        """
        intersection, union = intersection_union(prediction, truth)
        empty = not truth.any() if is_nothing is None else is_nothing
        return self.add_counts(intersection, union, says_nothing, empty)

    def add_counts(self, intersection: int, union: int, says_nothing: bool, is_nothing: bool) -> float:
        """Counts one expression by its pixels; returns its IoU."""
        if is_nothing:
            value = float(says_nothing)
            self.union += 0 if says_nothing else union
            self.nothing.append(value)
            return value
        found = 0 if says_nothing else intersection
        value = found / union if union else 0.0
        self.intersection += found
        self.union += union
        self.targeted.append(value)
        self.answered.append(not says_nothing)
        return value

    def merge(self, other: GeneralizedSums) -> None:
        """Adds the counts of ``other``."""
        self.intersection += other.intersection
        self.union += other.union
        self.nothing.extend(other.nothing)
        self.targeted.extend(other.targeted)
        self.answered.extend(other.answered)

    @property
    def giou(self) -> float:
        """Mean IoU of all expressions, 0..1."""
        return mean(self.nothing + self.targeted)

    @property
    def ciou(self) -> float:
        """Cumulative IoU, 0..1; 0 where there is no union."""
        return self.intersection / self.union if self.union else 0.0

    @property
    def n_acc(self) -> float:
        """Part of the expressions without target and with an empty prediction, 0..1."""
        return mean(self.nothing)

    @property
    def t_acc(self) -> float:
        """Part of the expressions with a target and a predicted mask, 0..1.

        The official code gives 0 where the set has no expression without target, and so does this.
        """
        return mean(self.answered) if self.nothing else 0.0

    def precision(self, threshold: float) -> float:
        """Pr@``threshold``: part of the expressions with a target whose IoU is at least this, 0..1."""
        return mean(value >= threshold for value in self.targeted)
