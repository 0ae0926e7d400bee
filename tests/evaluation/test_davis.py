"""DAVIS sequences against a search over all assignments, and a small benchmark written to disk."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instructseg.evaluation.davis import (
    DavisSums,
    mean_results,
    semi_supervised,
    unsupervised,
)

from .masks_by_hand import label_maps, sizes, slow_f, slow_j


def slow_scores(prediction: np.ndarray, truth: np.ndarray, void: np.ndarray) -> tuple[list, list]:
    pairs = list(zip(prediction, truth, void, strict=True))
    return [slow_j(*masks) for masks in pairs], [slow_f(*masks) for masks in pairs]


@given(st.data(), sizes)
@settings(max_examples=30, deadline=None)
def test_unsupervised_is_the_best_assignment(data: st.DataObject, shape: tuple[int, ...]) -> None:
    prediction, truth = data.draw(label_maps(shape, 3)), data.draw(label_maps(shape, 3))
    truth[truth == 3] = 255
    void, objects, proposals = truth == 255, 2, max(2, int(prediction.max()))
    scores = unsupervised(prediction, truth, objects)
    every = {
        (p, t): slow_scores(prediction == p, truth == t, void)
        for p in range(1, proposals + 1)
        for t in range(1, objects + 1)
    }
    best = max(
        sum(np.mean(every[p, t]) for t, p in enumerate(chosen, start=1))
        for chosen in permutations(range(1, proposals + 1), objects)
    )
    assert len(set(scores.labels)) == objects
    assert scores.region.mean(1).sum() + scores.boundary.mean(1).sum() == pytest.approx(2 * best)
    for index, label in enumerate(scores.labels):
        region, boundary = every[label, index + 1]
        assert scores.region[index] == pytest.approx(region)
        assert scores.boundary[index] == pytest.approx(boundary)


@given(st.data(), sizes)
@settings(max_examples=30, deadline=None)
def test_semi_supervised_compares_equal_labels(data: st.DataObject, shape: tuple[int, ...]) -> None:
    prediction, truth = data.draw(label_maps(shape, 2)), data.draw(label_maps(shape, 3))
    truth[truth == 3] = 255
    scores = semi_supervised(prediction, truth, 2)
    nothing = np.zeros(shape, bool)  # void is background here
    for index, label in enumerate((1, 2)):
        region, boundary = slow_scores(prediction == label, truth == label, nothing)
        assert scores.region[index] == pytest.approx(region)
        assert scores.boundary[index] == pytest.approx(boundary)


def test_labels_that_are_not_allowed() -> None:
    maps = np.full((2, 3, 3), 21, np.uint8)
    with pytest.raises(ValueError, match="swan: the prediction has label 21, at most 20 are allowed"):
        unsupervised(maps, maps, 1, "swan")
    with pytest.raises(ValueError, match="swan: the prediction has label 21, but there are 1 objects"):
        semi_supervised(maps, maps, 1, "swan")
    with pytest.raises(ValueError, match=r"swan: the prediction is \(1, 2, 2\) but the truth is \(1, 2, 3\)"):
        unsupervised(np.zeros((1, 2, 2), np.uint8), np.zeros((1, 2, 3), np.uint8), 1, "swan")


def test_the_table_is_a_mean_over_objects_in_the_official_order() -> None:
    truth = np.zeros((3, 20, 20), np.uint8)
    truth[:, 2:9, 2:9], truth[:, 12:18, 12:18] = 1, 2
    prediction = np.zeros_like(truth)
    prediction[:, 2:9, 2:9] = 7  # the first object whole, the second not at all
    sums = DavisSums()
    sums.add(unsupervised(prediction, truth, 2, "pair"))
    one_object = np.where(truth == 1, truth, 0).astype(np.uint8)
    sums.add(unsupervised(prediction, one_object, 1, "single"))
    table = sums.results()
    assert table["J-Mean"] == table["F-Mean"] == table["J&F-Mean"] == pytest.approx(2 / 3)
    assert table["J-Recall"] == pytest.approx(2 / 3)
    assert table["J-Decay"] == table["F-Decay"] == 0
    # the empty proposal has the smaller label and is listed first, as in the released table
    assert [sums.objects[name][0].mean for name in ("pair_1", "pair_2", "single_1")] == [0, 1, 1]
    sums.add(unsupervised(prediction, one_object, 1, "single"))
    assert sums.results() == table


def test_mean_of_four_expression_sets() -> None:
    tables = [{"J-Mean": value, "F-Mean": 1.0} for value in (0.1, 0.2, 0.3, 0.4)]
    assert mean_results(tables) == {"J-Mean": 0.25, "F-Mean": 1}
    with pytest.raises(ValueError, match="the same rows"):
        mean_results([{"J": 1.0}, {"F": 1.0}])
