"""Run lengths, tables and arrays, read with pycocotools, csv and NumPy."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from instructseg.results import FORMATS
from tests.results.scenes import FPS, LENGTH, PROMPTS, SIZE, TIMES, masks, written

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # of pycocotools

NAMES = {1: "dog 1", 2: "dog 2", 0: "cat", 3: "ball"}


@pytest.mark.parametrize("video", [False, True])
def test_run_lengths(tmp_path: Path, video: bool) -> None:
    content = json.loads(written("rle", tmp_path, video=video).read_text())
    assert content["instructions"] == list(PROMPTS)
    assert content.get("fps") == (FPS if video else None)
    assert [one.get("time") for one in content["frames"]] == (list(TIMES) if video else [None])
    for entry in content["frames"]:
        for one in entry["predictions"]:
            mask = masks(entry["index"] if video else 4)[NAMES[one["id"]]]
            assert (coco_mask.decode(one["rle"]).astype(bool) == mask).all()
            assert one["found"] == mask.any() and (one["box"] is None) == (not mask.any())
        assert [one["label"] for one in entry["predictions"]][-2:] == ["the cat", "the ball"]


def test_a_table_of_boxes_and_tracks(tmp_path: Path) -> None:
    target = written("csv", tmp_path, video=True, item="clip")
    with target.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 3 + 3 * 4
    for row in rows:
        mask = masks(int(row["frame"]))[NAMES[int(row["id"] or 0)]]
        assert float(row["time"]) == TIMES[int(row["frame"])] and float(row["fps"]) == FPS
        assert int(row["area"]) == mask.sum() and bool(int(row["found"])) == mask.any()
        if not mask.any():
            assert row["label"] == "the cat" and row["left"] == row["height"] == ""
            continue
        ys, xs = np.nonzero(mask)
        box = [int(row[key]) for key in ("left", "top", "width", "height")]
        assert box == [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
    FORMATS["csv"].gather(tmp_path / "boxes.csv", {"a": target, "b": target}, PROMPTS)
    with (tmp_path / "boxes.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == rows + rows


@pytest.mark.parametrize("soft", [False, True])
def test_arrays(tmp_path: Path, soft: bool) -> None:
    arrays = np.load(written("numpy", tmp_path, video=True, soft=soft), allow_pickle=False)
    values = arrays["probabilities" if soft else "masks"]
    assert values.shape == (18, *SIZE) and values.dtype == (np.float32 if soft else np.bool_)
    assert arrays["times"].tolist() == list(TIMES) and arrays["fps"] == FPS
    assert arrays["instructions"].tolist() == list(PROMPTS)
    for i, value in enumerate(values):
        mask = masks(int(arrays["frame"][i]))[NAMES[int(arrays["id"][i])]]
        assert (value == (0.75 * mask if soft else mask)).all()
        assert arrays["labels"][i] == PROMPTS[arrays["instruction"][i]]
    image = np.load(written("numpy", tmp_path / "image", soft=soft), allow_pickle=False)
    assert image["box"].shape == (4, 4) and "times" not in image and len(image["score"]) == 4
    assert LENGTH == 5
