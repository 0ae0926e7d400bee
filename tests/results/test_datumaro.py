"""COCO, COCO panoptic, CVAT and Pascal VOC as datumaro reads them (``pip install datumaro``)."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.results.scenes import LENGTH, SIZE, frame, masks, written

datumaro = pytest.importorskip("datumaro", reason="datumaro is not installed: pip install datumaro")

FOUND = (("the dog", "dog 1"), ("the dog", "dog 2"), ("the ball", "ball"))


def read(folder: Path, kind: str) -> dict[str, Any]:
    """Items by name."""
    return {item.id: item for item in datumaro.Dataset.import_from(str(folder), kind)}


def labels(folder: Path, kind: str) -> list[str]:
    """Names of its classes, in order."""
    found = datumaro.Dataset.import_from(str(folder), kind).categories()[datumaro.AnnotationType.label]
    return [one.name for one in found]


def with_image(folder: Path) -> None:
    """The image in a folder ``images``, without which datumaro reads no annotations."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    Image.fromarray(frame()).save(folder / "images" / "photo.png")


def shapes(item: Any, names: Sequence[str], kinds: tuple[str, ...]) -> list[tuple[str, np.ndarray]]:
    """Label and mask ``bool[H, W]`` of each annotation of some kinds."""
    found = []
    for one in item.annotations:
        if one.type.name not in kinds:
            continue
        if one.type.name == "polygon":
            image = Image.new("1", SIZE[::-1])
            ImageDraw.Draw(image).polygon(list(map(float, one.points)), fill=1, outline=1)
            mask = np.array(image)
        else:
            mask = np.asarray(one.image).astype(bool)
        found.append((names[one.label], mask))
    return found


def near(mask: np.ndarray, wanted: np.ndarray) -> bool:
    return bool((mask & wanted).sum() > 0.8 * (mask | wanted).sum())


def visible(index: int = 4) -> dict[str, np.ndarray]:
    """What is left of each object where the higher score has the pixel."""
    seen = masks(index)
    return {**seen, "ball": seen["ball"] & ~seen["dog 1"] & ~seen["dog 2"]}


def test_coco(tmp_path: Path) -> None:
    target = written("coco", tmp_path)
    folder = tmp_path / "set"
    (folder / "annotations").mkdir(parents=True)
    shutil.copy(target, folder / "annotations" / "instances_default.json")
    with_image(folder)
    names = labels(folder, "coco_instances")
    (item,) = read(folder, "coco_instances").values()
    assert names == ["the dog", "the cat", "the ball"] and item.id == "photo"
    polygons = shapes(item, names, ("polygon",))
    assert [label for label, _ in polygons] == ["the dog", "the dog"]
    for _, name in FOUND[:2]:
        assert sum(near(mask, masks(4)[name]) for _, mask in polygons) == 1
    ((label, mask),) = shapes(item, names, ("mask",))  # the ball has a hole
    assert label == "the ball" and np.array_equal(mask, masks(4)["ball"])


@pytest.mark.parametrize("video", [False, True])
def test_coco_panoptic(tmp_path: Path, video: bool) -> None:
    target = written("panoptic", tmp_path, video=video)
    folder = tmp_path / "set" / "annotations"
    images = folder / "panoptic_default"
    images.mkdir(parents=True)
    shutil.copy(target, folder / "panoptic_default.json")
    with_image(folder.parent)
    if video:
        shutil.copytree(target.with_suffix(""), images / target.stem)
    else:
        shutil.copy(target.with_suffix(".png"), images)
    names = labels(folder.parent, "coco_panoptic")
    items = [item for _, item in sorted(read(folder.parent, "coco_panoptic").items())]
    assert len(items) == (LENGTH if video else 1)
    for index, item in enumerate(items):
        wanted = visible(index if video else 4)
        found = shapes(item, names, ("mask",))
        truth = [(label, wanted[name]) for label, name in FOUND if wanted[name].any()]
        assert [label for label, _ in found] == [label for label, _ in truth]
        for (_, mask), (_, true) in zip(found, truth, strict=True):
            assert np.array_equal(mask, true)


def test_cvat_masks(tmp_path: Path) -> None:
    target = written("cvat", tmp_path)
    with_image(tmp_path)
    names = labels(target, "cvat")
    (item,) = read(target, "cvat").values()
    found = shapes(item, names, ("mask",))
    assert item.id == "photo" and names == ["the dog", "the cat", "the ball"]
    assert [label for label, _ in found] == [label for label, _ in FOUND]
    for (_, mask), (_, name) in zip(found, FOUND, strict=True):
        assert np.array_equal(mask, masks(4)[name])


def test_cvat_tracks(tmp_path: Path) -> None:
    target = written("cvat", tmp_path, video=True)
    names = labels(target, "cvat")
    items = read(target, "cvat")
    assert len(items) == LENGTH
    for index, item in enumerate(sorted(items.values(), key=lambda one: one.attributes["frame"])):
        shown = [one for one in item.annotations if not one.attributes["outside"]]
        tracks = {one.attributes["track_id"]: one for one in shown}
        assert tracks.keys() == ({0, 2} if index < 2 else {0, 1, 2})
        for track, (label, name) in enumerate(FOUND):
            if track in tracks:
                ((read_label, mask),) = shapes(item.wrap(annotations=[tracks[track]]), names, ("polygon",))
                assert read_label == label and near(mask, masks(index)[name])


def test_pascal_voc(tmp_path: Path) -> None:
    folder = written("voc", tmp_path).parents[1]
    Image.fromarray(frame()).save(tmp_path / "photo.png")
    (folder / "ImageSets" / "Segmentation").mkdir(parents=True)
    (folder / "ImageSets" / "Segmentation" / "val.txt").write_text("photo\n")
    (item,) = read(folder, "voc_segmentation").values()
    wanted = visible()
    found = {
        one.group: np.asarray(one.image).astype(bool) for one in item.annotations if one.type.name == "mask"
    }
    assert found.keys() == {1, 2, 3, 255}  # for datumaro, outlines are one more object
    for number, (_, name) in enumerate(FOUND, 1):
        # 255 along outlines counts for neither side
        assert not (found[number] & ~wanted[name]).any() and found[number].any()
