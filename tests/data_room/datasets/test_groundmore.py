from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from instructseg.data import catalog
from instructseg.data.datasets.groundmore import FPS, GroundMore
from instructseg.data.records import DataError
from instructseg.structures import Task
from recipes.nano.layouts.clips import draw_clips
from recipes.nano.layouts.newer_videos import write_groundmore
from tests.data_room.clip_truth import assert_same_frames, assert_same_masks, meant_by

SPLITS = {"test": draw_clips(["show_0010_0012"], 2), "train": draw_clips(["film_0010_0012", "b_0010_0012"], 3)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_groundmore(tmp_path, SPLITS)
    return tmp_path


@pytest.mark.parametrize("split", ["test", "train"])
def test_objects_are_there_during_the_action_alone(root: Path, split: str) -> None:
    dataset = GroundMore.open(root, split)
    assert dataset.task is Task.REASON_VOS
    for clip, drawn in zip(dataset.clips, SPLITS[split], strict=True):
        assert_same_frames(clip, drawn)
        for expression in clip.expressions:
            (i,) = meant_by(drawn, expression)
            for t in range(len(clip)):
                mask = clip.mask(expression, t)
                shown = FPS < t < 2 * FPS  # the mask file of frame FPS is missing
                assert mask is not None and (mask == (drawn.mask([i], t) if shown else 0)).all()
        assert {one.type for one in clip.expressions} >= {"causal", "sequential", "counterfactual"}
    assert not catalog.check("groundmore", root, deep=True).problems


def test_times_of_an_hour_and_an_action_from_the_first_frame(root: Path) -> None:
    file = root / "test_v2.json"
    content = json.loads(file.read_text())
    (video,) = content["videos"].values()
    for entry in video["questions"].values():
        entry |= {"action_start": "0:00:10", "action_end": "0:12"}
    file.write_text(json.dumps(content))
    (clip,) = GroundMore.open(root).clips
    shutil.copyfile(clip.truth.where("", 0), clip.truth.where("", FPS))  # any mask for the frame without one
    last = clip.expressions[-1]
    assert_same_masks(clip, SPLITS["test"][0], last, meant_by(SPLITS["test"][0], last), range(FPS))


def test_videos_without_frames_are_counted_and_damage_is_named(root: Path) -> None:
    shutil.rmtree(root / "annotations" / "film_0010_0012" / "images")
    assert GroundMore.open(root, "train").counts()["skipped: videos without frames"] == 1
    file = root / "test_v2.json"
    content = json.loads(file.read_text())
    (video,) = content["videos"].values()
    video["questions"]["0"]["action_end"] = "soon"
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match="action_end 'soon' is no time such as 0:12"):
        GroundMore.open(root)
    file.write_text(json.dumps({"videos": {"show": video}}))
    with pytest.raises(DataError, match="'show' does not end in start and end, as in _0010_0020"):
        GroundMore.open(root)
    with pytest.raises(ValueError, match="no split 'valid': there are test, train"):
        GroundMore.open(root, "valid")
