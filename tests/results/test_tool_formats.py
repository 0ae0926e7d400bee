"""LabelMe, CVAT and GeoJSON, read with LabelMe, supervision, shapely, and by CVAT's own rules."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, ImageDraw

from instructseg.results import FORMATS, ResultInfo, ResultPaths, ResultWriter
from tests.results.scenes import (
    FPS,
    LENGTH,
    PROMPTS,
    SIZE,
    TIMES,
    contents_hold,
    frame,
    masks,
    result,
    written,
)

FOUND = ("dog 1", "dog 2", "ball")


def drawn(points: list[list[float]]) -> np.ndarray:
    """As LabelMe draws a polygon."""
    image = Image.new("1", SIZE[::-1])
    ImageDraw.Draw(image).polygon([tuple(point) for point in points], fill=1, outline=1)
    return np.array(image)


def near(mask: np.ndarray, name: str, index: int = 4, least: float = 0.8) -> bool:
    wanted = masks(index)[name]
    return bool((mask & wanted).sum() > least * (mask | wanted).sum())


def test_labelme(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    source = tmp_path / "in/photo.png"
    Image.fromarray(frame()).save(source)
    target = written("labelme", tmp_path / "out", path=source)
    content = json.loads(target.read_text())
    assert (target.parent / content["imagePath"]).resolve() == source.resolve()
    assert content["flags"] == {"not found: the cat": True}
    assert [shape["group_id"] for shape in content["shapes"]] == [1, 2, 3]
    assert all(near(drawn(shape["points"]), name) for shape, name in zip(content["shapes"], FOUND, strict=True))
    needed = {"version", "flags", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth"}
    assert needed <= set(content) and set(content["shapes"][0]) >= {"label", "points", "shape_type", "flags"}


def test_supervision_reads_labelme(tmp_path: Path) -> None:
    supervision = pytest.importorskip("supervision")
    source = tmp_path / "photo.png"
    Image.fromarray(frame()).save(source)
    target = written("labelme", tmp_path, path=source)
    read = supervision.DetectionDataset.from_labelme(str(tmp_path), str(target.parent), force_masks=True)
    ((_, _, found),) = list(read)
    assert [read.classes[number] for number in found.class_id] == ["the dog", "the dog", "the ball"]
    assert all(near(mask, name) for mask, name in zip(found.mask, FOUND, strict=True))


def test_labelme_itself_reads_its_files(tmp_path: Path) -> None:
    labelme = pytest.importorskip("labelme._label_file", reason="labelme is not installed: pip install labelme")
    source = tmp_path / "photo.png"
    Image.fromarray(frame()).save(source)
    read = labelme.read_label_file(str(written("labelme", tmp_path / "out", path=source)))
    assert read.flags == {"not found: the cat": True} and [one["group_id"] for one in read.shapes] == [1, 2, 3]
    assert all(near(drawn(one["points"]), name) for one, name in zip(read.shapes, FOUND, strict=True))
    clip, _ = (written(name, tmp_path, video=True, item="clip") for name in ("labelme", "frames"))
    for index in range(LENGTH):  # each with its image, of the size that it says
        read = labelme.read_label_file(str(clip / f"{index:05d}.json"))
        assert len(read.shapes) == (2 if index < 2 else 3) and read.other_data["fps"] == FPS


def test_labelme_of_a_video(tmp_path: Path) -> None:
    names = tuple(f"f{i}.jpg" for i in range(LENGTH))
    target = written("labelme", tmp_path, video=True, item="clip", path=tmp_path / "clip", frame_names=names)
    content = json.loads((target / "f2.json").read_text())
    assert content["imagePath"] == "../../clip/f2.jpg" and content["time"] == TIMES[2] and content["fps"] == FPS
    assert contents_hold(
        "labelme", tmp_path, video=True, item="clip", stems=tuple(f"f{i}" for i in range(LENGTH))
    )


@pytest.mark.parametrize("item", ["clip", "day 1/clip"])
def test_labelme_finds_the_written_frames_of_a_video(
    tmp_path: Path, item: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    target, frames = (written(name, tmp_path, video=True, item=item) for name in ("labelme", "frames"))
    for index in range(LENGTH):
        content = json.loads((target / f"{index:05d}.json").read_text())
        image = (target / content["imagePath"]).resolve()
        assert image == (frames / f"{index:05d}.png").resolve() and image.is_file()
    with ResultWriter(ResultPaths({"labelme": Path("one.json")}), ResultInfo(PROMPTS, name="photo")) as writer:
        writer.write(result(0, False))
    assert json.loads(Path("one.json").read_text())["imagePath"] == "photo.png"
    target, image = written("labelme", tmp_path), written("frames", tmp_path)  # of an image without a file
    assert (target.parent / json.loads(target.read_text())["imagePath"]).resolve() == image.resolve()


def cvat_mask(element: ElementTree.Element) -> np.ndarray:
    """As CVAT decodes a mask: run lengths by rows of its box, background first."""
    left, top, width, height = (int(element.get(key, "")) for key in ("left", "top", "width", "height"))
    runs = [int(value) for value in element.get("rle", "").split(",")]
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    mask = np.zeros(SIZE, bool)
    mask[top : top + height, left : left + width] = values
    return mask


def test_cvat_masks_are_exact(tmp_path: Path) -> None:
    root = ElementTree.parse(written("cvat", tmp_path)).getroot()
    (image,) = root.findall("image")
    assert (image.get("name"), image.get("height"), image.get("width")) == ("photo.png", "48", "65")
    found = image.findall("mask")
    assert [one.get("label") for one in found] == ["the dog", "the dog", "the ball"]
    assert all((cvat_mask(one) == masks(4)[name]).all() for one, name in zip(found, FOUND, strict=True))
    parts = {name: written("cvat", tmp_path, item=name) for name in ("a", "b")}
    FORMATS["cvat"].gather(tmp_path / "cvat.xml", parts, PROMPTS)
    whole = ElementTree.parse(tmp_path / "cvat.xml").getroot()
    assert [(one.get("id"), one.get("name")) for one in whole.findall("image")] == [
        ("0", "a.png"),
        ("1", "b.png"),
    ]
    assert [one.text for one in whole.iterfind("meta/task/labels/label/name")] == list(PROMPTS)


def test_cvat_tracks(tmp_path: Path) -> None:
    root = ElementTree.parse(written("cvat", tmp_path, video=True)).getroot()
    tracks = {track.get("id"): track for track in root.findall("track")}
    assert list(tracks) == ["0", "2", "1"] and tracks["1"].get("label") == "the dog"
    shown = [(one.get("frame"), one.get("outside")) for one in tracks["1"].findall("polygon")]
    assert shown == [("2", "0"), ("3", "0"), ("4", "0")]
    for one in tracks["2"].findall("polygon"):
        points = [[float(value) for value in pair.split(",")] for pair in one.get("points", "").split(";")]
        assert near(drawn(points), "ball", int(one.get("frame", "")))
    assert root.findtext("meta/task/fps") == str(FPS) and root.findtext("meta/task/size") == str(LENGTH)


@pytest.mark.parametrize("video", [False, True])
def test_shapely_reads_geojson(tmp_path: Path, video: bool) -> None:
    shapely = pytest.importorskip("shapely")
    content = json.loads(written("geojson", tmp_path, video=video).read_text())
    assert content["type"] == "FeatureCollection" and content.get("fps") == (FPS if video else None)
    for feature in content["features"]:
        values = feature["properties"]
        if values["label"] == "the cat":
            assert feature["geometry"] is None and values["area"] == 0
            continue
        shape = shapely.from_geojson(json.dumps(feature["geometry"]))
        index = values["frame"] if video else 4
        mask = masks(index)[{1: "dog 1", 2: "dog 2", 3: "ball"}[values["id"]]]
        assert shape.is_valid and shape.area == mask.sum() == values["area"]
        rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
        assert (shapely.contains_xy(shape, columns, rows) == mask).all()
        assert all(
            part.exterior.is_ccw and not any(hole.is_ccw for hole in part.interiors) for part in shape.geoms
        )
        assert values.get("time") == (TIMES[index] if video else None)
