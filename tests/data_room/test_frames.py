from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructseg.data.frames import neighbour_references, training_frames


def released_neighbours(t: int, length: int) -> list[int]:
    """The released rule for videos of at least five frames, case by case."""
    if t < 2:
        window = [0, 1, 2, 3, 4]
    elif t >= length - 2:
        window = [length - 5, length - 4, length - 3, length - 2, length - 1]
    else:
        window = [t - 2, t - 1, t, t + 1, t + 2]
    return [i for i in window if i != t]


@pytest.mark.parametrize("length", range(5, 16))
def test_neighbours_of_a_long_video_are_the_released_ones(length):
    for t in range(length):
        assert neighbour_references(t, length) == released_neighbours(t, length)


@pytest.mark.parametrize("length", range(1, 5))
def test_neighbours_of_a_short_video_are_all_its_other_frames(length):
    for t in range(length):
        assert neighbour_references(t, length) == [i for i in range(length) if i != t]


@given(st.data(), st.integers(1, 40), st.integers(0, 12))
def test_neighbours_are_the_nearest_frames(data, length, count):
    t = data.draw(st.integers(0, length - 1))
    references = neighbour_references(t, length, count)
    assert len(references) == min(count, length - 1)
    assert t not in references
    assert references == sorted(set(references))
    assert all(0 <= i < length for i in references)
    window = sorted([*references, t])
    assert window == list(range(window[0], window[0] + len(window)))
    if window[0] > 0 and window[-1] < length - 1:
        assert t - window[0] == (count + 1) // 2


def test_an_odd_count_is_not_rounded_down():
    assert neighbour_references(10, 20, 3) == [8, 9, 11]


@pytest.mark.parametrize(("t", "length"), [(-1, 5), (5, 5), (0, 0)])
def test_a_frame_outside_the_video_is_refused(t, length):
    with pytest.raises(ValueError, match=f"frame {t} is outside a video of {length} frames"):
        neighbour_references(t, length)


def test_a_negative_count_is_refused():
    with pytest.raises(ValueError, match="count must not be negative, got -1"):
        neighbour_references(0, 5, -1)


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 9), st.sampled_from([0.0, 0.3, 1.0]))
def test_training_frames_follow_the_jump_rule(seed, length, count, reverse):
    key, references = training_frames(length, np.random.default_rng(seed), count, reverse)
    frames = sorted([*references, key])
    assert len(frames) == len(set(frames)) == min(count, length)
    assert all(0 <= i < length for i in frames)
    # any frame was within a jump of one chosen before it, so sorted neighbours are too
    assert all(b - a <= min(9, length) for a, b in pairwise(frames))
    backwards = len(references) > 1 and references[0] > references[1]
    assert references == sorted(references, reverse=backwards)
    assert key == sorted(frames, reverse=backwards)[len(frames) // 2] or len(references) < 2
    if reverse in (0.0, 1.0) and len(references) > 1:
        assert backwards == bool(reverse)


def reachable(length: int, count: int, jump: int) -> set[frozenset[int]]:
    """All sets of frames that the rule can draw with this jump, by plain enumeration."""
    sets = {frozenset([i]) for i in range(length)}
    for _ in range(count - 1):
        sets = {
            chosen | {new}
            for chosen in sets
            for new in range(length)
            if new not in chosen and any(abs(new - c) <= jump for c in chosen)
        }
    return sets


def test_training_frames_draw_all_that_the_rule_allows_and_nothing_else():
    rng = np.random.default_rng(0)
    drawn = set()
    for _ in range(4000):
        key, references = training_frames(7, rng, 3)
        drawn.add(frozenset([key, *references]))
    # the largest jump of a video of seven frames is its length, the smallest is 2
    assert drawn == set().union(*(reachable(7, 3, jump) for jump in range(2, 8)))


def test_time_runs_backwards_in_three_of_ten_draws():
    rng = np.random.default_rng(0)
    backwards = [
        references[0] > references[1] for _, references in (training_frames(30, rng) for _ in range(2000))
    ]
    assert np.mean(backwards) == pytest.approx(0.3, abs=0.04)


@pytest.mark.parametrize(("length", "count"), [(0, 5), (5, 0)])
def test_an_empty_video_or_draw_is_refused(length, count):
    with pytest.raises(ValueError, match=f"got length {length} and count {count}"):
        training_frames(length, np.random.default_rng(0), count)
