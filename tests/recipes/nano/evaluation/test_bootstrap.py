"""The bootstrap beside a plain loop, and beside what is known of the mean."""

import numpy as np
import pytest

from recipes.nano.evaluation.bootstrap import interval


def test_a_plain_loop_over_scenes_gives_the_same_bounds() -> None:
    rng = np.random.default_rng(3)
    groups = [f"scene{i}" for i in rng.integers(0, 40, 150)]
    below = rng.uniform(1, 9, 150)
    above = below * rng.uniform(0, 1, 150)
    names = sorted(set(groups))
    ratios = []
    for _ in range(2000):
        rows = [i for name in rng.choice(names, len(names)) for i, group in enumerate(groups) if group == name]
        ratios.append(above[rows].sum() / below[rows].sum())
    expected = np.quantile(ratios, [0.025, 0.975])
    assert interval(above.tolist(), below.tolist(), groups) == pytest.approx(expected, abs=0.01)


def test_the_width_is_that_of_the_standard_error() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.1, 400)
    low, high = interval(values.tolist(), [1.0] * 400, range(400))
    error = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - error, values.mean() + error), abs=1e-3)


def test_rows_of_one_scene_count_as_one() -> None:
    values, scenes = [0.0, 1.0] * 20, list(range(40))
    alone = interval(values, [1.0] * 40, scenes)
    fourfold = interval(values * 4, [1.0] * 160, scenes * 4)
    assert fourfold == pytest.approx(alone)


def test_nothing_and_a_wrong_length() -> None:
    assert interval([], [], []) == (0.0, 0.0)
    with pytest.raises(ValueError, match="2 numerators, 1 denominators"):
        interval([1.0, 2.0], [1.0], ["a"])
