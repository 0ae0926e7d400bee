"""IoU against masks drawn by hand and a loop over pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from instructseg.evaluation.iou import IouSums, iou

EMPTY, LEFT = np.zeros((2, 4), bool), np.array([[1, 1, 0, 0]] * 2, bool)


def test_the_empty_mask_rule() -> None:
    assert iou(EMPTY, EMPTY) == 1
    assert iou(LEFT, EMPTY) == 0
    assert iou(EMPTY, LEFT) == 0


def test_ignored_pixels_do_not_count() -> None:
    truth = np.array([[1, 255, 0, 255]] * 2, np.uint8)
    assert iou(LEFT, truth) == 1
    assert iou(EMPTY, np.full((2, 4), 255, np.uint8)) == 1


def test_cumulative_and_mean_differ_as_defined() -> None:
    sums = IouSums()
    assert (sums.ciou, sums.giou) == (0, 0)
    big, small = np.ones((10, 10), bool), np.zeros((10, 10), bool)
    half, missed = big.copy(), small.copy()
    half[5:] = False
    missed[0, 0] = True
    sums.add(half, big)
    sums.add(small, missed)
    assert sums.ciou == pytest.approx(50 / 101)
    assert sums.giou == pytest.approx(0.25)


@given(arrays(bool, (3, 5)), arrays(np.uint8, (3, 5), elements=st.sampled_from([0, 1, 255])))
def test_equals_a_loop_over_pixels(prediction: np.ndarray, truth: np.ndarray) -> None:
    intersection = union = 0
    for p, t in zip(prediction.flat, truth.flat, strict=True):
        if t != 255:
            intersection += bool(p and t)
            union += bool(p or t)
    assert iou(prediction, truth) == (intersection / union if union else 1.0)


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"\(2, 4\) but the truth is \(2, 3\)"):
        iou(EMPTY, EMPTY[:, :3])
