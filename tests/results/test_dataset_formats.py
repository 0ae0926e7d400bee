"""DAVIS, YOLO and Pascal VOC, read with Pillow and supervision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from instructseg.results import FORMATS
from tests.results.scenes import LENGTH, PROMPTS, SIZE, TIMES, contents_hold, frame, masks, written

FOUND = ("dog 1", "dog 2", "ball")


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.mode == "P"
        return np.array(image)


def objects(index: int) -> np.ndarray:
    seen = masks(index)
    dogs = np.where(seen["dog 1"], 1, np.where(seen["dog 2"], 2, 0))
    return np.where(dogs > 0, dogs, 3 * seen["ball"])


def test_davis_has_an_object_per_colour(tmp_path: Path) -> None:
    target = written("davis", tmp_path, video=True, item="clip")
    assert target == tmp_path / "DAVIS/Annotations/Full-Resolution/clip"
    assert sorted(path.name for path in target.iterdir()) == [f"{i:05d}.png" for i in range(LENGTH)]
    assert all((read(target / f"{i:05d}.png") == objects(i)).all() for i in range(LENGTH))
    assert (
        (tmp_path / "DAVIS/Times/Full-Resolution/clip.csv")
        .read_text()
        .splitlines()[-1]
        .endswith(f"{TIMES[-1]},12.5")
    )
    FORMATS["davis"].gather(tmp_path / "DAVIS/ImageSets/2017/val.txt", {"clip": target}, PROMPTS)
    assert (tmp_path / "DAVIS/ImageSets/2017/val.txt").read_text() == "clip\n"


def test_supervision_reads_yolo(tmp_path: Path) -> None:
    supervision = pytest.importorskip("supervision")
    target = written("yolo", tmp_path)
    FORMATS["yolo"].gather(tmp_path / "yolo/data.yaml", {"photo": target}, PROMPTS)
    (tmp_path / "yolo/images").mkdir()
    Image.fromarray(frame()).save(tmp_path / "yolo/images/photo.png")
    place = tmp_path / "yolo"
    dataset = supervision.DetectionDataset.from_yolo(
        str(place / "images"), str(place / "labels"), str(place / "data.yaml"), force_masks=True
    )
    assert dataset.classes == list(PROMPTS)
    ((_, _, found),) = list(dataset)
    assert found.class_id.tolist() == [0, 0, 2]
    for mask, name in zip(found.mask, FOUND, strict=True):
        wanted = masks(4)[name]
        assert (mask & wanted).sum() > 0.8 * (mask | wanted).sum()
    assert contents_hold("yolo", tmp_path / "none", video=False)


def test_supervision_reads_yolo_of_a_video(tmp_path: Path) -> None:
    supervision = pytest.importorskip("supervision")
    target = written("yolo", tmp_path, video=True, item="clip")
    place = tmp_path / "yolo"
    FORMATS["yolo"].gather(place / "data.yaml", {"clip": target}, PROMPTS)
    (place / "images/clip").mkdir(parents=True)
    for index in range(LENGTH):
        Image.fromarray(frame(index)).save(place / f"images/clip/{index:05d}.png")
    dataset = supervision.DetectionDataset.from_yolo(
        str(place / "images/clip"), str(target), str(place / "data.yaml"), force_masks=True
    )
    assert len(dataset) == LENGTH
    for path, _, found in dataset:
        seen = masks(int(Path(path).stem))
        names = [name for name in FOUND if seen[name].any()]
        assert found.class_id.tolist() == [2 if name == "ball" else 0 for name in names]
        for mask, name in zip(found.mask, names, strict=True):
            assert (mask & seen[name]).sum() > 0.8 * (mask | seen[name]).sum()


def test_yolo_of_a_video(tmp_path: Path) -> None:
    target = written("yolo", tmp_path, video=True, item="clip")
    assert len((target / "00000.txt").read_text().splitlines()) == 2
    assert len((target / "00004.txt").read_text().splitlines()) == 3
    assert (tmp_path / "yolo/Times/clip.csv").is_file()
    assert contents_hold("yolo", tmp_path, video=True, item="clip")


def test_supervision_reads_pascal_voc(tmp_path: Path) -> None:
    supervision = pytest.importorskip("supervision")
    target = written("voc", tmp_path)
    (tmp_path / "VOC/JPEGImages").mkdir()
    Image.fromarray(frame()).save(tmp_path / "VOC/JPEGImages/photo.png")
    read_back = supervision.DetectionDataset.from_pascal_voc(
        str(tmp_path / "VOC/JPEGImages"), str(target.parent)
    )
    ((_, _, found),) = list(read_back)
    assert [read_back.classes[number] for number in found.class_id] == ["the dog", "the dog", "the ball"]
    for box, name in zip(found.xyxy, FOUND, strict=True):
        rows, columns = np.nonzero(masks(4)[name])
        wanted = [columns.min(), rows.min(), columns.max(), rows.max()]
        assert np.abs(box - wanted).max() <= 1
    for kind, values in (("SegmentationObject", {0, 1, 2, 3, 255}), ("SegmentationClass", {0, 1, 3, 255})):
        ids = read(tmp_path / "VOC" / kind / "photo.png")
        assert set(np.unique(ids)) == values
        kept = ids != 255
        wanted = objects(4) if kind == "SegmentationObject" else np.array([0, 1, 1, 3])[objects(4)]
        assert (ids == wanted)[kept].all() and kept.mean() > 0.7
    assert ids.shape == SIZE


def test_pascal_voc_of_a_video(tmp_path: Path) -> None:
    target = written("voc", tmp_path, video=True, item="clip")
    assert "<time>2.200000</time>" in (target / "00002.xml").read_text()
    assert contents_hold("voc", tmp_path, video=True, item="clip")
    FORMATS["voc"].gather(tmp_path / "VOC/ImageSets/Segmentation/val.txt", {"clip": target}, PROMPTS)
    lines = (tmp_path / "VOC/ImageSets/Segmentation/val.txt").read_text().splitlines()
    assert lines == [f"clip/{i:05d}" for i in range(LENGTH)]
