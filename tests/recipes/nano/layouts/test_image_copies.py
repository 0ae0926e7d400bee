from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instructseg.data.catalog import check
from instructseg.masks import polygons_to_mask
from recipes.nano.layouts.image_copies import WRITERS, write_image_layouts
from recipes.nano.layouts.scenes import coco_polygons, draw_images


def test_every_copy_passes_its_own_check(tmp_path: Path) -> None:
    roots = write_image_layouts(tmp_path, pictures=1, seed=3)
    assert set(roots) == set(WRITERS)
    for name in WRITERS:
        report = check(name, roots[name])
        assert not report.problems, name
        assert all(count.found == count.expected for count in report.counts)
    assert not list(tmp_path.rglob(".*"))  # no temporary files


def test_a_copy_is_a_function_of_its_seed(tmp_path: Path) -> None:
    files = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_image_layouts(tmp_path / name, pictures=1, seed=seed)
        files.append({f.relative_to(tmp_path / name): f.read_bytes() for f in (tmp_path / name).rglob("*.*")})
    assert files[0] == files[1] != files[2]


def test_no_images(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pictures must be at least 1, got 0"):
        write_image_layouts(tmp_path, pictures=0)


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_outlines_fill_to_the_pixel(height: int, width: int, data: st.DataObject) -> None:
    bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    mask = np.array(bits, np.uint8).reshape(height, width)
    polygons = coco_polygons(mask)
    if polygons is not None:
        np.testing.assert_array_equal(polygons_to_mask(polygons, height, width), mask)


def test_a_hole_has_no_outline() -> None:
    mask = np.ones((5, 5), np.uint8)
    mask[2, 2] = 0
    assert coco_polygons(mask) is None


def test_absent_objects_are_absent() -> None:
    for picture in draw_images(5, seed=4):
        shown = {picture.words(i) for i in range(len(picture.scene.objects))}
        assert picture.absent() not in shown
