"""Gain and cost of several wordings, measured."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np

from instructseg.prediction import Prediction
from recipes.consensus import COUNTS, drawn, measure

LEFT, RIGHT = (np.tile(np.arange(8) // 4 == side, (4, 1)) for side in (0, 1))


class Surer:
    """Finds the second object in several wordings alone."""

    def encode(self, image: np.ndarray) -> np.ndarray:
        return image

    def predict(self, image: np.ndarray, text: str, **options: Any) -> list[Prediction]:
        masks = [LEFT] if options["consensus"] == 1 else [LEFT, RIGHT]
        return [Prediction(mask, 0.9, 0.9, text) for mask in masks]


def test_rows_of_the_table() -> None:
    asked = [(np.zeros((4, 8, 3), np.uint8), [("both", np.stack([LEFT, RIGHT])), ("one", LEFT[None])])]
    rows = list(measure(Surer(), asked, 300))  # type: ignore[arg-type]
    assert [row.split(" | ")[:3] for row in rows] == [["1", "75.0", "50.0"], ["3", "75.0", "50.0"]]
    assert len(rows) == len(COUNTS) and all(row.endswith("| 2") for row in rows)
    assert list(measure(Surer(), asked, 1))[1].startswith("3 | 100.0 | 100.0")  # type: ignore[arg-type]


def test_drawn_questions_have_their_objects() -> None:
    for image, questions in islice(drawn("several"), 3):
        assert questions
        for text, truth in questions:
            assert text and truth.shape[1:] == image.shape[:2] and truth.any((1, 2)).all()
