"""COCO's formats, read with pycocotools, supervision and the readers of this package."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from transformers.image_transforms import rgb_to_id

from instructseg.results import FORMATS
from tests.results.scenes import FPS, LENGTH, PROMPTS, SIZE, TIMES, contents_hold, frame, masks, written

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # of pycocotools


def test_pycocotools_reads_instances_exactly(tmp_path: Path) -> None:
    coco = COCO(str(written("coco", tmp_path)))
    assert [one["name"] for one in coco.loadCats(coco.getCatIds())] == list(PROMPTS)
    ((image,),) = (coco.loadImgs(coco.getImgIds()),)
    assert image["not_found"] == ["the cat"] and (image["height"], image["width"]) == SIZE
    assert image["file_name"] == "photo.png"
    found = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
    assert [one["category_id"] for one in found] == [1, 1, 3]
    assert [type(one["segmentation"]) for one in found] == [list, list, dict]  # the ball has a hole
    for one, name in zip(found, ("dog 1", "dog 2", "ball"), strict=True):
        mask = masks(4)[name]
        assert (coco.annToMask(one) == mask).all() and one["area"] == mask.sum()
        rows, columns = np.nonzero(mask)
        assert one["bbox"] == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]


def test_instances_of_a_video_have_times_and_tracks(tmp_path: Path) -> None:
    coco = COCO(str(written("coco", tmp_path, video=True, item="clip")))
    images = coco.loadImgs(coco.getImgIds())
    assert [one["time"] for one in images] == list(TIMES) and coco.dataset["info"]["fps"] == FPS
    assert [one["file_name"] for one in images] == [f"clip/{i:05d}.png" for i in range(LENGTH)]
    tracks = [one["track_id"] for one in coco.loadAnns(coco.getAnnIds(imgIds=images[3]["id"]))]
    assert tracks == [1, 2, 3]


def test_supervision_reads_gathered_instances(tmp_path: Path) -> None:
    supervision = pytest.importorskip("supervision")
    parts = {name: written("coco", tmp_path, item=name) for name in ("a", "b")}
    FORMATS["coco"].gather(tmp_path / "coco.json", parts, PROMPTS)
    for name in parts:
        Image.fromarray(frame()).save(tmp_path / f"{name}.png")
    read = supervision.DetectionDataset.from_coco(str(tmp_path), str(tmp_path / "coco.json"), force_masks=True)
    assert read.classes == list(PROMPTS) and len(read) == 2
    for _, image, found in read:
        assert image.shape == (*SIZE, 3) and found.class_id.tolist() == [0, 0, 2]
        for mask, name in zip(found.mask, ("dog 1", "dog 2", "ball"), strict=True):
            wanted = masks(4)[name]
            assert (mask & wanted).sum() > 0.85 * (mask | wanted).sum()  # it draws polygons with their border


def test_gathered_files_count_anew_and_join_categories(tmp_path: Path) -> None:
    first, second = written("coco", tmp_path, item="a"), written("coco", tmp_path, item="b")
    content = json.loads(second.read_text())
    content["categories"][0]["name"] = "a wolf"
    second.write_text(json.dumps(content))
    FORMATS["coco"].gather(tmp_path / "coco.json", {"a": first, "b": second}, PROMPTS)
    coco = COCO(str(tmp_path / "coco.json"))
    assert coco.getImgIds() == [1, 2] and coco.getAnnIds() == [1, 2, 3, 4, 5, 6]
    names = {one["id"]: one["name"] for one in coco.loadCats(coco.getCatIds())}
    assert list(names.values()) == [*PROMPTS, "a wolf"]
    found = [names[one["category_id"]] for one in coco.loadAnns(coco.getAnnIds(imgIds=2))]
    assert found == ["a wolf", "a wolf", "the ball"]


@pytest.mark.parametrize("video", [False, True])
def test_panoptic_colours_are_ids(tmp_path: Path, video: bool) -> None:
    target = written("panoptic", tmp_path, video=video, item="x")
    content = json.loads(target.read_text())
    assert len(content["annotations"]) == (LENGTH if video else 1)
    for index, entry in enumerate(content["annotations"]):
        with Image.open(tmp_path / entry["file_name"]) as image:
            ids = rgb_to_id(np.array(image))
        seen = masks(index if video else 4)
        dogs = np.where(seen["dog 1"], 1, np.where(seen["dog 2"], 2, 0))
        assert (ids == np.where(dogs > 0, dogs, 3 * seen["ball"])).all()
        for segment in entry["segments_info"]:
            assert segment["area"] == (ids == segment["id"]).sum() > 0
            assert (
                PROMPTS[segment["category_id"] - 1]
                == {1: "the dog", 2: "the dog", 3: "the ball"}[segment["id"]]
            )
    assert contents_hold("panoptic", tmp_path, video=video, item="x")
    FORMATS["panoptic"].gather(tmp_path / "panoptic.json", {"x": target, "y": target}, PROMPTS)
    both = json.loads((tmp_path / "panoptic.json").read_text())
    assert len(both["images"]) == 2 * len(content["images"])
    assert (tmp_path / both["annotations"][-1]["file_name"]).is_file()


def test_youtube_vis(tmp_path: Path) -> None:
    target = written("ytvis", tmp_path, video=True, item="clip")
    content = json.loads(target.read_text())
    (video,) = content["videos"]
    assert video["times"] == list(TIMES) and video["fps"] == FPS and video["length"] == LENGTH
    assert [row["category_id"] for row in content["annotations"]] == [1, 1, 3]
    for row, name in zip(content["annotations"], ("dog 1", "dog 2", "ball"), strict=True):
        for index, rle in enumerate(row["segmentations"]):
            mask = masks(index)[name]
            assert (rle is None) == (not mask.any())
            if rle is not None:
                assert (coco_mask.decode(rle).astype(bool) == mask).all() and row["areas"][index] == mask.sum()
    FORMATS["ytvis"].gather(tmp_path / "ytvis.json", {"a": target, "b": target}, PROMPTS)
    both = json.loads((tmp_path / "ytvis.json").read_text())
    assert [row["video_id"] for row in both["annotations"]] == [1, 1, 1, 2, 2, 2]
