"""Rules of propagation, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from instructseg.inference.propagation.anchors import best_anchors, carried, quality
from instructseg.masks import mask_iou
from instructseg.prediction import Prediction


def plain_best(qualities: dict[int, float], most: int, spacing: int) -> list[int]:
    """Takes the best frame, removes its neighbours, and so on."""
    left, chosen = {frame: value for frame, value in qualities.items() if value > 0}, list[int]()
    while left and len(chosen) < most:
        top = max(left.values())
        best = min(frame for frame in left if left[frame] == top)
        chosen.append(best)
        left = {frame: value for frame, value in left.items() if abs(frame - best) >= spacing}
    return chosen


@pytest.mark.parametrize("seed", range(20))
def test_the_best_anchors_are_those_of_a_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = rng.choice(60, int(rng.integers(0, 30)), replace=False).tolist()
    qualities = {frame: float(rng.integers(0, 6)) / 5 for frame in frames}  # equal ones and zeros among them
    most, spacing = int(rng.integers(1, 6)), int(rng.integers(1, 15))
    assert best_anchors(qualities, most, spacing) == plain_best(qualities, most, spacing)


def test_the_best_anchor_need_not_be_the_first_frame() -> None:
    assert best_anchors({0: 0.2, 7: 0.5, 9: 0.9, 20: 0.5}, most=2) == [9, 20]
    assert best_anchors({}) == best_anchors({3: 0.0}) == []


def test_quality_is_score_times_presence_and_that_of_an_empty_mask_is_0() -> None:
    mask = np.ones((2, 3), bool)
    assert quality(Prediction(mask, 0.5, 0.8)) == pytest.approx(0.4)
    assert quality(Prediction(~mask, 0.5, 0.8)) == 0


@pytest.mark.parametrize("seen", [0.0, 0.49, 0.5, 1.0])
def test_a_carried_prediction_has_the_score_of_its_anchor_times_what_is_seen(seen: float) -> None:
    anchor = Prediction(np.ones((2, 3), bool), 0.8, 0.9, "the dog", id=4, instruction_id=2)
    soft = np.array([[0.1, 0.6, 0.5], [0.9, 0.0, 0.51]], np.float32)
    found = carried(anchor, soft, seen)
    assert (found.score, found.presence, found.id, found.instruction_id) == (0.8 * seen, 0.9, 4, 2)
    for y in range(2):
        for x in range(3):
            assert found.mask[y, x] == (seen >= 0.5 and soft[y, x] > 0.5)


def test_iou_is_that_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        one, other = rng.random((2, 5, 7)) < 0.4
        both = sum(bool(one[y, x] and other[y, x]) for y in range(5) for x in range(7))
        either = sum(bool(one[y, x] or other[y, x]) for y in range(5) for x in range(7))
        assert mask_iou(one, other) == both / either
    assert mask_iou(np.zeros((2, 2), bool), np.zeros((2, 2), bool)) == 0
