"""Fits of presence and of the cut between objects on held-out data, and the reliability of a presence.

A presence is the sigmoid of a logit. Its logit divided by a temperature, it is the share of instructions with a
target among those of that presence, as far as one number can make it so (Guo et al., 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

EDGE = 1e-6
"""Presences nearer to 0 or 1 are moved to it, so that their logits are finite."""


class Bin(NamedTuple):
    """Instructions of about one presence.

    Attributes:
        size: how many.
        presence: their mean presence.
        share: of those with a target.
    """

    size: int
    presence: float
    share: float


def with_temperature(presence: np.ndarray, temperature: float, shift: float = 0.0) -> np.ndarray:
    """Presences ``float[N]``, 0..1, with their logits divided by a temperature, and then shifted."""
    kept = np.clip(presence, EDGE, 1 - EDGE)
    return 1 / (1 + np.exp(-np.log(kept / (1 - kept)) / temperature - shift))


def fit_temperature(presence: np.ndarray, present: np.ndarray) -> float:
    """The temperature of the largest likelihood, 0.05 to 20.

    Args:
        presence: ``float[N]``, 0..1, with temperature 1.
        present: ``bool[N]``, whether there is a target.

    Raises:
        ValueError: all instructions have a target, or none.
    """
    from scipy.optimize import minimize_scalar

    check_both(present)

    def loss(log: float) -> float:
        chance = np.clip(with_temperature(presence, float(np.exp(log))), 1e-12, 1 - 1e-12)
        return float(-np.where(present, np.log(chance), np.log(1 - chance)).mean())

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded")
    return float(np.exp(found.x))


def fit_temperature_and_shift(presence: np.ndarray, present: np.ndarray) -> tuple[float, float]:
    """Temperature, 0.05 to 20, and shift, -10 to 10, of the largest likelihood (Platt, 1999).

    A shift is needed where presences are too low or too high as a whole.

    Args:
        presence, present: as of :func:`fit_temperature`.

    Raises:
        ValueError: all instructions have a target, or none.
    """
    from scipy.optimize import minimize

    check_both(present)

    def loss(values: np.ndarray) -> float:
        chance = with_temperature(presence, float(np.exp(values[0])), float(values[1]))
        chance = np.clip(chance, 1e-12, 1 - 1e-12)
        return float(-np.where(present, np.log(chance), np.log(1 - chance)).mean())

    limits = [(np.log(0.05), np.log(20)), (-10, 10)]
    found = minimize(loss, [0.0, 0.0], bounds=limits, method="L-BFGS-B")
    return float(np.exp(found.x[0])), float(found.x[1])


def fit_threshold(presence: np.ndarray, present: np.ndarray, answered: float | None = None) -> float:
    """The presence below which nothing is there.

    Args:
        presence: ``float[N]``, 0..1.
        present: ``bool[N]``.
        answered: share of the instructions with a target that keep their mask; ``None`` for the largest mean of
            T-acc and N-acc, the shares judged right of those with and without a target.

    Raises:
        ValueError: all instructions have a target, or none; or ``answered`` is outside 0..1.
    """
    check_both(present)
    if answered is not None:
        if not 0 < answered <= 1:
            raise ValueError(f"answered must be above 0 and at most 1, got {answered}")
        ascending = np.sort(presence[present])
        return float(ascending[int((1 - answered) * len(ascending) + 1e-9)])
    order = np.sort(presence)
    cuts = np.concatenate([[0.0], (order[1:] + order[:-1]) / 2, [1.0]])
    right = [accuracies(presence, present, cut) for cut in cuts]
    return float(cuts[int(np.argmax([there + absent for there, absent in right]))])


def accuracies(presence: np.ndarray, present: np.ndarray, threshold: float) -> tuple[float, float]:
    """T-acc and N-acc at a threshold: shares judged right of instructions with and without a target."""
    found = presence >= threshold
    return float(found[present].mean()), float((~found)[~present].mean())


def reliability(presence: np.ndarray, present: np.ndarray, bins: int = 10) -> list[Bin]:
    """The reliability diagram: bins of equal width, the empty ones left out."""
    place = np.minimum((presence * bins).astype(int), bins - 1)
    return [
        Bin(int(of.sum()), float(presence[of].mean()), float(present[of].mean()))
        for of in (place == i for i in range(bins))
        if of.any()
    ]


def calibration_error(presence: np.ndarray, present: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error: the mean distance of presence and share, over all instructions."""
    return sum(one.size * abs(one.presence - one.share) for one in reliability(presence, present, bins)) / len(
        presence
    )


def fit_cut(scores: Sequence[float], right: Sequence[bool], targets: int) -> tuple[float, float]:
    """The score from which a query is an object, by the largest F1 of all objects.

    Args:
        scores: of all candidates of all instructions, 0..1.
        right: whether each is a target that no better candidate of its instruction is.
        targets: number of objects in the ground truth.

    Returns:
        The cut and its F1.

    Raises:
        ValueError: no candidate is right.
    """
    if not any(right):
        raise ValueError("no candidate is right: there is no cut to fit")
    order = np.argsort(-np.asarray(scores), kind="stable")
    hits = np.cumsum(np.asarray(right)[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + targets)
    best = int(np.argmax(f1))
    return float(scores[order[best]]), float(f1[best])


def check_both(present: np.ndarray) -> None:
    """Raises a ValueError if all instructions have a target, or none."""
    if present.all() or not present.any():
        kind = "with" if present.all() else "without"
        raise ValueError(f"all {len(present)} instructions are {kind} a target: a fit needs both")
