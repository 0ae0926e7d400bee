from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from recipes.mini.photographs import PhotographFiles, read_photographs
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


def test_a_file_as_coco_publishes_it_with_expressions_of_people(tmp_path: Path) -> None:
    square = [10.0, 10.0, 30.0, 10.0, 30.0, 25.0, 10.0, 25.0]
    images = [{"id": n, "file_name": f"{n}.jpg", "height": 40, "width": 60} for n in (7, 8, 9)]
    masks = [
        {"id": n, "image_id": image, "category_id": 18, "iscrowd": crowd, "segmentation": found}
        for n, image, crowd, found in (
            (1, 7, 0, [square]),
            (2, 7, 1, {"size": [40, 60], "counts": [0, 40, 40 * 59]}),
            (3, 8, 0, [square]),
            (4, 9, 0, [square]),
        )
    ]
    content = {"images": images, "annotations": masks, "categories": [{"id": 18, "name": "dog"}]}
    (tmp_path / "instances.json").write_text(json.dumps(content))
    refs = [
        {"ref_id": n, "ann_id": ann, "image_id": image, "split": split, "sent_ids": [n]}
        | {"sentences": [{"sent_id": n, "sent": text}]}
        for n, ann, image, split, text in (
            (1, 1, 7, "train", "left dog"),
            (2, 1, 7, "train", "the brown one"),
            (3, 3, 8, "testA", "dog"),
        )
    ]
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
    files = PhotographFiles(tmp_path / "instances.json", tmp_path / "train", (tmp_path / "refs(unc).p",))
    first, last = read_photographs(files, "train").images  # what RefCOCO tests with is not trained on
    assert (first.file, last.file) == (tmp_path / "train/7.jpg", tmp_path / "train/9.jpg")
    one, crowd = first.regions
    expected = np.zeros((40, 60), bool)
    expected[10:25, 10:30] = True
    np.testing.assert_array_equal(one.mask(), expected)
    assert one.single and one.said == ("left dog", "the brown one")
    assert not crowd.single and crowd.mask().sum() == 40 and crowd.mask()[:, 0].all() and not crowd.said
    assert first.complete == "all" and first.source == "coco" and len(read_photographs(files, "val")) == 3


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
    assert not whole.cut and whole.entire
    areas = whole.masks.sum((1, 2))
    assert (np.diff(areas) <= 0).all()  # the largest first
    assert whole_view(yard, 2).cut == {"dog", "cat"}  # left out of the largest two, so not all are known
    for seed in range(20):
        view = draw_view(np.random.default_rng(seed), yard, 20)
        assert view.masks.shape[1:] == view.frame.shape[:2]
        assert len(view.masks) == len(view.regions) > 0
        assert view.entire == (view.frame.shape == whole.frame.shape)
        for region, mask in zip(view.regions, view.masks, strict=True):
            if region.category == "dog":
                colours = np.unique(view.frame[mask].reshape(-1, 3), axis=0)
                assert len(colours) == 1  # a rectangle of one colour: the mask stands where it stands
