from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from instructseg.data import catalog
from instructseg.data.datasets.longrvos import LongRvos
from instructseg.data.records import DataError, Fault
from recipes.nano.layouts.clips import HIDDEN, draw_clips
from recipes.nano.layouts.newer_videos import write_longrvos
from tests.data_room.clip_truth import assert_same_frames, assert_same_masks, meant_by

SPLITS = {"train": draw_clips(["a1"], 1), "valid": draw_clips(["b2", "b3"], 2), "test": draw_clips(["c4"], 3)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_longrvos(tmp_path, SPLITS)
    return tmp_path


@pytest.mark.parametrize("split", ["train", "valid"])
def test_videos_are_those_that_were_written(root: Path, split: str) -> None:
    dataset = LongRvos.open(root, split)
    for clip, drawn in zip(dataset.clips, SPLITS[split], strict=True):
        assert_same_frames(clip, drawn)
        for expression in clip.expressions:
            assert_same_masks(clip, drawn, expression, meant_by(drawn, expression))
        first = next(one for one in clip.expressions if one.objects == ("1",))
        assert all(not clip.mask(first, t).any() for t in HIDDEN)  # no file of it
        assert {one.type for one in clip.expressions} == {"static", "dynamic", "hybrid"}
    assert not catalog.check("long-rvos", root, deep=True).problems


def test_a_split_without_annotations_has_no_truth(root: Path) -> None:
    (clip,) = LongRvos.open(root, "test").clips
    assert clip.truth is None and clip.mask(clip.expressions[0], 0) is None


def test_missing_objects_and_damaged_files_are_named(root: Path) -> None:
    folder = root / "valid" / "Annotations" / "b2" / "1"
    shutil.rmtree(folder)
    (problem,) = catalog.check("long-rvos", root).problems
    assert problem.fault is Fault.FILE and str(folder) in str(problem)
    clip = LongRvos.open(root).clips[0]
    with pytest.raises(FileNotFoundError, match="b2/1"):
        clip.mask(next(one for one in clip.expressions if one.objects == ("1",)), 2)
    (root / "valid" / "meta_expressions.json").write_text('{"videos": {"a": {"frames": ["0"]}}}')
    with pytest.raises(DataError, match="not a Long-RVOS meta file: no 'expressions'"):
        LongRvos.open(root)
    with pytest.raises(ValueError, match="no split 'val': there are valid, train, test"):
        LongRvos.open(root, "val")
