from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instructseg.data import catalog
from instructseg.data.datasets import reasonseg
from instructseg.data.datasets.reasonseg import ReasonSeg, draw_shapes
from instructseg.data.records import DataError, Fault
from instructseg.media import save_image
from instructseg.structures import Task
from recipes.nano.layouts.images import write_reasonseg
from recipes.nano.layouts.scenes import draw_images, pixel_contours

COUNT, SEED = 4, 2
BIG, SMALL = [[1, 1], [20, 1], [20, 20], [1, 20]], [[5.9, 5.9], [10, 5], [10, 10], [5, 10]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_reasonseg(tmp_path, COUNT, SEED)
    return tmp_path


def record(root: Path, shapes: list[dict[str, Any]], raw: bytes | None = None) -> Path:
    """One image of 24 x 24 in ``val``."""
    save_image(root / "val" / "a.jpg", np.zeros((24, 24, 3), np.uint8))
    content = {"text": [" what? ", "which?"], "is_sentence": True, "shapes": shapes}
    (root / "val" / "a.json").write_bytes(raw or json.dumps(content).encode())
    return root


def test_masks_are_the_drawn_ones(root: Path) -> None:
    drawn = draw_images(3 * COUNT, SEED)
    ignored = 0
    for place, split in enumerate(reasonseg.SPLITS):
        part = ReasonSeg(root, split)
        assert len(part) == COUNT
        for index in range(COUNT):
            sample = part[index]
            number = int(sample.name.rpartition("_")[2])
            picture = drawn[number - 1]
            assert (number - 1) // COUNT == place
            solid = [i for i in picture.said if pixel_contours(picture.mask(i))]
            assert sample.masks is not None and sample.task is Task.REASON_SEG
            if solid:
                np.testing.assert_array_equal(sample.masks[0] == 1, picture.mask(solid[0]).astype(bool))
            elsewhere = picture.scene.ids[0] > 0
            assert elsewhere[sample.masks[0] == 255].all()
            ignored += bool((sample.masks == 255).any())
            assert " – " in sample.instruction  # of UTF-8 and of cp1252
    assert ignored > 2
    assert any(not _is_utf8(file) for file in root.rglob("drawn_*.json"))


def _is_utf8(file: Path) -> bool:
    try:
        file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return False
    return True


def test_small_shapes_show_on_large_ones(tmp_path: Path) -> None:
    shapes: list[dict[str, Any]] = [{"label": "IGNORE_this", "points": SMALL}, {"label": "dog", "points": BIG}]
    shapes.append({"label": "FLAG", "points": [[0, 0], [23, 23], [0, 23]]})
    sample = ReasonSeg(record(tmp_path, shapes))[0]
    expected = np.zeros((24, 24), np.uint8)
    expected[1:21, 1:21] = 1
    expected[5:11, 5:11] = 255  # points are cut: 5.9 is 5
    np.testing.assert_array_equal(sample.masks, expected[None])
    assert sample.instruction == "what?"
    official = ReasonSeg(tmp_path, official_ignore_as_background=True)[0]
    np.testing.assert_array_equal(official.masks, np.where(expected == 255, 0, expected)[None])


def official_mask(shapes: list[tuple[str, np.ndarray]], height: int, width: int) -> np.ndarray:
    """The published rule, written out."""
    drawn = []
    for label, points in shapes:
        alone = np.zeros((height, width), np.uint8)
        cv2.polylines(alone, [points], True, 1, 1)
        cv2.fillPoly(alone, [points], 1)
        drawn.append((int(alone.sum()), label, alone.astype(bool)))
    mask = np.zeros((height, width), np.uint8)
    for _, label, inside in sorted(drawn, key=lambda entry: -entry[0]):
        mask[inside] = 255 if "ignore" in label else 1
    return mask


polygons = st.lists(st.tuples(st.integers(-3, 30), st.integers(-3, 30)), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["target", "ignore"]), polygons), max_size=5))
def test_drawing_order(drawn: list[tuple[str, list[tuple[int, int]]]]) -> None:
    shapes = [(label, np.array(points, np.int32)) for label, points in drawn]
    areas = [int((official_mask([shape], 24, 28) > 0).sum()) for shape in shapes]
    if len(set(areas)) == len(areas):  # among equals, the order is that of numpy's sort
        np.testing.assert_array_equal(draw_shapes(tuple(shapes), 24, 28), official_mask(shapes, 24, 28))


def test_wording_and_explanation_are_drawn(root: Path) -> None:
    part = ReasonSeg(root, "train")
    index = max(range(len(part)), key=lambda i: len(part.records[i].texts))
    drawn = [part.draw(index, np.random.default_rng(seed)) for seed in range(40)]
    assert {sample.instruction for sample in drawn} == set(part.records[index].texts)
    assert 8 < sum(sample.explain for sample in drawn) < 32
    assert all(sample.answer and sample.answer.startswith("It is the") for sample in drawn)
    again = part.draw(index, np.random.default_rng(3))
    assert (again.instruction, again.explain) == (drawn[3].instruction, drawn[3].explain)
    assert not part[index].explain and part[index].instruction == part.records[index].texts[0]
    val = ReasonSeg(root, "val")
    assert not any(val.draw(0, np.random.default_rng(seed)).explain for seed in range(20))


def test_errors(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ReasonSeg has no split 'dev'"):
        ReasonSeg(root, "dev")
    with pytest.raises(FileNotFoundError, match=r"gone/val: the folder is missing"):
        ReasonSeg(tmp_path / "gone", "val")
    for raw, message in (
        (b"[}", "not a record"),
        (b'{"text": []}', "not a record"),
        (b'"\x81"', "not a record"),
    ):
        with pytest.raises(DataError, match=message):
            ReasonSeg(record(root, [], raw))
    (root / "explanatory" / "train.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"explanatory/train\.json: the file is missing"):
        ReasonSeg(root, "train")


def test_check(root: Path) -> None:
    assert {problem.fault for problem in catalog.check("reasonseg", root, deep=True).problems} == {Fault.COUNT}
    (root / "val" / "extra.jpg").write_bytes(b"")
    file = root / "explanatory" / "train.json"
    file.write_text(json.dumps([{"image": "nobody.jpg", "query": "", "outputs": ""}]))
    problems = [p for p in catalog.check("reasonseg", root).problems if p.fault is not Fault.COUNT]
    assert [p.fault for p in problems] == [Fault.FILE, Fault.ID]
    assert problems[0].where == str(root / "val" / "extra.json")


def test_two_explanations_of_one_image_are_counted(root: Path) -> None:
    file = root / "explanatory" / "train.json"
    entries = json.loads(file.read_text())
    file.write_text(json.dumps([*entries, {**entries[0], "outputs": "the later one"}]))
    dataset = ReasonSeg(root, "train")
    assert dataset.explanations[entries[0]["image"]] == "the later one"
    what = "skipped: earlier explanations of an image"
    assert dataset.counts()[what] == 1 and dataset.counts()["explanations"] == len(entries)
    assert what in {count.what for count in catalog.check("reasonseg", root).counts}
