"""Instructions that mean several objects: what a user gets, and the figures of it."""

from __future__ import annotations

import numpy as np
import pytest

from instructseg.inference import ImagePredictor
from instructseg.prediction import Prediction
from recipes.nano.evaluation.all_objects import Answer, matched
from recipes.nano.evaluation.several import Asked, answered, figures

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # of pycocotools


def strip(*columns: int) -> np.ndarray:
    mask = np.zeros((4, 8), bool)
    mask[:, list(columns)] = True
    return mask


def asked(truth: list[np.ndarray], *found: np.ndarray) -> Asked:
    some = [Prediction(mask, 0.9, 0.9) for mask in found]
    stacked = np.array(truth, bool).reshape(-1, 4, 8)
    answer = Answer(some, stacked, matched(some, stacked))
    return Asked("scene", "all", answer, answer)


def test_figures_by_hand() -> None:
    rows = figures([
        asked([strip(0), strip(2)], strip(0), strip(2)),  # exact
        asked([strip(0), strip(2)], strip(0)),  # half of it
        asked([strip(0), strip(2)]),  # nothing
        asked([strip(0)], strip(0), strip(5)),  # one too many
    ])  # fmt: skip
    assert rows["T-acc"][0] == 0.75 and rows["exact"][0] == 0.25
    assert rows["gIoU"][0] == pytest.approx((1 + 0.5 + 0 + 0.5) / 4)
    assert all(low <= value <= high for value, low, high in rows.values())
    assert figures([asked([]), asked([], strip(1))]) == {"N-acc": (0.5, 0.5, 0.5)}


def test_the_bundled_model_is_asked_as_users_ask() -> None:
    predictor = ImagePredictor.from_pretrained("nano", "cpu")
    before = predictor.processor.config
    found = list(answered(predictor, "several", 12, "val", "seen"))
    assert len(found) >= 12 and predictor.processor.config == before
    assert all(len(one.user.truth) for one in found)
    assert all(len(one.every.found) >= len(one.user.found) for one in found)
    assert figures(found)["gIoU"][0] > 0.4
    assert figures(list(answered(predictor, "none", 8, "val", "unseen")))["N-acc"][0] > 0.8
