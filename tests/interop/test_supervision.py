"""Everything of the installed supervision that draws or writes ``Detections`` takes ours: none is left out."""

from __future__ import annotations

import csv
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instructseg.media import save_image
from instructseg.polygons import smallest_rectangle
from instructseg.prediction import Prediction, to_supervision

supervision = pytest.importorskip("supervision")

NAMES = ["the truck", "the road"]
IMAGE = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)


def masks() -> list[np.ndarray]:
    """A block with a hole, and a tilted square."""
    block = np.zeros(IMAGE.shape[:2], bool)
    block[20:60, 30:90] = True
    block[30:40, 40:50] = False
    y, x = np.mgrid[: IMAGE.shape[0], : IMAGE.shape[1]]
    return [block, np.abs(x - 125) + np.abs(y - 90) <= 20]


def found() -> list[Prediction]:
    return [
        Prediction(mask, 0.9 - place / 4, 0.8, NAMES[place], id=place + 1, instruction_id=place)
        for place, mask in enumerate(masks())
    ]


def annotators() -> list[str]:
    """Names of all classes that annotate by ``Detections``."""
    named = [(name, getattr(supervision, name)) for name in dir(supervision) if name.endswith("Annotator")]
    return [
        name
        for name, one in named
        if hasattr(one, "annotate") and "detections" in inspect.signature(one.annotate).parameters
    ]


@pytest.mark.parametrize("name", annotators())
def test_every_annotator_draws(name: str, tmp_path: Path) -> None:
    annotator, given = getattr(supervision, name)(), {}
    if "icon_path" in inspect.signature(annotator.annotate).parameters:
        save_image(tmp_path / "icon.png", np.full((8, 8, 3), 255, np.uint8))
        given = {"icon_path": str(tmp_path / "icon.png")}
    detections = to_supervision(found(), oriented=True)
    changed = annotator.annotate(IMAGE.copy(), detections, **given) != IMAGE
    if name == "TraceAnnotator":  # a line from frame to frame, by the ids
        assert not changed.any()
        moved = to_supervision([Prediction(np.roll(one.mask, 9, 1), 1, 1, id=one.id) for one in found()])
        changed = annotator.annotate(IMAGE.copy(), moved) != IMAGE
    assert changed.any()
    nothing = annotator.annotate(IMAGE.copy(), to_supervision([]), **given)
    assert nothing.shape == IMAGE.shape


def test_there_are_annotators_of_masks_boxes_and_labels() -> None:
    assert {"MaskAnnotator", "PolygonAnnotator", "BoxAnnotator", "LabelAnnotator", "TraceAnnotator"} <= set(
        annotators()
    )


def test_two_results_are_compared() -> None:
    one, other = (to_supervision([prediction]) for prediction in found())
    assert (supervision.ComparisonAnnotator().annotate(IMAGE.copy(), one, other) != IMAGE).any()


def test_colours_by_class_index_and_track_and_labels_by_name() -> None:
    detections = to_supervision(found())
    for lookup in supervision.ColorLookup:
        assert (
            supervision.MaskAnnotator(color_lookup=lookup).annotate(IMAGE.copy(), detections) != IMAGE
        ).any()
    named = supervision.LabelAnnotator().annotate(IMAGE.copy(), detections)
    told = supervision.LabelAnnotator().annotate(IMAGE.copy(), detections, labels=NAMES)
    np.testing.assert_array_equal(named, told)  # class_name is what it writes


def test_the_oriented_box_is_the_smallest() -> None:
    block, tilted = (smallest_rectangle(mask) for mask in masks())
    assert sorted(map(tuple, block.tolist())) == [(30, 20), (30, 60), (90, 20), (90, 60)]
    sides = np.linalg.norm(np.roll(tilted, 1, 0) - tilted, axis=1)
    assert tilted.shape == (4, 2) and tilted.dtype == np.float32
    assert sides.prod() ** 0.5 < 41**2 * 0.6 and (sides > 25).all()  # not the upright one
    with pytest.raises(ValueError, match="empty mask"):
        smallest_rectangle(np.zeros((4, 4), bool))
    assert "xyxyxyxy" not in to_supervision(found()).data


def test_sinks_write_a_row_for_each_object(tmp_path: Path) -> None:
    with supervision.CSVSink(str(tmp_path / "a.csv")) as sink:
        sink.append(to_supervision(found()), {"frame": 3})
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with supervision.JSONSink(str(tmp_path / "a.json")) as sink:
        sink.append(to_supervision(found()), {"frame": 3})
    for read in (rows, json.loads((tmp_path / "a.json").read_text())):
        assert [one["class_name"] for one in read] == NAMES and [int(one["tracker_id"]) for one in read] == [
            1,
            2,
        ]
        assert [float(read[0][key]) for key in ("x_min", "y_min", "x_max", "y_max")] == [30, 20, 90, 60]


@pytest.fixture
def dataset(tmp_path: Path) -> Any:
    save_image(tmp_path / "a.png", IMAGE)
    path = str(tmp_path / "a.png")
    return supervision.DetectionDataset(NAMES, [path], {path: to_supervision(found())})


def coco(dataset: Any, folder: Path) -> Any:
    dataset.as_coco(str(folder / "images"), str(folder / "a.json"))
    return dataset.from_coco(str(folder / "images"), str(folder / "a.json"), force_masks=True)


def yolo(dataset: Any, folder: Path) -> Any:
    places = str(folder / "images"), str(folder / "labels"), str(folder / "data.yaml")
    dataset.as_yolo(*places)
    return dataset.from_yolo(*places, force_masks=True)


def pascal_voc(dataset: Any, folder: Path) -> Any:
    places = str(folder / "images"), str(folder / "labels")
    dataset.as_pascal_voc(*places)
    return dataset.from_pascal_voc(*places, force_masks=True)


def labelme(dataset: Any, folder: Path) -> Any:
    places = str(folder / "images"), str(folder / "labels")
    dataset.as_labelme(*places)
    return dataset.from_labelme(*places, force_masks=True)


def createml(dataset: Any, folder: Path) -> Any:  # boxes only
    dataset.as_createml(str(folder / "images"), str(folder / "a.json"))
    return dataset.from_createml(str(folder / "images"), str(folder / "a.json"))


def test_no_format_of_its_data_sets_is_left_out(dataset: Any) -> None:
    known = {name.removeprefix("as_") for name in dir(dataset) if name.startswith("as_")}
    assert known == {one.__name__ for one in FORMATS}


FORMATS = (coco, yolo, pascal_voc, labelme, createml)


@pytest.mark.parametrize("through", FORMATS)
def test_every_format_of_its_data_sets_keeps_boxes_and_masks(
    through: Callable[[Any, Path], Any], dataset: Any, tmp_path: Path
) -> None:
    if not hasattr(dataset, f"as_{through.__name__}"):
        pytest.skip(f"supervision {supervision.__version__} has no {through.__name__}")
    (tmp_path / "out").mkdir()
    read = through(dataset, tmp_path / "out")
    ((_, image, detections),) = list(read)
    assert image.shape == IMAGE.shape
    names = [read.classes[number] for number in detections.class_id]
    assert set(names) == set(NAMES)
    for place, name in enumerate(NAMES):
        own = [number for number, one in enumerate(names) if one == name]
        box = detections.xyxy[own]
        whole = [*box[:, :2].min(0), *box[:, 2:].max(0)]
        np.testing.assert_allclose(whole, to_supervision(found()).xyxy[place], atol=2)
        if through is not createml:
            mask, right = detections.mask[own].any(0), masks()[place]
            assert (mask & right).sum() / (mask | right).sum() > 0.85
