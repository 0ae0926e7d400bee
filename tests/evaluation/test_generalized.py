"""gRefCOCO's figures from expressions counted by hand."""

import numpy as np
import pytest

from instructseg.evaluation.generalized import GeneralizedSums

EMPTY, LEFT, ALL = np.zeros((2, 4), bool), np.array([[1, 1, 0, 0]] * 2, bool), np.ones((2, 4), bool)


def test_the_four_cases() -> None:
    sums = GeneralizedSums()
    assert sums.add(LEFT, ALL, says_nothing=False) == 0.5  # 4 of 8
    assert sums.add(LEFT, ALL, says_nothing=True) == 0  # 0 of 8
    assert sums.add(EMPTY, EMPTY, says_nothing=True) == 1  # 0 of 0
    assert sums.add(LEFT, EMPTY, says_nothing=False) == 0  # 0 of 4
    assert sums.ciou == 4 / 20
    assert sums.giou == 1.5 / 4
    assert (sums.n_acc, sums.t_acc) == (0.5, 0.5)


def test_a_mask_that_is_not_given_does_not_count_where_nothing_is_meant() -> None:
    sums = GeneralizedSums()
    assert sums.add(LEFT, EMPTY, says_nothing=True) == 1
    assert sums.union == 0


def test_an_empty_answer_to_nothing_is_wrong_unless_it_says_so() -> None:
    sums = GeneralizedSums()
    assert sums.add(EMPTY, EMPTY, says_nothing=False) == 0
    assert sums.add(EMPTY, EMPTY, says_nothing=False, is_nothing=False) == 0  # a target too small to be drawn
    assert (sums.n_acc, sums.t_acc) == (0, 1)
    assert sums.ciou == 0


def test_precision_is_of_expressions_with_a_target() -> None:
    sums = GeneralizedSums()
    sums.add(EMPTY, EMPTY, says_nothing=True)
    for intersection in (7, 8, 9):
        sums.add_counts(intersection, 10, says_nothing=False, is_nothing=False)
    assert [sums.precision(k) for k in (0.7, 0.8, 0.9)] == pytest.approx([1, 2 / 3, 1 / 3])


def test_no_accuracies_without_expressions_that_mean_nothing() -> None:
    sums = GeneralizedSums()
    sums.add(LEFT, ALL, says_nothing=False)
    assert (sums.n_acc, sums.t_acc) == (0, 0)
    assert (GeneralizedSums().giou, GeneralizedSums().precision(0.7)) == (0, 0)


def test_merged_sums_equal_one_pass() -> None:
    rng = np.random.default_rng(0)
    whole, first, second = GeneralizedSums(), GeneralizedSums(), GeneralizedSums()
    for number in range(12):
        prediction, truth = rng.random((2, 5, 5)) > rng.choice([0.3, 2], size=(2, 1, 1))
        for sums in (whole, first if number % 3 else second):
            sums.add(prediction, truth, says_nothing=number % 4 == 0)
    first.merge(second)
    for figure in ("giou", "ciou", "n_acc", "t_acc"):
        assert getattr(first, figure) == getattr(whole, figure)
    assert first.precision(0.5) == whole.precision(0.5)
