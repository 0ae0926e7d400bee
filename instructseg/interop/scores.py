"""Our metrics as evaluators: ``reset``, ``process`` one batch after the other, ``evaluate``.

They read the dictionaries of :mod:`instructseg.interop.entries`. Every process counts what it saw; ``evaluate``
adds up over processes, divides once, and gives percents below one key.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from instructseg.distributed import rank
from instructseg.evaluation import IouSums
from instructseg.evaluation.expressions import ExpressionSums, score_masks
from instructseg.evaluation.generalized import GeneralizedSums
from instructseg.evaluation.sums import merged
from instructseg.interop.entries import Entry, truth


class Scores:
    """Base of the evaluators."""

    def __init__(self) -> None:
        self.reset()

    @abstractmethod
    def reset(self) -> None:
        """Resets the sums."""

    def process(self, inputs: Sequence[Entry], outputs: Sequence[Entry]) -> None:
        """Counts a batch.

        Raises:
            ValueError: an input has no truth, or sizes differ.
        """
        for entry, output in zip(inputs, outputs, strict=True):
            self.add(entry, output)

    @abstractmethod
    def add(self, entry: Entry, output: Entry) -> None:
        """Counts one input and its output."""

    @abstractmethod
    def evaluate(self) -> dict[str, dict[str, float]]:
        """The metrics, the same in every process; every process must call it."""


class ReferringScores(Scores):
    """``referring``: cIoU, gIoU and P@k of the best instance; see :mod:`instructseg.evaluation.iou`."""

    def reset(self) -> None:  # noqa: D102
        self._sums = IouSums()

    def add(self, entry: Entry, output: Entry) -> None:  # noqa: D102
        self._sums.add(best_mask(output["instances"]), truth(entry))

    def evaluate(self) -> dict[str, dict[str, float]]:  # noqa: D102
        sums = merged(self._sums)
        precision = {f"P@0.{k}": sums.precision(k / 10) for k in range(5, 10)}
        return {"referring": _percent({"cIoU": sums.ciou, "gIoU": sums.giou, **precision})}


class GeneralizedScores(Scores):
    """``generalized``: metrics of gRefCOCO; an output without instances predicts no target."""

    def reset(self) -> None:  # noqa: D102
        self._sums = GeneralizedSums()

    def add(self, entry: Entry, output: Entry) -> None:  # noqa: D102
        found = output["instances"]
        self._sums.add(best_mask(found), truth(entry), says_nothing=len(found) == 0)

    def evaluate(self) -> dict[str, dict[str, float]]:  # noqa: D102
        sums = merged(self._sums)
        values = {"gIoU": sums.giou, "cIoU": sums.ciou, "N_acc": sums.n_acc, "T_acc": sums.t_acc}
        precision = {f"P@0.{k}": sums.precision(k / 10) for k in range(7, 10)}
        return {"generalized": _percent({**values, **precision})}


class VideoScores(Scores):
    """``video``: J&F, J and F, the mean over expressions of the mean over frames."""

    def reset(self) -> None:  # noqa: D102
        self._sums = ExpressionSums()
        self._unnamed = 0

    def add(self, entry: Entry, output: Entry) -> None:  # noqa: D102
        name = entry.get("name") or self._number()
        if "masks" not in entry:
            raise ValueError(f"input '{name}' has no 'masks' to compare with")
        if name in self._sums.expressions:
            raise ValueError(
                f"two inputs have the name '{name}': name the video and the instruction, or leave it"
            )
        answers = np.stack([best_mask(found) for found in output["frames"]])
        self._sums.add(score_masks(answers, entry["masks"], name=name))

    def _number(self) -> str:
        """A unique name over all processes."""
        self._unnamed += 1
        return f"{rank()}:{self._unnamed}"

    def evaluate(self) -> dict[str, dict[str, float]]:  # noqa: D102
        return {"video": _percent(merged(self._sums).results())}


def best_mask(instances: Any) -> np.ndarray:
    """The mask with the highest score, ``bool[H, W]``; empty where there is none."""
    if not len(instances):
        return np.zeros(instances.image_size, bool)
    return instances.pred_masks[int(instances.scores.argmax())].cpu().numpy()


def _percent(values: Mapping[str, float]) -> dict[str, float]:
    return {name: 100 * value for name, value in values.items()}
