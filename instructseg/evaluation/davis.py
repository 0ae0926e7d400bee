"""DAVIS 2017: J and F of whole sequences of label maps, semi-supervised and unsupervised.

The objects of a sequence are those of its first frame. ``semi-supervised`` compares equal labels, without the
first and the last frame, and void (255) is background. ``unsupervised`` compares all frames, leaves out void,
and assigns one proposal to each object, so that the sum of J and F is largest. Folders of label maps are scored
by :func:`instructseg.benchmarks.folders.evaluate_davis`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from instructseg.evaluation.jf import Statistics, score_pairs, statistics
from instructseg.evaluation.sums import mean
from instructseg.structures import IGNORE_PIXEL

MAX_PROPOSALS = 20
"""Largest number of labels in a sequence of the unsupervised benchmark."""


@dataclass(frozen=True, eq=False)
class SequenceScores:
    """J and F of the objects of a sequence.

    Attributes:
        region: J, ``float64[O, T]``, 0..1, objects in the order of their labels.
        boundary: F, likewise.
        labels: the label of the prediction assigned to each object.
    """

    name: str
    region: np.ndarray
    boundary: np.ndarray
    labels: tuple[int, ...]

    @property
    def official_order(self) -> list[int]:
        """Objects as the official tables list them: by the label of their proposal, renumbered."""
        return sorted(range(len(self.labels)), key=lambda index: self.labels[index])


def semi_supervised(prediction: np.ndarray, truth: np.ndarray, objects: int, name: str = "") -> SequenceScores:
    """Scores labels 1..``objects`` against themselves.

    Args:
        prediction: ``uint8[T, H, W]``, without the first and the last frame.
        truth: the same shape; void (255) is background.

    Raises:
        ValueError: the sizes differ, or the prediction has a label beyond ``objects``.
    """
    if (largest := int(prediction.max(initial=0))) > objects:
        raise ValueError(f"{name}: the prediction has label {largest}, but there are {objects} objects")
    labels = tuple(range(1, objects + 1))
    region, boundary = score_pairs(prediction, truth, list(zip(labels, labels, strict=True)))
    return SequenceScores(name, region, boundary, labels)


def unsupervised(prediction: np.ndarray, truth: np.ndarray, objects: int, name: str = "") -> SequenceScores:
    """Scores each of the objects 1..``objects`` with its best proposal, each used once.

    Args:
        prediction: ``uint8[T, H, W]``, labels 1..20, any of them a proposal.
        truth: the same shape; void is 255.

    Raises:
        ValueError: the sizes differ, or the prediction has a label above 20.
    """
    from scipy.optimize import linear_sum_assignment

    if (largest := int(prediction.max(initial=0))) > MAX_PROPOSALS:
        raise ValueError(f"{name}: the prediction has label {largest}, at most {MAX_PROPOSALS} are allowed")
    if prediction.shape != truth.shape:
        raise ValueError(f"{name}: the prediction is {prediction.shape} but the truth is {truth.shape}")
    proposals, frames = max(largest, objects), len(truth)  # missing proposals are empty
    pairs = [(one, other) for one in range(1, proposals + 1) for other in range(1, objects + 1)]
    region, boundary = score_pairs(np.where(truth == IGNORE_PIXEL, 0, prediction), truth, pairs)
    region = region.reshape(proposals, objects, frames)
    boundary = boundary.reshape(proposals, objects, frames)
    rows, columns = linear_sum_assignment(-(region.mean(axis=2) + boundary.mean(axis=2)) / 2)
    order = np.argsort(columns)
    rows, columns = rows[order], columns[order]
    labels = tuple(int(row) + 1 for row in rows)
    return SequenceScores(name, region[rows, columns], boundary[rows, columns], labels)


@dataclass
class DavisSums:
    """Statistics per object; the benchmark takes the mean over objects.

    Attributes:
        official_decay: see :func:`~instructseg.evaluation.jf.statistics`.
        objects: name (``<sequence>_<number>``, as in the official table) to the statistics of J and of F.
    """

    official_decay: bool = False
    objects: dict[str, tuple[Statistics, Statistics]] = field(default_factory=dict)

    def add(self, scores: SequenceScores) -> None:
        """Counts the objects of a sequence; raises ``ValueError`` where the sequence has no frame to score."""
        for number, index in enumerate(scores.official_order, start=1):
            self.objects[f"{scores.name}_{number}"] = (
                statistics(scores.region[index], self.official_decay),
                statistics(scores.boundary[index], self.official_decay),
            )

    def results(self) -> dict[str, float]:
        """The official table, -1..1: ``J&F-Mean``, then ``J-`` and ``F-`` ``Mean``, ``Recall``, ``Decay``."""
        table: dict[str, float] = {"J&F-Mean": 0.0}
        for index, measure in enumerate("JF"):
            rows = [pair[index] for pair in self.objects.values()]
            table[f"{measure}-Mean"] = mean(row.mean for row in rows)
            table[f"{measure}-Recall"] = mean(row.recall for row in rows)
            table[f"{measure}-Decay"] = mean(row.decay for row in rows)
        table["J&F-Mean"] = (table["J-Mean"] + table["F-Mean"]) / 2
        return table


def mean_results(results: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of several tables.

    Ref-DAVIS17 has four sets of expressions (two annotators, first frame or full video), each a folder of
    predictions; its figure is the mean of the four unsupervised results. InstructSeg's released script scores
    one folder only, without a mean.

    Raises:
        ValueError: there is no table, or they have different rows.
    """
    if not results or any(table.keys() != results[0].keys() for table in results):
        raise ValueError("give one or more tables with the same rows")
    return {key: mean(table[key] for table in results) for key in results[0]}
