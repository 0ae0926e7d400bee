"""Predictions as JSON: run lengths and outlines give the mask again."""

from __future__ import annotations

import json
from itertools import pairwise

import cv2
import numpy as np

from instructseg.masks import rle_to_mask
from instructseg.prediction import Prediction
from instructseg.serve.bodies import SegmentBody, results_of


def test_a_mask_survives() -> None:
    mask = np.zeros((20, 30), bool)
    mask[3:9, 5:17] = mask[12:18, 20:25] = True
    found = [
        Prediction(mask, 0.5, 0.75, "the red circle", id=1),
        Prediction(~mask & mask, 0.1, 0.0, "none", id=2),
    ]
    text = SegmentBody(width=30, height=20, results=results_of(found, polygons=True)).model_dump_json()
    first, second = json.loads(text)["results"]
    np.testing.assert_array_equal(rle_to_mask(first["rle"]), mask)
    assert first["box"] == [5, 3, 25, 18] and first["area"] == mask.sum()
    filled = np.zeros((20, 30), np.uint8)
    for outline in first["polygons"]:
        for (x, y), (u, v) in pairwise([*outline, outline[0]]):
            assert x == u or y == v  # along the edges of pixels
        left, top, width, height = cv2.boundingRect(np.array(outline, np.int32))
        filled[top : top + height - 1, left : left + width - 1] = 1
    np.testing.assert_array_equal(filled, mask)
    assert not second["found"] and second["box"] is None and second["polygons"] == []


def test_words_have_no_mask() -> None:
    (result,) = results_of([Prediction(np.zeros((4, 4), bool), 0.0, 0.0, "how many?", text="two")])
    assert result.text == "two" and result.rle is None and not result.found
    assert results_of([Prediction(np.ones((4, 4), bool), 0.0, 0.0, "x")])[0].polygons is None
