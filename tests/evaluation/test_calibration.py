from __future__ import annotations

import numpy as np
import pytest

from instructseg.evaluation.calibration import (
    accuracies,
    calibration_error,
    fit_cut,
    fit_temperature,
    fit_temperature_and_shift,
    fit_threshold,
    reliability,
    with_temperature,
)

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 2, 40000)
PRESENT = RNG.random(40000) < 1 / (1 + np.exp(-LOGITS))


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_of_a_known_distribution_is_found(temperature: float) -> None:
    presence = sigmoid(LOGITS * temperature)  # too sure by that factor
    found = fit_temperature(presence, PRESENT)
    assert found == pytest.approx(temperature, rel=0.05)
    calibrated = with_temperature(presence, found)
    assert calibration_error(calibrated, PRESENT) < 0.01
    assert temperature == 1 or calibration_error(presence, PRESENT) > 0.04
    assert (np.diff(calibrated[np.argsort(presence)]) >= 0).all()  # the order stays


@pytest.mark.parametrize(("temperature", "shift"), [(0.5, 0.8), (2.0, -1.5)])
def test_temperature_and_shift_of_a_known_distribution_are_found(temperature: float, shift: float) -> None:
    presence = sigmoid((LOGITS - shift) * temperature)
    found = fit_temperature_and_shift(presence, PRESENT)
    assert found == pytest.approx((temperature, shift), rel=0.05)
    assert calibration_error(with_temperature(presence, *found), PRESENT) < 0.01
    assert calibration_error(with_temperature(presence, fit_temperature(presence, PRESENT)), PRESENT) > 0.03


def test_thresholds_are_those_of_plain_loops() -> None:
    presence, present = sigmoid(LOGITS[:300]), PRESENT[:300]
    for answered in (0.5, 0.9, 0.95, 1.0):
        cut = fit_threshold(presence, present, answered)
        assert (presence[present] >= cut).mean() >= answered
        higher = min(value for value in presence[present] if value > cut)
        assert (presence[present] >= higher).mean() < answered
    cut = fit_threshold(presence, present)
    best = max(sum(accuracies(presence, present, value)) for value in [0.0, *presence, 1.0])
    assert sum(accuracies(presence, present, cut)) == pytest.approx(best)
    there, absent = accuracies(presence, present, 0.4)
    assert there == np.mean([p >= 0.4 for p in presence[present]])
    assert absent == np.mean([p < 0.4 for p in presence[~present]])


def test_reliability_counts_every_instruction() -> None:
    bins = reliability(np.array([0.0, 0.05, 0.55, 1.0]), np.array([False, True, True, True]), 10)
    assert [(one.size, one.share) for one in bins] == [(2, 0.5), (1, 1.0), (1, 1.0)]
    assert bins[0].presence == pytest.approx(0.025)
    error = (2 * 0.475 + 0.45 + 0) / 4
    assert calibration_error(
        np.array([0.0, 0.05, 0.55, 1.0]), np.array([False, True, True, True])
    ) == pytest.approx(error)


def test_the_cut_has_the_largest_f1() -> None:
    scores = RNG.random(200)
    right = RNG.random(200) < scores
    cut, f1 = fit_cut(scores.tolist(), right.tolist(), 120)

    def plain(value: float) -> float:
        kept = scores >= value
        return float(2 * (right & kept).sum() / (kept.sum() + 120))

    assert f1 == pytest.approx(plain(cut)) == pytest.approx(max(plain(value) for value in scores))


def test_fits_need_both_kinds() -> None:
    for share in (True, False):
        with pytest.raises(
            ValueError, match=f"all 3 instructions are {'with' if share else 'without'} a target"
        ):
            fit_temperature(np.array([0.1, 0.5, 0.9]), np.full(3, share))
        with pytest.raises(ValueError, match="a fit needs both"):
            fit_temperature_and_shift(np.array([0.1, 0.5, 0.9]), np.full(3, share))
    with pytest.raises(ValueError, match="answered must be"):
        fit_threshold(np.array([0.1, 0.5]), np.array([True, False]), 0)
    with pytest.raises(ValueError, match="no candidate is right"):
        fit_cut([0.5], [False], 3)
