from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from pycocotools import mask as coco

from instructseg.masks import draw_polygons_official, polygons_to_mask, whole_points
from instructseg.polygons import clip_outline, fill_polygon, keyhole, mask_outlines, resample_outline

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # of pycocotools


def official(outline: np.ndarray, height: int, width: int) -> np.ndarray:
    return coco.decode(coco.merge(coco.frPyObjects([outline.tolist()], height, width))).astype(bool)


@pytest.mark.parametrize("span", [1, 3, 30, 3000])
def test_polygons_inside_and_outside_are_those_of_coco(span: float) -> None:
    rng = np.random.default_rng(int(span))
    for number in range(150):
        height, width = (int(side) for side in rng.integers(1, 60, 2))
        points = (rng.random((rng.integers(3, 12), 2)) * span - (span - 1) / 2) * [width, height]
        if number % 3 == 0:  # corners on the fifths of a pixel in which COCO counts, and between them
            points = np.round(points * 5) / 5 + 0.1 * (number % 2)
        outline = points.reshape(-1)
        wanted = official(outline, height, width)
        assert (fill_polygon(outline, height, width) == wanted).all()
        assert (polygons_to_mask([outline], height, width) == wanted).all()


def test_a_far_corner_takes_neither_memory_nor_time() -> None:
    # of both sizes the part inside the image is the same
    near = official(np.array([0, 0, 1e6, 0.5e6, 20, 20]), 64, 64)
    tracemalloc.start()
    far = polygons_to_mask([[0, 0, 1e9, 0.5e9, 20, 20]], 64, 64)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert (near != far).sum() <= 2
    assert near.any()


def test_the_official_drawing_takes_far_corners_too() -> None:
    inside = draw_polygons_official([[0, 0, 1e5, 0, 1e5, 20, 0, 20]], 64, 64)
    assert (draw_polygons_official([[0, 0, 1e9, 0, 1e9, 20, 0, 20]], 64, 64) == inside).all()
    assert inside.sum() == 21 * 64


NONE = [
    *[
        [0, 0, value, 1, 1, 1]
        for value in (1e10, 1e300, 10**30, None, "1", True, [1], float("inf"), float("nan"))
    ],
    [0, 0, 1, 1],
    "text",
    None,
    {},
    3,
]


@pytest.mark.parametrize("polygon", NONE)
@pytest.mark.parametrize("draw", [polygons_to_mask, draw_polygons_official])
def test_what_is_no_polygon_is_an_error(draw: object, polygon: object) -> None:
    with pytest.raises(ValueError, match=r"polygon"):
        draw([polygon], 8, 8)  # type: ignore[operator]


def test_an_outline_inside_is_not_touched_and_one_far_away_leaves_nothing() -> None:
    square = np.array([[0, 0], [5, 0], [5, 5], [0, 5.0]])
    assert clip_outline(square, 10) is square
    assert not len(clip_outline(square + 100, 10))
    assert whole_points(square + 1e8).shape == (0, 2)
    halved = clip_outline(square * 4, 10)
    assert halved.tolist() == [[10, 0], [10, 10], [0, 10], [0, 0]] or {tuple(p) for p in halved.tolist()} == {
        (0, 0), (10, 0), (10, 10), (0, 10)}  # fmt: skip


def filled(outline: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return polygons_to_mask([outline.reshape(-1)], *mask.shape)


def test_outlines_give_the_mask_again() -> None:
    rng = np.random.default_rng(5)
    for _ in range(200):
        mask = rng.random(rng.integers(1, 14, 2)) < rng.random()
        again = np.zeros_like(mask)
        for outer, *holes in mask_outlines(mask):
            part = filled(outer, mask)
            for hole in holes:
                part &= ~filled(hole, mask)
            assert not (again & part).any()
            again |= part
        assert (again == mask).all()
        joined = keyhole(mask_outlines(mask))
        assert (filled(joined, mask) == mask).all() if mask.any() else joined.shape == (0, 2)


def test_outlines_are_valid_polygons() -> None:
    shapely = pytest.importorskip("shapely")
    rng = np.random.default_rng(6)
    for _ in range(100):
        mask = rng.random(rng.integers(1, 20, 2)) < rng.random()
        shapes = [shapely.Polygon(outer, holes) for outer, *holes in mask_outlines(mask)]
        assert all(shape.is_valid for shape in shapes)
        assert sum(shape.area for shape in shapes) == mask.sum()
        assert [shape.area for shape in shapes] == sorted((shape.area for shape in shapes), reverse=True)


def test_simplified_outlines_are_short_and_near() -> None:
    rows, columns = np.mgrid[:300, :400]
    away = np.hypot(rows - 140, columns - 190)
    mask = (away < 120) & (away > 40)
    ((outer, hole),) = mask_outlines(mask, tolerance=1.0)
    assert len(outer) < 100 and len(hole) < 50
    assert np.abs(np.hypot(*(outer - (190.5, 140.5)).T) - 120).max() < 2
    assert (filled(keyhole([[outer, hole]]), mask) ^ mask).sum() < 0.02 * mask.sum()


def test_resampled_outlines_keep_a_square() -> None:
    square = np.array([[0, 0], [4, 0], [4, 4], [0, 4]], float)
    assert np.array_equal(resample_outline(square, 4), square)
    assert resample_outline(square, 8)[1].tolist() == [2, 0]
    with pytest.raises(ValueError, match="at least 3"):
        resample_outline(square, 2)
