"""One expression, one video, one score: MeViS, Ref-YouTube-VOS and ReVOS.

The predictions of all three are a picture per video, expression and frame, not 0 inside::

    <predictions>/<video>/<expression id>/<frame>.png

An expression that cannot be scored (a frame is missing, a size does not fit) counts 0, as in the official
scripts, and says why in :attr:`ExpressionScores.fault`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from instructseg.evaluation.jf import region_and_boundary
from instructseg.evaluation.parallel import each
from instructseg.evaluation.sums import mean
from instructseg.evaluation.video_truth import Expression
from instructseg.masks import load_grey_png

REVOS_GROUPS = {"referring": 0, "reasoning": 1}
"""Groups of ReVOS and their ``type_id``; 2, an expression that means nothing, is in no group."""


@dataclass(frozen=True)
class ExpressionScores:
    """Means over the frames of one expression, 0..1.

    Attributes:
        name: ``<video>/<expression id>``.
        kind: ``type_id`` of ReVOS; 0 elsewhere.
        region: J.
        boundary: F.
        accuracy: part of the pixels that are right (A).
        robustness: 1 less the wrong pixels over the pixels of all objects of the video, not below 0 (R).
        official_accuracy, official_robustness: as the released script computes them, in 8 bits and from the
            values 0 and 255 of the pictures: a right pixel inside counts as wrong, and a wrong one 255 times.
        fault: why the expression counts 0; empty where all is well.
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


def score_masks(
    prediction: np.ndarray,
    truth: np.ndarray,
    foreground: np.ndarray | None = None,
    name: str = "",
    kind: int = 0,
) -> ExpressionScores:
    """Scores one expression.

    Args:
        prediction: ``bool[T, H, W]``, or ``uint8`` as stored in the pictures (0 and 255).
        truth: ``uint8[T, H, W]``, how many of the meant objects cover a pixel.
        foreground: ``uint8[T, H, W]``, 1 on any object of the video; A and R need it.
        name: ``<video>/<expression id>``.
        kind: ``type_id`` of ReVOS.

    Raises:
        ValueError: the sizes differ.
    """
    region, boundary = region_and_boundary(prediction, truth)
    scores = ExpressionScores(name, kind, float(region.mean()), float(boundary.mean()))
    if foreground is None:
        return scores
    if foreground.shape != truth.shape:
        raise ValueError(f"{name}: the truth is {truth.shape} but the foreground is {foreground.shape}")
    stored = prediction if prediction.dtype == np.uint8 else prediction.astype(np.uint8) * np.uint8(255)
    inside, target = prediction != 0, truth != 0
    objects = foreground.sum(axis=(1, 2), dtype=np.int64)
    wrong = np.count_nonzero(inside & ~target, axis=(1, 2))
    official_wrong = ((np.uint8(1) - truth) * stored).sum(axis=(1, 2), dtype=np.int64)
    return ExpressionScores(
        name,
        kind,
        scores.region,
        scores.boundary,
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
        """Counts all that ``other`` did."""
        self.expressions.update(other.expressions)

    @property
    def faults(self) -> list[str]:
        """``<video>/<expression id>: <why>`` of each expression that could not be scored."""
        return [f"{scores.name}: {scores.fault}" for scores in self.expressions.values() if scores.fault]

    def results(self) -> dict[str, float]:
        """MeViS and Ref-YouTube-VOS: mean ``J`` and ``F`` over all expressions and their mean ``J&F``, 0..1."""
        region = mean(scores.region for scores in self.expressions.values())
        boundary = mean(scores.boundary for scores in self.expressions.values())
        return {"J&F": (region + boundary) / 2, "J": region, "F": boundary}

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


def evaluate_expressions(
    predictions: Path, expressions: Iterable[Expression], processes: int = 1
) -> ExpressionSums:
    """Scores a folder of pictures.

    Args:
        predictions: see the top of this file.
        expressions: what was asked, and its truth; see :mod:`instructseg.evaluation.video_truth`.
        processes: to score expressions in; 1 for this one.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    if not predictions.is_dir():
        raise FileNotFoundError(f"no folder of predictions at {predictions}")
    sums = ExpressionSums()
    for scores in each(partial(score_expression, predictions), expressions, processes):
        sums.add(scores)
    return sums


def score_expression(predictions: Path, expression: Expression) -> ExpressionScores:
    """Scores the pictures of one expression; see :func:`evaluate_expressions`."""
    folder = predictions / expression.video / expression.name
    name = f"{expression.video}/{expression.name}"
    try:
        prediction = np.stack([load_grey_png(folder / f"{frame}.png") for frame in expression.frames])
        truth, foreground = expression.load(prediction.shape[1:])
        return score_masks(prediction, truth, foreground, name, expression.kind)
    except (FileNotFoundError, ValueError) as error:
        return ExpressionScores(name, expression.kind, fault=str(error))
