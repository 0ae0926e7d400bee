from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from instructseg.data import catalog
from instructseg.data.custom.custom_images import CustomImages
from instructseg.data.records import DataError, Fault
from instructseg.masks import mask_to_rle, save_binary_png, save_palette_png
from instructseg.media import save_image
from instructseg.structures import Task
from recipes.nano.layouts.scenes import draw_images, pixel_contours
from recipes.nano.layouts.text import write_own

COUNT, SEED = 3, 8
IDS = np.array([[0, 1, 1, 2], [0, 1, 2, 2], [3, 0, 0, 0]], np.uint8)


def test_the_generated_table(tmp_path: Path) -> None:
    write_own(tmp_path, COUNT, SEED)
    part, index = CustomImages(tmp_path), 0
    for picture in draw_images(COUNT, SEED):
        for i, texts in picture.said.items():
            sample, index = part[index], index + 1
            assert sample.instruction == texts[0]
            np.testing.assert_array_equal(sample.masks, picture.mask(i)[None])
        shape = next(i for i in picture.visible if pixel_contours(picture.mask(i)))
        np.testing.assert_array_equal(part[index].masks, picture.mask(shape)[None])  # LabelMe
        everything = part[index + 1].masks
        assert everything is not None and len(everything) == len(picture.visible)
        np.testing.assert_array_equal(
            everything.any(axis=0), np.isin(picture.scene.ids[0] - 1, picture.visible)
        )
        absent, unknown = part[index + 2].masks, part[index + 3].masks
        assert absent is not None and absent.shape == (0, *picture.pixels.shape[:2])
        assert unknown is None
        index += 4
    assert index == len(part)
    assert not catalog.check("custom-images", tmp_path, deep=True).problems


def own(root: Path, rows: Any, name: str = "instructions.json") -> Path:
    """An image of 3 x 4 with :data:`IDS` as its masks."""
    save_image(root / "a.png", np.full((3, 4, 3), 9, np.uint8))
    save_palette_png(root / "ids.png", IDS)
    (root / name).write_text(rows if isinstance(rows, str) else json.dumps(rows))
    return root / name


@pytest.mark.parametrize(
    "text",
    [
        '\ufeffimage,instruction,mask,object\na.png,"the dog, left",ids.png,1;3\n',
        [{"image": "a.png", "instruction": "the dog, left", "mask": "ids.png", "object": [1, 3]}],
        '{"image": "a.png", "instruction": "the dog, left", "mask": ["ids.png"], "object": "1;3"}\n',
    ],
)
def test_tables(tmp_path: Path, text: Any) -> None:
    suffix = ".json" if isinstance(text, list) else ".csv" if "image,in" in text else ".jsonl"
    file = own(tmp_path, text, f"instructions{suffix}")
    for source in (file, tmp_path):
        (sample,) = list(_samples(CustomImages(source)))
        assert (sample.instruction, sample.task) == ("the dog, left", Task.RES)
        np.testing.assert_array_equal(sample.masks, np.stack([IDS == 1, IDS == 3]))


def _samples(part: CustomImages) -> list[Any]:
    return [part[index] for index in range(len(part))]


def test_other_columns(tmp_path: Path) -> None:
    rows = [
        {
            "image": "a.png",
            "instruction": "why?",
            "task": "reason_seg",
            "answer": "so",
            "split": "val",
            "name": "x",
        },
        {"image": "a.png", "instruction": "who?", "task": "vqa", "answer": "me"},
    ]
    one, other = _samples(CustomImages(own(tmp_path, rows)))
    assert (one.task, one.answer, one.explain, one.name) == (Task.REASON_SEG, "so", True, "x")
    assert (other.task, other.answer, other.explain, other.masks) == (Task.VQA, "me", False, None)
    assert len(CustomImages(tmp_path, split="val")) == 1
    with pytest.raises(DataError, match="no row of split 'test'"):
        CustomImages(tmp_path, split="test")


def test_masks_of_grey_or_black_and_white(tmp_path: Path) -> None:
    file = own(tmp_path, [{"image": "a.png", "instruction": "it", "mask": "m.png"}])
    save_binary_png(tmp_path / "m.png", IDS == 2)
    np.testing.assert_array_equal(CustomImages(file)[0].masks, (IDS == 2)[None])
    for mode in ("1", "RGB", "P"):
        Image.fromarray((IDS == 2).astype(np.uint8) * 255).convert(mode).save(tmp_path / "m.png")
        np.testing.assert_array_equal(CustomImages(file)[0].masks, (IDS == 2)[None])


def test_labelme_beside_the_images(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png", np.zeros((20, 30, 3), np.uint8))
    shapes = [
        {"label": "box", "shape_type": "rectangle", "points": [[4, 5], [2, 3]]},
        {"label": "disc", "shape_type": "circle", "points": [[20, 10], [24, 10]]},
        {"label": "ignore", "points": [[2, 3], [2, 3]]},
    ]
    content = {"imageHeight": 20, "imageWidth": 30, "shapes": shapes}
    (tmp_path / "a.json").write_text(json.dumps(content))
    box, disc = _samples(CustomImages(tmp_path))
    assert (box.instruction, disc.instruction) == ("box", "disc")
    expected = np.zeros((20, 30), np.uint8)
    expected[3:6, 2:5] = 1
    expected[3, 2] = 255
    np.testing.assert_array_equal(box.masks[0], expected)
    assert abs((disc.masks == 1).sum() - np.pi * 16) < 14 and disc.masks[0, 10, 20] == 1
    (tmp_path / "a.json").write_text(json.dumps({**content, "imageHeight": 21}))
    with pytest.raises(DataError, match="a mask of 21 x 30 on an image of 20 x 30"):
        CustomImages(tmp_path)[0]
    shapes[0]["shape_type"] = "line"
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r'a\.json: shape_type "line": give a polygon'):
        CustomImages(tmp_path)[0]


def coco(root: Path) -> dict[str, Any]:
    save_image(root / "images" / "a.png", np.zeros((3, 4, 3), np.uint8))
    one = {"image_id": 1, "category_id": 5, "iscrowd": 0}
    return {
        "images": [{"id": 1, "file_name": "a.png", "height": 3, "width": 4}],
        "annotations": [
            {**one, "id": 1, "segmentation": mask_to_rle(IDS == 1), "instruction": ["left one", "both"]},
            {**one, "id": 2, "segmentation": mask_to_rle(IDS == 2), "instruction": "both"},
            {**one, "id": 3, "segmentation": mask_to_rle(IDS == 3)},
        ],
        "categories": [{"id": 5, "name": "dog"}],
    }


def test_coco_with_instructions(tmp_path: Path) -> None:
    (tmp_path / "annotations.json").write_text(json.dumps(coco(tmp_path)))
    found = {sample.instruction: sample.masks for sample in _samples(CustomImages(tmp_path))}
    expected = {"left one": [IDS == 1], "both": [IDS == 1, IDS == 2], "dog": [IDS == 3]}
    assert list(found) == list(expected)
    for text, masks in expected.items():
        np.testing.assert_array_equal(found[text], np.stack(masks))


def test_a_table_may_point_into_a_coco_file(tmp_path: Path) -> None:
    (tmp_path / "coco.json").write_text(json.dumps(coco(tmp_path)))
    row = {"image": "images/a.png", "instruction": "it", "mask": "coco.json"}
    file = own(tmp_path, [{**row, "object": 2}, row, {**row, "object": 9}])
    part = CustomImages(file)
    np.testing.assert_array_equal(part[0].masks, (IDS == 2)[None])
    np.testing.assert_array_equal(part[1].masks, (IDS > 0)[None])
    with pytest.raises(DataError, match=r"coco\.json: there is no annotation 9 of a\.png") as caught:
        part[2]
    assert caught.value.problem.fault is Fault.ID


def test_images_of_a_coco_file_that_share_a_name(tmp_path: Path) -> None:
    content = coco(tmp_path)
    content["images"] = [
        {"id": 1, "file_name": "left/a.png", "height": 3, "width": 4},
        {"id": 2, "file_name": "right/a.png", "height": 3, "width": 4},
    ]
    content["annotations"][1]["image_id"] = 2
    for folder in ("left", "right", "other"):
        save_image(tmp_path / "images" / folder / "a.png", np.zeros((3, 4, 3), np.uint8))
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    left, again, right, dog = _samples(CustomImages(tmp_path))
    assert [Path(s.meta["file_name"]).parent.name for s in (left, again, right, dog)] == [
        "left", "left", "right", "left",
    ]  # fmt: skip
    np.testing.assert_array_equal(left.masks, (IDS == 1)[None])
    np.testing.assert_array_equal(right.masks, (IDS == 2)[None])

    def row(folder: str, **object: int) -> dict[str, Any]:
        return {"image": f"images/{folder}/a.png", "instruction": "it", "mask": "annotations.json", **object}

    part = CustomImages(
        own(
            tmp_path,
            [row("left"), row("right", object=2), row("right", object=1), row("other", object=2), row("other")],
        )
    )
    np.testing.assert_array_equal(part[0].masks, np.isin(IDS, (1, 3))[None])
    np.testing.assert_array_equal(part[1].masks, (IDS == 2)[None])
    with pytest.raises(DataError, match=r"there is no annotation 1 of right/a\.png"):
        part[2]
    np.testing.assert_array_equal(part[3].masks, (IDS == 2)[None])  # the annotation tells which is meant
    with pytest.raises(DataError, match=r"other/a\.png may be left/a\.png and right/a\.png"):
        part[4]


def test_all_bad_rows_are_reported_at_once(tmp_path: Path) -> None:
    file = tmp_path / "instructions.csv"
    rows = ["image,instruction,mask,object", "a.png,ok,none,", "a.png,,none,", ",x,none,", "a.png,short"]
    file.write_text("\n".join(rows + ["a.png,,none,"] * 20))
    with pytest.raises(DataError) as caught:
        CustomImages(file)
    told = str(caught.value)
    assert told.startswith(f"{file}, line 3: it has no instruction; 22 more, line 4: it has no image; line 5: ")
    assert "line 5: it ends before the column mask: write a comma for each empty field; line 6" in told
    assert told.endswith("line 12: it has no instruction ..")


def test_a_mask_of_nothing_is_reported(tmp_path: Path) -> None:
    row = {"image": "a.png", "instruction": "it", "mask": "ids.png"}
    part = CustomImages(own(tmp_path, [{**row, "object": 9}, {**row, "mask": "blank.png"}]))
    save_palette_png(tmp_path / "blank.png", np.zeros_like(IDS))
    with pytest.raises(DataError, match=r"ids\.png: no pixel is 9; there are 1, 2, 3"):
        part[0]
    with pytest.raises(DataError, match=r"blank\.png: all pixels are 0: write 'none' where nothing answers"):
        part[1]


def test_a_shape_without_points(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png", np.zeros((20, 30, 3), np.uint8))
    (tmp_path / "a.json").write_text('{"shapes": [{"label": "x", "points": []}]}')
    with pytest.raises(DataError, match=r"a\.json: a shape has no points"):
        CustomImages(tmp_path)[0]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"instruction": "x"}, r"instructions\.json, entry 1: it has no image"),
        ({"image": "a.png"}, "entry 1: it has no instruction"),
        (
            {"image": "a.png", "instruction": "x", "maks": "b"},
            "unknown column 'maks': there are image, instruction",
        ),
        ({"image": "a.png", "instruction": "x", "task": "rvos"}, "task is res, reason_seg or vqa, got 'rvos'"),
        ("a.png", "entry 1: expected an object with image"),
    ],
)
def test_bad_rows(tmp_path: Path, row: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        CustomImages(own(tmp_path, [row]))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            "image,instruction\na.png,the dog, left\n",
            r"csv, line 2: unknown column None.*quote a text that has commas",
        ),
        ("image,instruction\na.png,caf\udce9\n", r"csv: not UTF-8 .*: save it as UTF-8"),
    ],
)
def test_bad_csv(tmp_path: Path, table: str, message: str) -> None:
    file = own(tmp_path, "", "instructions.csv")
    file.write_bytes(table.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=message):
        CustomImages(file)


@pytest.mark.parametrize("content", ['{"shapes": [{}]}', '{"shapes": 3}', '{"images": [], "annotations": []}'])
def test_bad_labelme(tmp_path: Path, content: str) -> None:
    save_image(tmp_path / "a.png", np.zeros((20, 30, 3), np.uint8))
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=r"a\.json: .*LabelMe"):
        CustomImages(tmp_path)
    (tmp_path / "a.json").write_text('{"shapes": [{"label": "x", "points": [[1, 2, 3]]}]}')
    with pytest.raises(DataError, match=r"a\.json: not a LabelMe file"):
        CustomImages(tmp_path)[0]


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ({"mask": "ids.tif"}, r"ids\.tif: masks are read from \.png files and COCO or LabelMe \.json files"),
        ({"mask": "ids.png", "object": "dog"}, "the object of a PNG is a pixel value, got 'dog'"),
        ({"mask": "a.png", "object": 1}, r"a\.png.*colours"),
        ({"mask": "gone.png"}, r"gone\.png: the file is missing"),
        ({"mask": "small.png"}, r"entry 1: .*small\.png: a mask of 2 x 2 on an image of 3 x 4"),
    ],
)
def test_bad_masks(tmp_path: Path, mask: dict[str, Any], message: str) -> None:
    save_palette_png(tmp_path / "small.png", IDS[:2, :2])
    part = CustomImages(own(tmp_path, [{"image": "a.png", "instruction": "x", **mask}]))
    with pytest.raises((DataError, FileNotFoundError), match=message):
        part[0]


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gone is missing: give a table, a COCO file or a folder"):
        CustomImages(tmp_path / "gone")
    with pytest.raises(DataError, match="no instructions"):
        CustomImages(tmp_path)
    (tmp_path / "a.txt").touch()
    with pytest.raises(DataError, match=r"a\.txt: give a table as \.csv, \.json or \.jsonl"):
        CustomImages(tmp_path / "a.txt")


def test_check(tmp_path: Path) -> None:
    rows = [
        {"image": f"{n}.png", "instruction": "x", "mask": m} for n, m in (("a", "ids.png"), ("b", "no.png"))
    ]
    report = catalog.check("custom-images", own(tmp_path, rows))
    assert [Path(problem.where).name for problem in report.problems] == ["b.png", "no.png"]
