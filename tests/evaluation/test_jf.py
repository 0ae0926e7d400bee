"""J and F against a loop over pixels."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instructseg.evaluation.jf import region_and_boundary, score_pairs, statistics, tolerance

from .masks_by_hand import label_maps, sizes, slow_f, slow_j


@given(st.data(), sizes, st.sampled_from([0.008, 0.2, 1, 3]))
@settings(max_examples=150, deadline=None)
def test_equals_a_loop_over_pixels(data: st.DataObject, shape: tuple[int, ...], bound_th: float) -> None:
    prediction, truth, void = (data.draw(label_maps(shape, 1)) for _ in range(3))
    region, boundary = region_and_boundary(prediction, truth, void, bound_th)
    for frame in range(shape[0]):
        masks = prediction[frame], truth[frame], void[frame]
        assert region[frame] == pytest.approx(slow_j(*masks), abs=1e-12)
        assert boundary[frame] == pytest.approx(slow_f(*masks, bound_th), abs=1e-12)


@given(st.data(), st.tuples(st.integers(7, 10), st.integers(2, 9), st.integers(2, 9)))
@settings(max_examples=30, deadline=None)
def test_objects_of_a_label_map_are_scored_one_by_one(data: st.DataObject, shape: tuple[int, ...]) -> None:
    prediction, truth = data.draw(label_maps(shape, 3)), data.draw(label_maps(shape, 2))
    pairs = [(p, t) for p in (1, 2, 3, 4) for t in (1, 2)]
    region, boundary = score_pairs(prediction, truth, pairs)
    nothing = np.zeros(shape[1:], np.uint8)
    for row, (p, t) in enumerate(pairs):
        for frame in range(shape[0]):
            masks = prediction[frame] == p, truth[frame] == t, nothing
            assert region[row, frame] == pytest.approx(slow_j(*masks), abs=1e-12)
            assert boundary[row, frame] == pytest.approx(slow_f(*masks), abs=1e-12)


def test_one_mask_or_many_have_the_shape_of_what_was_given() -> None:
    masks = np.zeros((2, 3, 5, 7), bool)
    masks[0, 1, :2] = True
    for part in (masks, masks[0], masks[0, 1]):
        region, boundary = region_and_boundary(part, part)
        assert region.shape == boundary.shape == part.shape[:-2]
        assert (region == 1).all() and (boundary == 1).all()


def test_empty_masks() -> None:
    empty, full = np.zeros((4, 6), bool), np.ones((4, 6), bool)
    some = empty.copy()
    some[1:3, 2:4] = True
    assert [float(value) for value in region_and_boundary(empty, empty)] == [1, 1]
    assert [float(value) for value in region_and_boundary(some, empty)] == [0, 0]
    assert [float(value) for value in region_and_boundary(empty, some)] == [0, 0]
    # a mask that fills the frame has no boundary, like an empty one
    assert [float(value) for value in region_and_boundary(full, empty)] == [0, 1]


def test_a_boundary_within_the_tolerance_is_found() -> None:
    truth = np.zeros((480, 854), bool)
    truth[100:200, 100:300] = True
    for shift in (8, 9):
        moved = np.roll(truth, shift, axis=1)
        _, boundary = region_and_boundary(moved, truth)
        assert (boundary == 1) == (shift == 8)


def test_tolerance() -> None:
    assert tolerance(480, 854) == 8
    assert tolerance(1080, 1920) == 18
    assert tolerance(480, 854, 3) == 3
    with pytest.raises(ValueError, match=r"bound_th is 1\.5: give a part of the diagonal below 1"):
        tolerance(480, 854, 1.5)


def test_sizes_must_agree() -> None:
    one, other = np.zeros((2, 3, 4), bool), np.zeros((2, 3, 5), bool)
    with pytest.raises(ValueError, match=r"\(2, 3, 4\) but the truth is \(2, 3, 5\)"):
        region_and_boundary(one, other)
    with pytest.raises(ValueError, match=r"\(2, 3, 4\) but the void mask is \(2, 3, 5\)"):
        region_and_boundary(one, one, other)
    with pytest.raises(ValueError, match=r"\(2, 3, 4\) but the truth is \(2, 3, 5\)"):
        score_pairs(one, other, [(1, 1)])


def slow_decay(values: np.ndarray, wrap: bool) -> float:
    """First quarter less last, quarters share the frame between them."""
    count = len(values)
    ends = [round(1 + quarter * (count - 1) / 4 + 1e-10) - 1 for quarter in range(5)]
    ends = [end % 256 for end in ends] if wrap else ends
    first, last = values[ends[0] : ends[1] + 1], values[ends[3] : ends[4] + 1]
    return sum(first) / len(first) - sum(last) / len(last) if len(last) else math.nan


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 50, 79, 255, 256, 257, 300, 400, 700])
def test_statistics(count: int) -> None:
    values = np.random.default_rng(count).random(count)
    plain, official = statistics(values), statistics(values, official_decay=True)
    assert plain.mean == official.mean == pytest.approx(sum(values) / count)
    assert plain.recall == official.recall == sum(value > 0.5 for value in values) / count
    assert plain.decay == pytest.approx(slow_decay(values, wrap=False))
    assert official.decay == pytest.approx(slow_decay(values, wrap=True), nan_ok=True)
    assert (plain.decay == official.decay) == (count <= 256)


def test_statistics_of_nothing() -> None:
    with pytest.raises(ValueError, match="no frames"):
        statistics(np.zeros(0))
