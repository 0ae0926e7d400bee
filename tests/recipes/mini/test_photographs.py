from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from recipes.mini.photographs import read_photographs
from recipes.mini.views import draw_view, whole_view
from tests.recipes.mini.conftest import BOXES, rectangle


def test_the_index_is_read_with_its_masks(root: Path) -> None:
    photographs = read_photographs(root, "train")
    yard = photographs.images[0]
    assert [region.category for region in yard.regions] == [category for category, *_ in BOXES["yard"]]
    assert all(
        np.array_equal(r.mask(), rectangle(b[1])) for r, b in zip(yard.regions, BOXES["yard"], strict=True)
    )
    assert photographs.categories["yard"] == {"dog", "cat", "grass"}
    assert photographs.absent(photographs.images[1]) == frozenset()  # not everything is annotated there
    assert [one.source for one in read_photographs(root, "train", ("yard",))] == ["thing"]


def test_what_is_not_there_is_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no photographs of split 'val'"):
        read_photographs(root, "val")
    with pytest.raises(FileNotFoundError, match="is missing"):
        read_photographs(tmp_path, "train")
    (tmp_path / "annotations.json").write_text(
        json.dumps({"images": [{}], "categories": [], "annotations": []})
    )
    with pytest.raises(ValueError, match="is no COCO file"):
        read_photographs(tmp_path, "train")


def test_a_view_is_a_piece_with_the_masks_of_what_is_left(root: Path) -> None:
    yard = read_photographs(root, "train").images[0]
    whole = whole_view(yard, 20)
    assert len(whole.regions) == 5
    assert not whole.cut
    areas = whole.masks.sum((1, 2))
    assert (np.diff(areas) <= 0).all()  # the largest first
    assert whole_view(yard, 2).cut == {"dog", "cat"}  # left out of the largest two, so not all are known
    for seed in range(20):
        view = draw_view(np.random.default_rng(seed), yard, 20)
        assert view.masks.shape[1:] == view.frame.shape[:2]
        assert len(view.masks) == len(view.regions) > 0
        for region, mask in zip(view.regions, view.masks, strict=True):
            if region.category == "dog":
                colours = np.unique(view.frame[mask].reshape(-1, 3), axis=0)
                assert len(colours) == 1  # a rectangle of one colour: the mask stands where it stands
