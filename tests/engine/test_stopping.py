from __future__ import annotations

import math

import pytest

from instructseg.engine.stopping import SETTLED, BestWatch, LossLevel


def test_best_and_patience() -> None:
    watch = BestWatch("giou", "max", 2)
    seen = [watch.see(step, {"giou": value}) for step, value in enumerate((0.1, 0.3, 0.3, math.nan))]
    assert seen == [True, True, False, False]
    assert (watch.value, watch.step, watch.over) == (0.3, 1, True)
    again = BestWatch("giou", "max", 2)
    again.load(watch.state())
    assert again.over and not again.see(9, {"giou": 0.2})
    assert again.see(10, {"giou": 0.4}) and not again.over


def test_smallest_can_be_best_and_no_patience_never_ends() -> None:
    watch = BestWatch("loss", "min", 0)
    assert [watch.see(step, {"loss": value}) for step, value in enumerate((2.0, 1.0, 3.0))] == [
        True,
        True,
        False,
    ]
    assert not watch.over and watch.step == 1


def test_state_of_another_number_is_forgotten() -> None:
    watch = BestWatch("ciou", "max", 1)
    watch.load({"metric": "giou", "value": 1.0, "step": 3, "waited": 7})
    assert watch.value is None and not watch.over


def test_number_that_is_not_evaluated_names_the_closest() -> None:
    with pytest.raises(ValueError, match="has no metric 'gIoU'; the closest is 'mean/giou'"):
        BestWatch("gIoU", "max", 0).see(1, {"mean/giou": 0.1, "zzz": 1.0})


def test_loss_level_is_a_mean_of_each_task_by_itself() -> None:
    levels = LossLevel(10.0)
    for step in range(SETTLED):
        assert levels.limit("res") is None
        levels.add("res", float(step))
    assert levels.limit("res") == pytest.approx(10 * sum(range(SETTLED)) / SETTLED)
    assert levels.limit("vqa") is None
    again = LossLevel(10.0)
    again.load(levels.state())
    assert again.limit("res") == levels.limit("res")
    assert LossLevel(0.0).limit("res") is None
