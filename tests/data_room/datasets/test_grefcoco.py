from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from instructseg.data import catalog
from instructseg.data.datasets.grefcoco import SPLITS, GRefCoco
from instructseg.data.records import DataError, Fault
from recipes.nano.layouts.images import write_grefcoco, write_python2_pickle
from recipes.nano.layouts.scenes import draw_images

COUNT, SEED = 2, 11


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_grefcoco(tmp_path, COUNT, SEED)
    return tmp_path


def test_one_several_and_no_target(root: Path) -> None:
    drawn = {picture.number: picture for picture in draw_images(4 * COUNT, SEED)}
    for place, split in enumerate(SPLITS):
        part = GRefCoco.open(root, split)
        sizes = set()
        for index in range(len(part)):
            sample = part[index]
            picture = drawn[sample.meta["image_id"]]
            assert place * COUNT < picture.number <= (place + 1) * COUNT
            targets = [number - 1000 * picture.number for number in sample.meta["ann_ids"]]
            assert sample.masks is not None
            assert sample.masks.shape == (len(targets), *picture.pixels.shape[:2])
            for mask, i in zip(sample.masks, targets, strict=True):
                np.testing.assert_array_equal(mask, picture.mask(i))
            if sample.instruction == "Everything but the background":  # as written, not as cleaned
                np.testing.assert_array_equal(sample.masks.any(axis=0), picture.scene.ids[0] > 0)
            elif sample.instruction == picture.absent():
                assert not targets
            else:
                assert sample.instruction in picture.said[targets[0]]
            sizes.add(min(len(targets), 2))
        assert sizes == {0, 1, 2}
        counts = part.counts()
        assert counts["multi-target sentences"] == counts["no-target sentences"] == counts["images"] == COUNT


def test_a_pickle_is_preferred(root: Path) -> None:
    file = root / "grefcoco" / "grefs(unc).json"
    refs = json.loads(file.read_text())
    write_python2_pickle(file.with_suffix(".p"), refs[:1])
    assert GRefCoco.open(root, "train").counts()["refs"] == 1
    file.unlink()
    assert GRefCoco.open(root, "train").counts()["refs"] == 1


def test_crowds_are_no_targets(root: Path) -> None:
    file = root / "grefcoco" / "instances.json"
    content = json.loads(file.read_text())
    part = GRefCoco.open(root, "train")
    index = next(i for i in range(len(part)) if len(part[i].meta["ann_ids"]) > 1)
    crowd = part[index].meta["ann_ids"][0]
    before = part[index].masks
    next(entry for entry in content["annotations"] if entry["id"] == crowd)["iscrowd"] = 1
    file.write_text(json.dumps(content))
    after = GRefCoco.open(root, "train")[index].masks
    assert before is not None
    np.testing.assert_array_equal(after, before[1:])


def test_errors(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="gRefCOCO has no split 'test'"):
        GRefCoco.open(root, "test")
    (root / "grefcoco" / "grefs(unc).json").write_text('[{"ref_id": 1}]')
    with pytest.raises(DataError, match=r"grefs\(unc\)\.json: not a list of refs"):
        GRefCoco.open(root)
    (root / "grefcoco" / "grefs(unc).json").unlink()
    with pytest.raises(FileNotFoundError, match=r"grefs\(unc\)\.json: the file is missing"):
        GRefCoco.open(root)


def test_check(root: Path) -> None:
    next((root / "images" / "train2014").glob("*.jpg")).unlink()
    report = catalog.check("grefcoco", root)
    assert {problem.fault for problem in report.problems} == {Fault.COUNT, Fault.FILE}
