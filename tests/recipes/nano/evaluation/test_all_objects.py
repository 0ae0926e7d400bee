from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from instructseg.prediction import Prediction
from recipes.nano.evaluation.all_objects import Answer, asked, average_precision, figures, matched
from recipes.nano.scenes.scenes import SceneConfig, draw_scene

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # of pycocotools


def mask(columns: slice) -> np.ndarray:
    found = np.zeros((4, 12), bool)
    found[:, columns] = True
    return found


LEFT, RIGHT = mask(slice(0, 4)), mask(slice(8, 12))
TRUTH = np.stack([LEFT, RIGHT])


def answer(*found: tuple[np.ndarray, float]) -> Answer:
    some = [Prediction(one, score, 1) for one, score in found]
    return Answer(some, TRUTH, matched(some, TRUTH))


def test_an_object_is_found_once() -> None:
    assert answer((LEFT, 0.9), (LEFT, 0.8), (mask(slice(7, 12)), 0.7), (mask(slice(4, 8)), 0.6)).right == [
        True, False, True, False,
    ]  # fmt: skip
    assert matched([], TRUTH) == []


def test_figures_of_known_answers() -> None:
    both, one = answer((LEFT, 0.9), (RIGHT, 0.6)), answer((LEFT, 0.8), (mask(slice(4, 8)), 0.7))
    row = figures([both, one], 0.5)
    assert (row["precision"], row["recall"], row["F1"], row["exact"]) == (0.75, 0.75, 0.75, 0.5)
    assert row["gIoU"] == pytest.approx((1 + 16 / 48) / 2)
    assert figures([both], 0.7)["recall"] == 0.5
    assert figures([both], 0.95)["precision"] == 1  # the best one remains
    assert row["AP50"] == pytest.approx(average_precision([both, one]))
    assert average_precision([both]) == pytest.approx(1)
    assert average_precision([answer((LEFT, 0.9))]) == pytest.approx(51 / 101)  # recall reaches a half


def test_instructions_have_two_objects_or_more() -> None:
    config = SceneConfig(objects=(4, 5), related=1.0)
    for seed in range(10):
        scene = draw_scene(np.random.default_rng(seed), config)
        for text, fitting in asked(scene).items():
            assert len(fitting) > 1 and len(set(fitting)) == len(fitting)
            for i, one in enumerate(scene.objects):
                words = text.split()
                fits = all(
                    word in (one.shape, one.shape + "s", one.colour, "all", "the", "everything")
                    for word in words
                )
                small = scene.area(i, 0) < 20 or scene.visibility[0, i] <= 0.5
                assert (i in fitting) == (fits and not small)
    hidden = replace(scene, visibility=np.zeros_like(scene.visibility))
    assert asked(hidden) == {}
