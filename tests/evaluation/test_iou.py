"""IoU against masks drawn by hand and a loop over pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from instructseg.evaluation.iou import IouSums, at_lavt_size

EMPTY, LEFT = np.zeros((2, 4), bool), np.array([[1, 1, 0, 0]] * 2, bool)


def iou(prediction: np.ndarray, truth: np.ndarray) -> float:
    return IouSums().add(prediction, truth)


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


def test_the_official_epsilons() -> None:
    sums = IouSums(official=True)
    tiny = np.array([[1, 1, 0, 0]], bool)
    assert sums.add(tiny[:, :], np.array([[1, 0, 0, 0]], bool)) == 1 / (2 + 1e-5)
    assert sums.add(EMPTY, EMPTY) == 1
    assert sums.ciou == 1 / (2 + 1e-10)
    assert sums.giou == pytest.approx((1 / (2 + 1e-5) + 1) / (2 + 1e-5), abs=1e-15)
    nothing = IouSums(official=True)
    nothing.add(EMPTY, EMPTY)
    assert (nothing.ciou, IouSums(official=True).giou) == (0, 0)


def test_lavt_counts_two_empty_masks_as_wrong() -> None:
    sums = IouSums.lavt()
    assert sums.add(EMPTY, EMPTY) == 0
    assert sums.ciou == 0
    sums.add(LEFT, LEFT)
    assert (sums.ciou, sums.giou) == (1, 0.5)


def test_precision_includes_the_threshold() -> None:
    sums = IouSums()
    for intersection in (1, 2, 3):
        sums.add_counts(intersection, 4)
    assert [sums.precision(k) for k in (0.5, 0.75, 0.76)] == pytest.approx([2 / 3, 1 / 3, 0])


def test_merged_sums_equal_one_pass() -> None:
    rng = np.random.default_rng(0)
    masks = rng.random((6, 2, 8, 8)) > 0.5
    whole, first, second = IouSums(), IouSums(), IouSums()
    for number, (prediction, truth) in enumerate(masks):
        whole.add(prediction, truth)
        (first if number % 2 else second).add(prediction, truth)
    first.merge(second)
    assert (first.ciou, first.giou, first.count) == (whole.ciou, whole.giou, 6)


@pytest.mark.parametrize("shape", [(333, 500), (640, 427), (480, 480), (7, 3)])
def test_lavt_size_takes_the_pixels_that_pillow_takes(shape: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).random(shape) > 0.5
    expected = Image.fromarray(mask).resize((480, 480), Image.Resampling.NEAREST)
    assert np.array_equal(at_lavt_size(mask), np.asarray(expected))
