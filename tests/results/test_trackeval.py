"""DAVIS and YouTube-VIS as trackeval reads and scores them (``pip install --no-deps trackeval==1.3.0``)."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from instructseg.evaluation.jf import score_pairs
from instructseg.results import FORMATS
from tests.results.scenes import LENGTH, PROMPTS, SIZE, masks, written

pytest.importorskip("trackeval", reason="trackeval is not installed: pip install --no-deps trackeval==1.3.0")
from trackeval import datasets, metrics

TRACKS = (("dog 1", 1), ("dog 2", 1), ("ball", 3))
"""Objects of the scene and their categories."""


def scored(data: Any, metric: Any, tracker: str, kind: str) -> Any:
    """The result of a metric on the video ``clip``, and what was read of it."""
    read = data.get_raw_seq_data(tracker, "clip")
    return metric.eval_sequence(data.get_preprocessed_seq_data(read, kind)), read


def runs(mask: np.ndarray) -> dict[str, Any] | None:
    """Run lengths column by column as YouTube-VIS has them in its annotations, not compressed."""
    if not mask.any():
        return None
    flat = [False, *mask.ravel(order="F").tolist()]  # the first run is of the background
    counts = [len(list(some)) for _, some in groupby(flat)]
    return {"size": list(mask.shape), "counts": [counts[0] - 1, *counts[1:]]}


def annotations(folder: Path, shift: int) -> None:
    """The truth in the format of YouTube-VIS, moved to the right by ``shift`` pixels."""
    rows = []
    for number, (name, category) in enumerate(TRACKS, 1):
        seen = [np.roll(masks(index)[name], shift, axis=1) for index in range(LENGTH)]
        rows.append({
            "id": number, "video_id": 1, "category_id": category, "iscrowd": 0,
            "height": SIZE[0], "width": SIZE[1],
            "segmentations": [runs(mask) for mask in seen], "areas": [int(mask.sum()) or None for mask in seen],
        })  # fmt: skip
    video = {"id": 1, "file_names": [f"clip/{index:05d}.jpg" for index in range(LENGTH)]}
    classes = [{"id": number, "name": name} for number, name in enumerate(PROMPTS, 1)]
    folder.mkdir(parents=True)
    content = {"videos": [video], "annotations": rows, "categories": classes}
    (folder / "instances.json").write_text(json.dumps(content))


@pytest.mark.parametrize(("shift", "precision"), [(0, 1.0), (30, 0.0)])
def test_youtube_vis(tmp_path: Path, shift: int, precision: float) -> None:
    content = json.loads(written("ytvis", tmp_path, video=True, item="clip").read_text())
    annotations(tmp_path / "truth/youtube_vis_val", shift)
    results = tmp_path / "found/youtube_vis_val/mine/data"
    results.mkdir(parents=True)
    (results / "results.json").write_text(json.dumps(content["annotations"]))
    data = datasets.YouTubeVIS({
        "GT_FOLDER": f"{tmp_path}/truth/", "TRACKERS_FOLDER": f"{tmp_path}/found/", "SPLIT_TO_EVAL": "val",
        "PRINT_CONFIG": False,
    })  # fmt: skip
    assert data.seq_list == ["clip"] and data.class_list == list(PROMPTS)
    metric = metrics.TrackMAP({"PRINT_CONFIG": False, "USE_AREA_RANGES": False, "USE_TIME_RANGES": False})
    for kind in ("the dog", "the ball"):
        found, read = scored(data, metric, "mine", kind)
        whole = metric.combine_sequences({"clip": found})
        assert whole["AP_all"].mean() == pytest.approx(precision, abs=1e-6)
    for index, (dets, scores) in enumerate(zip(read["tracker_dets"], read["tracker_confidences"], strict=True)):
        wanted = [masks(index)[name] for name, _ in TRACKS if masks(index)[name].any()]
        assert np.array_equal([coco_mask.decode(one) for one in dets], wanted)
        assert sorted(scores, reverse=True) == scores.tolist() and len(scores) == len(wanted)


@pytest.mark.parametrize("shift", [0, 4])
def test_davis(tmp_path: Path, shift: int) -> None:
    pytest.importorskip("skimage", reason="J&F of trackeval need scikit-image")
    target = written("davis", tmp_path / "found", video=True, item="clip")
    listed = tmp_path / "found/DAVIS/ImageSets/2017/val.txt"
    FORMATS["davis"].gather(listed, {"clip": target}, PROMPTS)
    drawn = np.stack([visible(index) for index in range(LENGTH)])
    truth, folder = np.roll(drawn, shift, axis=2), tmp_path / "truth/clip"
    folder.mkdir(parents=True)
    for index, ids in enumerate(truth):
        Image.fromarray(ids).save(folder / f"{index:05d}.png")
    data = datasets.DAVIS({
        "GT_FOLDER": str(folder.parent), "TRACKERS_FOLDER": str(tmp_path / "found/DAVIS"),
        "TRACKERS_TO_EVAL": ["Annotations"], "TRACKER_SUB_FOLDER": "Full-Resolution",
        "SEQMAP_FILE": str(listed), "PRINT_CONFIG": False,
    })  # fmt: skip
    read = data.get_raw_seq_data("Annotations", "clip")
    assert [ids.tolist() for ids in read["tracker_ids"]] == [[1, 3]] * 2 + [[1, 2, 3]] * 3
    found, _ = scored(data, metrics.JAndF(), "Annotations", "general")
    # and the figures of this package are theirs
    region, boundary = score_pairs(drawn, truth, [(number, number) for number in (1, 2, 3)])
    assert found["J-Mean"] == pytest.approx(region.mean()) and found["F-Mean"] == pytest.approx(boundary.mean())
    assert (found["J&F"] == pytest.approx(1)) == (shift == 0)


def visible(index: int) -> np.ndarray:
    """The id of the object at each pixel, of several that of the highest score."""
    seen = masks(index)
    return np.select([seen["dog 1"], seen["dog 2"], seen["ball"]], [1, 2, 3]).astype(np.uint8)
