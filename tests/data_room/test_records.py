"""The same content is judged by the same rule in every format of custom data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instructseg.benchmarks.submission import write_mask
from instructseg.data import catalog
from instructseg.data.custom.custom_images import CustomImages
from instructseg.data.custom.custom_videos import CustomVideos
from instructseg.data.custom.ytvis import result_name
from instructseg.data.data_files import read_json
from instructseg.data.records import DataError, Fault, by_id
from instructseg.files import name_fault, path_below
from instructseg.masks import mask_to_rle
from instructseg.media import save_image

SQUARE = [[2, 2, 9, 2, 9, 9, 2, 9]]
RLE = mask_to_rle(np.eye(20, 30))


def coco(root: Path, segmentation: Any = SQUARE, extra: Any = None, **image: Any) -> Path:
    save_image(root / "a.png", np.zeros((20, 30, 3), np.uint8))
    found = {
        "images": [{"id": 1, "file_name": "a.png", "height": 20, "width": 30, **image}],
        "annotations": [{"id": 5, "image_id": 1, "instruction": "x", "segmentation": segmentation}],
    }
    for name, entry in (extra or {}).items():
        found.setdefault(name, []).append(entry)
    (root / "annotations.json").write_text(json.dumps(found))
    return root


def ytvis(root: Path, segmentation: Any = SQUARE, extra: Any = None, **video: Any) -> Path:
    save_image(root / "v" / "0.png", np.zeros((20, 30, 3), np.uint8))
    found = {
        "videos": [{"id": 1, "file_names": ["v/0.png"], "height": 20, "width": 30, **video}],
        "annotations": [{"id": 5, "video_id": 1, "instruction": "x", "segmentations": [segmentation]}],
    }
    for name, entry in (extra or {}).items():
        found.setdefault(name, []).append(entry)
    (root / "annotations.json").write_text(json.dumps(found))
    return root


GOOD = [
    SQUARE,
    RLE,
    {**RLE, "by": "me"},
    {**RLE, "size": [20.0, 30.0]},
    {"size": [20, 30], "counts": [590, 10]},
]


@pytest.mark.parametrize("segmentation", GOOD)
def test_every_good_segmentation_is_read(tmp_path: Path, segmentation: Any) -> None:
    image = CustomImages(coco(tmp_path / "i", segmentation, height=20.0))[0].masks
    video = CustomVideos.open(ytvis(tmp_path / "v", segmentation, width=30.0))[0].masks
    assert image is not None and video is not None
    np.testing.assert_array_equal(image, video)
    assert image.any()


BAD = [
    [], {}, 3, "x", [[1, 2, 3, 4]], [[1, 2, 3]], [[0, 0, float("nan"), 1, 2, 2]], [[0, 0, "1", 1, 2, 2]], [3],
    {**RLE, "counts": "\u00e9"}, {"size": [20, 30], "counts": [1]}, {"size": [20, 30], "counts": [-1, 601]},
    {"size": [True, 30], "counts": [30]}, {"size": [-20, 30], "counts": [600]}, [[0, 0, 1e300, 1, 2, 2]],
]  # fmt: skip


@pytest.mark.parametrize("segmentation", BAD)
def test_every_bad_segmentation_is_a_problem_in_one_line(tmp_path: Path, segmentation: Any) -> None:
    reports = [
        catalog.check("custom-images", coco(tmp_path / "i", segmentation), deep=True),
        catalog.check("custom-videos", ytvis(tmp_path / "v", segmentation), deep=True),
    ]
    for report in reports:
        assert report.problems and all("\n" not in str(problem) for problem in report.problems)


TWICE = [
    (coco, "images", {"id": 1, "file_name": "b.png", "height": 20, "width": 30}),
    (coco, "annotations", {"id": 5, "image_id": 1, "instruction": "y", "segmentation": SQUARE}),
    (ytvis, "videos", {"id": 1, "file_names": ["w/0.png"], "height": 20, "width": 30}),
    (ytvis, "annotations", {"id": 5, "video_id": 1, "instruction": "y", "segmentations": [None]}),
]


@pytest.mark.parametrize(("write", "name", "entry"), TWICE)
def test_two_entries_with_one_id_are_named_both(tmp_path: Path, write: Any, name: str, entry: Any) -> None:
    opener = CustomImages if write is coco else CustomVideos.open
    with pytest.raises(DataError, match=r"have one id, '?[15]'?: give each its own") as caught:
        opener(write(tmp_path, extra={name: entry}))
    assert caught.value.problem.fault is Fault.ID


def test_an_entry_that_is_written_twice_does_no_harm() -> None:
    assert by_id([(1, "a", "x"), (1, "a", "y"), (2, "b", "z")], "entry") == {1: "a", 2: "b"}


def test_a_key_with_two_values_is_refused_and_a_byte_order_mark_is_not(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + b'{"a": 1, "a": 1}')
    assert read_json(tmp_path / "a.json", dict) == {"a": 1}
    (tmp_path / "a.json").write_text('{"a": 1, "a": 2}')
    with pytest.raises(DataError, match="the key 'a' more than once"):
        read_json(tmp_path / "a.json", dict)


LEADING_ELSEWHERE = [
    *["/a", "../a", "a/../b", ".", "..", "a//b", "", "a\\b", "C:a", "a\0b", "a\nb", "\ud800"],
    *["x" * 256, "nul", None, 3],
]


@pytest.mark.parametrize("name", LEADING_ELSEWHERE)
def test_a_name_that_leads_elsewhere_becomes_no_path(tmp_path: Path, name: Any) -> None:
    assert name_fault(name)
    with pytest.raises(ValueError, match="is no name of a file below"):
        path_below(tmp_path, name)


def test_results_do_not_leave_their_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    for video, expression in (("../v", "0"), (str(tmp_path / "v"), "0"), ("v", "."), ("link", "0")):
        with pytest.raises(ValueError, match=r"is no name|leads out"):
            write_mask(tmp_path / "out", video, expression, "0", np.zeros((2, 2), bool))
    assert not list(tmp_path.rglob("*.png"))


def test_a_video_from_anywhere_has_results_of_its_own_below(tmp_path: Path) -> None:
    for path, name in (
        ("a/b", "a/b"),
        ("../a", "_up/a"),
        ("/data/a", "_root/data/a"),
        ("C:x", "C_x"),
        (".", "_"),
    ):
        assert result_name(path) == name and not name_fault(name)
    save_image(tmp_path / "far" / "0.png", np.zeros((4, 4, 3), np.uint8))
    for row, name in (
        ({"video": str(tmp_path / "far")}, f"_root{tmp_path}/far"),
        ({"video": "../far"}, "_up/far"),
    ):
        (tmp_path / "own").mkdir(exist_ok=True)
        (tmp_path / "own" / "instructions.json").write_text(json.dumps([{**row, "instruction": "x"}]))
        (clip,) = CustomVideos.open(tmp_path / "own").clips
        assert clip.name == name and clip.frames[0].shape == (4, 4, 3)
    (tmp_path / "own" / "instructions.json").write_text(
        json.dumps([{"video": "../far", "instruction": "x", "id": "."}])
    )
    with pytest.raises(DataError, match="names no folder of results"):
        CustomVideos.open(tmp_path / "own")


@pytest.mark.parametrize("instruction", [3, [], {}, True, " ", "\ud800"])
def test_an_instruction_is_a_text(tmp_path: Path, instruction: Any) -> None:
    save_image(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "instructions.json").write_text(json.dumps([{"image": "a.png", "instruction": instruction}]))
    with pytest.raises(DataError, match=r"instruction|surrogate"):
        CustomImages(tmp_path)


def test_a_rectangle_of_four_corners_is_one_of_two(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png", np.zeros((20, 30, 3), np.uint8))
    masks = []
    for points in ([[2, 3], [9, 8]], [[2, 3], [9, 3], [9, 8], [2, 8]]):
        shape = {"label": "x", "shape_type": "rectangle", "points": points}
        (tmp_path / "a.json").write_text(json.dumps({"shapes": [shape]}))
        masks.append(CustomImages(tmp_path)[0].masks)
    np.testing.assert_array_equal(*masks)


def test_two_records_at_one_place_are_distinguished() -> None:
    with pytest.raises(DataError, match=r"the video \[0\] and that at \[2\] have one id, 1"):
        by_id([(1, "a", "x, video 1"), (2, "b", "x, video 2"), (1, "c", "x, video 1")], "video")
