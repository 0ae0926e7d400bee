from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from instructseg.data import catalog
from instructseg.data.datasets.reasonvos import ReasonVos
from instructseg.data.records import DataError, Fault
from instructseg.structures import Task
from recipes.nano.layouts.clips import draw_clips
from recipes.nano.layouts.newer_videos import write_reasonvos
from tests.data_room.clip_truth import assert_same_frames, assert_same_masks, meant_by

CLIPS = draw_clips(["0ab4afe7", "street"], 1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_reasonvos(tmp_path, CLIPS)
    return tmp_path


def test_videos_are_those_that_were_written(root: Path) -> None:
    dataset = ReasonVos.open(root)
    assert dataset.task is Task.REASON_VOS
    for clip, drawn in zip(dataset.clips, CLIPS, strict=True):
        assert_same_frames(clip, drawn)
        for expression in clip.expressions:
            assert_same_masks(clip, drawn, expression, meant_by(drawn, expression))
    assert [{one.type for one in clip.expressions} for clip in dataset.clips] == [{"phrase"}, {"sentence"}]
    assert not catalog.check("reasonvos", root, deep=True).problems


def test_expressions_may_be_a_list(root: Path) -> None:
    file = root / "meta_expressions.json"
    before = [clip.expressions for clip in ReasonVos.open(root).clips]
    content = json.loads(file.read_text())
    for video in content["videos"].values():
        sent = video.pop("is_sent")
        video["expressions"] = [
            {**one, "exp_id": int(n), "is_sent": sent} for n, one in video["expressions"].items()
        ]
    file.write_text(json.dumps(content))
    assert [clip.expressions for clip in ReasonVos.open(root).clips] == before


def test_missing_masks_and_damaged_files_are_named(root: Path) -> None:
    folder = sorted((root / "Annotations").iterdir())[0]
    shutil.rmtree(folder)
    problems = catalog.check("reasonvos", root).problems
    assert [(problem.fault, Path(problem.where).name.lower()) for problem in problems] == [
        (Fault.FILE, folder.name.lower())
    ]
    (root / "meta_expressions.json").write_text('{"videos": {"a": {"frames": ["0"]}}}')
    with pytest.raises(DataError, match="not a ReasonVOS meta file: no 'source'"):
        ReasonVos.open(root)
