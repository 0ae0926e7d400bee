"""Scores of one expression on one video, and their sums: the benchmarks of expressions on videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from instructseg.evaluation.jf import region_and_boundary
from instructseg.evaluation.sums import mean

REVOS_GROUPS = {"referring": 0, "reasoning": 1}
"""Groups of ReVOS and their ``type_id``; 2, an expression without a target, is in no group."""

COLUMNS = {"J": "region", "F": "boundary", "tIoU": "temporal", "vIoU": "volume"}
"""Column of a result -> attribute of :class:`ExpressionScores`."""


@dataclass(frozen=True)
class ExpressionScores:
    """Means over the frames of one expression, 0..1.

    Attributes:
        name: ``<video>/<expression id>``.
        kind: ``type_id`` of ReVOS; 0 elsewhere.
        region: J.
        boundary: F.
        accuracy: part of the correct pixels (A).
        robustness: 1 less the wrong pixels over the pixels of all objects of the video, not below 0 (R).
        official_accuracy, official_robustness: as the released script computes them, in 8 bits and from the
            stored values 0 and 255: a correct pixel inside counts as wrong, and a wrong one 255 times.
        fault: reason for counting 0; empty where the expression was scored.
        type: of the data set, by which results are grouped.
        temporal: IoU of the frames with a predicted mask and those with a target (tIoU); 1 if there are none.
        volume: sum of J over the frames that have both, over the frames that have either (vIoU); likewise.
        target, answered: whether any frame has a target, and a predicted mask.
    """

    name: str
    kind: int = 0
    region: float = 0.0
    boundary: float = 0.0
    accuracy: float = 0.0
    robustness: float = 0.0
    official_accuracy: float = 0.0
    official_robustness: float = 0.0
    fault: str = ""
    type: str = field(default="", compare=False)
    temporal: float = 0.0
    volume: float = 0.0
    target: bool = False
    answered: bool = False


def score_masks(
    prediction: np.ndarray,
    truth: np.ndarray,
    foreground: np.ndarray | None = None,
    name: str = "",
    kind: int = 0,
) -> ExpressionScores:
    """Scores one expression.

    Args:
        prediction: ``bool[T, H, W]``, or ``uint8`` as stored (0 and 255).
        truth: ``uint8[T, H, W]``, number of target objects at a pixel.
        foreground: ``uint8[T, H, W]``, 1 on any object of the video; A and R need it.

    Raises:
        ValueError: the sizes differ.
    """
    region, boundary = region_and_boundary(prediction, truth)
    answered, shown = prediction.any(axis=(1, 2)), truth.any(axis=(1, 2))
    both, either = answered & shown, np.count_nonzero(answered | shown)
    scores = ExpressionScores(
        name,
        kind,
        float(region.mean()),
        float(boundary.mean()),
        temporal=float(np.count_nonzero(both) / either) if either else 1.0,
        volume=float(region[both].sum() / either) if either else 1.0,
        target=bool(shown.any()),
        answered=bool(answered.any()),
    )
    if foreground is None:
        return scores
    if foreground.shape != truth.shape:
        raise ValueError(f"{name}: the truth is {truth.shape} but the foreground is {foreground.shape}")
    stored = prediction if prediction.dtype == np.uint8 else prediction.astype(np.uint8) * np.uint8(255)
    inside, target = prediction != 0, truth != 0
    objects = foreground.sum(axis=(1, 2), dtype=np.int64)
    wrong = np.count_nonzero(inside & ~target, axis=(1, 2))
    official_wrong = ((np.uint8(1) - truth) * stored).sum(axis=(1, 2), dtype=np.int64)
    return replace(
        scores,
        accuracy=float((inside == target).mean()),
        robustness=_robustness(wrong, objects),
        official_accuracy=float((truth == stored).mean()),
        official_robustness=_robustness(official_wrong, objects),
    )


def _robustness(wrong: np.ndarray, objects: np.ndarray) -> float:
    return float(np.maximum(1 - wrong / (objects + 1e-6), 0).mean())


@dataclass
class ExpressionSums:
    """Scores by expression, to be merged over processes; an expression that comes twice counts once."""

    expressions: dict[str, ExpressionScores] = field(default_factory=dict)

    def add(self, scores: ExpressionScores) -> None:
        """Counts one expression."""
        self.expressions[scores.name] = scores

    def merge(self, other: ExpressionSums) -> None:
        """Adds the counts of ``other``."""
        self.expressions.update(other.expressions)

    @property
    def faults(self) -> list[str]:
        """``<video>/<expression id>: <reason>`` of each expression without scores."""
        return [f"{scores.name}: {scores.fault}" for scores in self.expressions.values() if scores.fault]

    def results(self, columns: Sequence[str] = ("J", "F"), of: str | None = None) -> dict[str, float]:
        """Means over expressions, 0..1: ``J&F`` and some of :data:`COLUMNS`; ``of`` one type alone."""
        rows = [scores for scores in self.expressions.values() if of in (None, scores.type)]
        values = {name: mean(getattr(row, COLUMNS[name]) for row in rows) for name in columns}
        return {"J&F": (values["J"] + values["F"]) / 2, **values}

    def by_type(self, columns: Sequence[str] = ("J", "F")) -> dict[str, dict[str, float]]:
        """:meth:`results` of all expressions, under ``""``, and of each type."""
        types = sorted({scores.type for scores in self.expressions.values()} - {""})
        return {name: self.results(columns, name or None) for name in ("", *types)}

    def no_target_results(self) -> dict[str, float]:
        """MeViS v2: :meth:`results`, ``N-acc``, ``T-acc`` and ``Final``, the mean of these two and ``J&F``.

        N-acc is the part of the expressions without a target that get no mask in any frame, T-acc the part of
        the others that get one in some frame.
        """
        rows = self.expressions.values()
        refused = mean(not (row.answered or row.fault) for row in rows if not row.target)
        given = mean(row.answered for row in rows if row.target)
        found = self.results()
        return {**found, "N-acc": refused, "T-acc": given, "Final": (found["J&F"] + refused + given) / 3}

    def revos_results(self, official: bool = True) -> dict[str, dict[str, float]]:
        """ReVOS: ``J&F``, ``J``, ``F``, ``A``, ``R`` (0..1) of ``referring``, ``reasoning`` and ``overall``.

        ``overall`` is the mean of the two groups, not of all expressions.

        Args:
            official: round each expression to hundredths of a percent before the mean, and take the official A
                and R; otherwise neither.
        """
        table = {name: self._group(kind, official) for name, kind in REVOS_GROUPS.items()}
        table["overall"] = {key: mean(group[key] for group in table.values()) for key in table["referring"]}
        return table

    def _group(self, kind: int, official: bool) -> dict[str, float]:
        prefix = "official_" if official else ""
        names = {"J": "region", "F": "boundary", "A": f"{prefix}accuracy", "R": f"{prefix}robustness"}
        rows = [scores for scores in self.expressions.values() if scores.kind == kind]
        values = {
            key: mean(_rounded(getattr(row, name)) if official else getattr(row, name) for row in rows)
            for key, name in names.items()
        }
        return {"J&F": (values["J"] + values["F"]) / 2, **values}


def _rounded(value: float) -> float:
    return float(np.round(100 * value, 2)) / 100
