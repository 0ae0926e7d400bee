"""ReVOS, MeViS and Ref-YouTube-VOS: formulas against slow copies."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instructseg.evaluation.expressions import ExpressionScores, ExpressionSums, score_masks

from .masks_by_hand import label_maps, sizes, slow_f, slow_j


def slow_a_and_r(prediction: np.ndarray, truth: np.ndarray, objects: np.ndarray) -> tuple[float, float]:
    """The released A and R, which count in bytes."""
    accuracies, robustnesses = [], []
    for p, t, o in zip(prediction, truth, objects, strict=True):
        pixels = list(zip(p.flat, t.flat, strict=True))
        accuracies.append(sum(int(a) == int(b) for a, b in pixels) / len(pixels))
        wrong = sum((1 - int(b)) % 256 * int(a) % 256 for a, b in pixels)
        robustnesses.append(max(1 - wrong / (sum(map(int, o.flat)) + 1e-6), 0))
    return sum(accuracies) / len(accuracies), sum(robustnesses) / len(robustnesses)


@given(st.data(), sizes)
@settings(max_examples=50, deadline=None)
def test_scores_equal_the_slow_formulas(data: st.DataObject, shape: tuple[int, ...]) -> None:
    prediction = data.draw(label_maps(shape, 1)) * np.uint8(255)
    truth, objects = data.draw(label_maps(shape, 2)), data.draw(label_maps(shape, 1))
    scores = score_masks(prediction, truth, objects)
    nothing = np.zeros(shape[1:], np.uint8)
    frames = list(zip(prediction, truth, strict=True))
    assert scores.region == pytest.approx(np.mean([slow_j(p, t, nothing) for p, t in frames]))
    assert scores.boundary == pytest.approx(np.mean([slow_f(p, t, nothing) for p, t in frames]))
    official = slow_a_and_r(prediction, truth, objects)
    assert (scores.official_accuracy, scores.official_robustness) == pytest.approx(official)
    corrected = slow_a_and_r(prediction // 255, np.minimum(truth, 1), objects)
    assert (scores.accuracy, scores.robustness) == pytest.approx(corrected)
    assert score_masks(prediction == 255, truth, objects) == scores


def test_the_foreground_must_fit() -> None:
    masks = np.zeros((1, 2, 2), np.uint8)
    with pytest.raises(ValueError, match=r"v/0: the truth is \(1, 2, 2\) but the foreground is \(2, 2, 2\)"):
        score_masks(masks, masks, np.zeros((2, 2, 2), np.uint8), "v/0")


def test_revos_groups_and_rounding() -> None:
    sums = ExpressionSums()
    for number, (kind, region) in enumerate([(0, 0.123456), (0, 0.2), (1, 0.987654), (2, 1.0)]):
        sums.add(
            ExpressionScores(
                f"v/{number}", kind, region, region / 2, accuracy=region, official_robustness=region
            )
        )
    official, plain = sums.revos_results(), sums.revos_results(official=False)
    assert official["referring"]["J"] == pytest.approx((0.1235 + 0.2) / 2)
    assert plain["referring"]["J"] == pytest.approx((0.123456 + 0.2) / 2)
    assert official["reasoning"]["J"] == pytest.approx(0.9877)
    assert official["reasoning"]["F"] == pytest.approx(0.4938)
    assert official["reasoning"]["J&F"] == pytest.approx((0.9877 + 0.4938) / 2)
    assert official["overall"]["J"] == pytest.approx(((0.1235 + 0.2) / 2 + 0.9877) / 2)
    assert (official["reasoning"]["A"], official["reasoning"]["R"]) == pytest.approx((0, 0.9877))
    assert (plain["reasoning"]["A"], plain["reasoning"]["R"]) == pytest.approx((0.987654, 0))


def test_mevis_is_a_mean_over_expressions_and_none_counts_twice() -> None:
    first, second = ExpressionSums(), ExpressionSums()
    for sums, name, region in ((first, "a/0", 0.2), (first, "a/1", 0.4), (second, "a/1", 0.4)):
        sums.add(ExpressionScores(name, 0, region, 1.0))
    first.merge(second)
    assert first.results() == pytest.approx({"J&F": 0.65, "J": 0.3, "F": 1})


@given(st.data(), sizes)
@settings(max_examples=50, deadline=None)
def test_temporal_and_volume_iou_equal_plain_loops(data: st.DataObject, shape: tuple[int, ...]) -> None:
    prediction, truth = data.draw(label_maps(shape, 1)), data.draw(label_maps(shape, 1))
    for masks in (prediction, truth):  # objects come and go
        masks[data.draw(st.lists(st.booleans(), min_size=len(masks), max_size=len(masks)))] = 0
    scores = score_masks(prediction, truth)
    union = shared = 0
    volume = 0.0
    for p, t in zip(prediction, truth, strict=True):
        union += bool(p.any() or t.any())
        if p.any() and t.any():
            shared += 1
            volume += slow_j(p, t, np.zeros_like(p))
    assert scores.temporal == pytest.approx(shared / union if union else 1)
    assert scores.volume == pytest.approx(volume / union if union else 1)
    assert (scores.target, scores.answered) == (bool(truth.any()), bool(prediction.any()))


def test_results_by_type() -> None:
    sums = ExpressionSums()
    for number, (kind, region) in enumerate([("static", 0.2), ("static", 0.4), ("hybrid", 0.9)]):
        sums.add(ExpressionScores(f"v/{number}", region=region, boundary=region, type=kind, temporal=1.0))
    found = sums.by_type(("J", "F", "tIoU"))
    assert list(found) == ["", "hybrid", "static"]
    assert found[""] == pytest.approx({"J&F": 0.5, "J": 0.5, "F": 0.5, "tIoU": 1})
    assert found["static"] == pytest.approx({"J&F": 0.3, "J": 0.3, "F": 0.3, "tIoU": 1})


def test_accuracies_of_expressions_with_and_without_a_target() -> None:
    sums = ExpressionSums()
    rows = [(True, True, ""), (True, False, ""), (True, True, ""), (True, True, ""), (False, False, ""),
            (False, True, ""), (False, False, "a frame is missing")]  # fmt: skip
    for number, (target, answered, fault) in enumerate(rows):
        sums.add(ExpressionScores(f"v/{number}", region=0.5, target=target, answered=answered, fault=fault))
    found = sums.no_target_results()
    assert (found["N-acc"], found["T-acc"]) == (1 / 3, 3 / 4)
    assert found["Final"] == pytest.approx((0.25 + 1 / 3 + 3 / 4) / 3)
