from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from pycocotools import mask as coco

from instructseg.masks import (
    davis_palette,
    draw_polygons_official,
    load_index_png,
    mask_to_rle,
    polygons_to_mask,
    rle_to_mask,
    save_binary_png,
    save_palette_png,
    segmentation_to_mask,
)

GOLDEN = Path(__file__).parent / "data" / "masks" / "official_polygons.npz"
SQUARE = [2, 1, 6, 1, 6, 5, 2, 5]

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40))


@pytest.mark.parametrize("name", ["landscape", "portrait", "large", "square"])
def test_official_drawing_equals_the_recorded_ground_truth(name: str) -> None:
    with np.load(GOLDEN) as golden:
        expected = golden[f"{name}.eval_res_gt_mask"]
        drawn = draw_polygons_official([golden[f"{name}.polygon_xy"]], *expected.shape)
    assert np.array_equal(drawn, expected.astype(bool))


def test_coco_filling_leaves_the_far_edge_out_and_the_official_one_takes_it_in() -> None:
    expected = np.zeros((8, 9), dtype=bool)
    expected[1:5, 2:6] = True
    assert np.array_equal(polygons_to_mask([SQUARE], 8, 9), expected)
    expected[1:6, 2:7] = True
    assert np.array_equal(draw_polygons_official([SQUARE], 8, 9), expected)


@pytest.mark.parametrize("fill", [polygons_to_mask, draw_polygons_official])
def test_overlapping_polygons_are_united(fill: object) -> None:
    other = [4, 3, 8, 3, 8, 7, 4, 7]
    both = fill([SQUARE, other], 10, 10)  # type: ignore[operator]
    assert np.array_equal(both, fill([SQUARE], 10, 10) | fill([other], 10, 10))  # type: ignore[operator]
    assert not fill([], 10, 10).any()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("polygons", "message"),
    [
        ([[1, 2, 3, 4, 5, 6, 7]], "polygon 0 has 7 numbers"),
        ([SQUARE, [1, 2, 3, 4]], "polygon 1 has 4 numbers"),
        ([[1, 2, 3, 4, 5, float("nan")]], "polygon 0 has a coordinate that is not finite"),
        (SQUARE, "put the one polygon into a list"),
    ],
)
def test_broken_polygons_are_named(polygons: list, message: str) -> None:
    for fill in (polygons_to_mask, draw_polygons_official):
        with pytest.raises(ValueError, match=message):
            fill(polygons, 10, 10)


def test_a_mask_without_pixels_is_an_error() -> None:
    with pytest.raises(ValueError, match="0x9"):
        polygons_to_mask([SQUARE], 0, 9)


@given(masks)
@settings(max_examples=60, deadline=None)
def test_rle_goes_there_and_back_and_pycocotools_agrees(mask: np.ndarray) -> None:
    rle = mask_to_rle(mask)
    assert isinstance(rle["counts"], str)
    assert rle["size"] == list(mask.shape)
    assert np.array_equal(coco.decode({"size": rle["size"], "counts": rle["counts"].encode()}), mask)
    decoded = rle_to_mask(rle, mask.shape)
    assert decoded.dtype == bool
    assert np.array_equal(decoded, mask)
    assert np.array_equal(rle_to_mask({**rle, "counts": rle["counts"].encode()}), mask)


def test_rle_of_a_large_mask() -> None:
    """Run lengths of several characters, and differences of both signs."""
    noise = np.random.default_rng(0).random((700, 900))
    mask = (noise < 0.001) | (np.indices(noise.shape).sum(0) % 411 < 200)
    mask[:, 300:500] = False
    assert np.array_equal(rle_to_mask(mask_to_rle(mask)), mask)


@given(masks)
@settings(max_examples=40, deadline=None)
def test_plain_run_lengths(mask: np.ndarray) -> None:
    column_by_column = mask.T.reshape(-1)
    starts = np.flatnonzero(np.diff(column_by_column)) + 1
    counts = np.diff(np.concatenate([[0], starts, [mask.size]])).tolist()
    counts = [0, *counts] if column_by_column[0] else counts
    assert np.array_equal(rle_to_mask({"size": list(mask.shape), "counts": counts}), mask)


def test_rle_of_another_size_names_both() -> None:
    with pytest.raises(ValueError, match="RLE mask of 4x5 pixels for an image of 5x4"):
        rle_to_mask(mask_to_rle(np.ones((4, 5), dtype=bool)), (5, 4))


@pytest.mark.parametrize(
    "rle",
    [
        {"size": [4, 5], "counts": [3, 4]},
        {"size": [4, 5], "counts": [25, -5]},
        {"size": [4, 6], "counts": mask_to_rle(np.eye(4, 5))["counts"]},
        {"size": [4, 5], "counts": mask_to_rle(np.eye(4, 5))["counts"][:-1]},
        {"size": [4, 5], "counts": ""},
        {"size": [4, 5], "counts": "~~"},
        {"size": [4, 5], "counts": "ä"},
        {"size": [4, 5], "counts": "oooooooo0"},
    ],
)
def test_damaged_counts_are_refused(rle: dict) -> None:
    with pytest.raises(ValueError, match="damaged RLE mask"):
        rle_to_mask(rle)


def test_something_else_is_no_rle() -> None:
    with pytest.raises(ValueError, match="an RLE mask is"):
        rle_to_mask([1, 2, 3])  # type: ignore[arg-type]


def test_segmentations_of_every_kind() -> None:
    square = polygons_to_mask([SQUARE], 8, 9)
    corner = np.zeros((8, 9), dtype=bool)
    corner[0, 0] = True
    assert np.array_equal(segmentation_to_mask([SQUARE], 8, 9), square)
    assert np.array_equal(segmentation_to_mask(mask_to_rle(square), 8, 9), square)
    parts = [mask_to_rle(square), mask_to_rle(corner)]
    assert np.array_equal(segmentation_to_mask(parts, 8, 9), square | corner)
    assert not segmentation_to_mask([], 8, 9).any()


def test_a_mask_has_two_axes(tmp_path: Path) -> None:
    for use in (mask_to_rle, lambda mask: save_binary_png(tmp_path / "a.png", mask)):
        with pytest.raises(ValueError, match=r"\(1, 4, 5\)"):
            use(np.ones((1, 4, 5), dtype=bool))


def test_palette_is_that_of_davis() -> None:
    first = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128)]
    palette = davis_palette()
    assert palette.shape == (256, 3)
    assert [tuple(entry) for entry in palette[:7]] == first
    assert tuple(palette[20]) == (0, 64, 128)
    assert tuple(palette[255]) == (224, 224, 192)
    assert len(np.unique(palette, axis=0)) == 256


def test_palette_png(tmp_path: Path) -> None:
    ids = np.arange(256, dtype=np.uint8).reshape(8, 32)
    path = tmp_path / "new" / "folder" / "00000.png"
    save_palette_png(path, ids)
    with Image.open(path) as image:
        assert image.mode == "P"
        assert np.array_equal(np.array(image.convert("RGB")), davis_palette()[ids])
    assert np.array_equal(load_index_png(path), ids)
    assert [file.name for file in path.parent.iterdir()] == ["00000.png"]


def test_binary_png(tmp_path: Path) -> None:
    mask = np.eye(3, 4, dtype=np.uint8)
    save_binary_png(tmp_path / "a.png", mask)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "L"
    assert np.array_equal(load_index_png(tmp_path / "a.png"), mask * 255)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    save_binary_png(path, np.zeros((2, 2)))
    before = path.read_bytes()

    def full(self: Image.Image, file: Path, **_: object) -> None:
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space left"):
        save_binary_png(path, np.ones((2, 2)))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_ids_are_bytes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="object ids are uint8, got int64"):
        save_palette_png(tmp_path / "a.png", np.zeros((2, 2), dtype=np.int64))


def test_index_images_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_index_png(tmp_path / "absent.png")
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(ValueError, match=r"text\.png is no image"):
        load_index_png(tmp_path / "text.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "colours.png")
    with pytest.raises(ValueError, match=r"colours\.png holds colours \(mode RGB\)"):
        load_index_png(tmp_path / "colours.png")
    save_palette_png(
        tmp_path / "whole.png", np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    )
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:2500])
    with pytest.raises(ValueError, match=r"half\.png is damaged"):
        load_index_png(tmp_path / "half.png")


@given(st.lists(st.integers(-20, 60), min_size=6, max_size=12).filter(lambda xy: len(xy) % 2 == 0))
@settings(max_examples=40, deadline=None)
def test_coco_filling_equals_pycocotools(xy: list[int]) -> None:
    expected = coco.decode(coco.frPyObjects([[float(value) for value in xy]], 30, 40))[..., 0]
    assert np.array_equal(polygons_to_mask([xy], 30, 40), expected)


SIZES = [
    *[[side, 9] for side in (0, -1, None, "9", True, 1.5, float("nan"), 10**8)],
    *([9], [9, 9, 9], 9, None, "99"),
]


@pytest.mark.parametrize("size", SIZES)
def test_invalid_sizes_are_refused(size: Any) -> None:
    with pytest.raises(ValueError, match=r"size|pixels"):
        rle_to_mask({"size": size, "counts": [1]})


COUNTS = [
    None,
    3,
    {},
    [None],
    [1.5, 79.5],
    ["81"],
    [True, 80],
    [-1, 82],
    [10**30],
    [[81]],
    "é",
    "\x00",
    b"\xff",
    "",
]


@pytest.mark.parametrize("counts", COUNTS)
def test_invalid_run_lengths_are_refused(counts: Any) -> None:
    with pytest.raises(ValueError, match="damaged RLE mask"):
        rle_to_mask({"size": [9, 9], "counts": counts})


def test_every_form_of_an_rle_is_the_same_mask() -> None:
    mask = np.zeros((4, 6), bool)
    mask[1:3, 2:5] = True
    packed = mask_to_rle(mask)["counts"]
    runs = [9, 2, 2, 2, 2, 2, 5]
    for counts in (
        packed,
        packed.encode(),
        bytearray(packed.encode()),
        runs,
        tuple(runs),
        [float(r) for r in runs],
    ):
        found = rle_to_mask({"size": [4.0, 6.0], "counts": counts, "by": "somebody"})
        assert (found == mask).all()


@pytest.mark.parametrize("segmentation", [None, 3, "text", True])
def test_invalid_segmentations_are_refused(segmentation: Any) -> None:
    with pytest.raises(ValueError, match="a segmentation is a list of polygons or an RLE"):
        segmentation_to_mask(segmentation, 4, 6)
