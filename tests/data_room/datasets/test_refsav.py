from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from instructseg.data import catalog
from instructseg.data.datasets.refsav import RefSav
from instructseg.data.records import DataError, Fault
from recipes.nano.layouts.clips import draw_clips
from recipes.nano.layouts.newer_videos import write_refsav
from tests.data_room.clip_truth import assert_same_frames, assert_same_masks, meant_by

CLIPS = draw_clips(["sav_055000", "sav_056001"], 1, size=(72, 96))
LISTED = range(0, len(CLIPS[0]), 2)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_refsav(tmp_path, CLIPS)
    return tmp_path


def test_listed_frames_of_the_videos(root: Path) -> None:
    dataset = RefSav.open(root)
    for clip, drawn in zip(dataset.clips, CLIPS, strict=True):
        assert_same_frames(clip, drawn, LISTED)
        for t, frame in enumerate(clip.frames):  # in one pass, and one by one
            np.testing.assert_array_equal(frame, clip.frames[t])
        assert len(clip.frames[1:]) == len(clip) - 1
        for expression in clip.expressions:
            assert_same_masks(clip, drawn, expression, meant_by(drawn, expression), LISTED)
    assert dataset[0].key_frame.shape == (72, 96, 3)
    assert not catalog.check("ref-sav", root, deep=True).problems


def test_missing_videos_and_frames_are_named(root: Path) -> None:
    file = root / "meta_expressions_valid.json"
    content = json.loads(file.read_text())
    content["videos"]["sav_055000"]["frames"][-1] = "00099"
    file.write_text(json.dumps(content))
    clip = RefSav.open(root).clips[0]
    with pytest.raises(DataError, match="it has 3 of the 4 listed frames"):
        list(clip.frames)
    with pytest.raises(DataError, match=r"sav_055000\.mp4"):
        clip.frames[3]
    content["videos"]["sav_055000"]["frames"][-1] = "00001"
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match="its frames are not in the order of time"):
        RefSav.open(root)
    content["videos"]["sav_055000"]["frames"][-1] = "last"
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match="frame 'last' is no number"):
        RefSav.open(root)
    write_refsav(root, CLIPS)
    video = root / "videos" / "sav_056" / "sav_056001.mp4"
    video.unlink()
    (problem,) = catalog.check("ref-sav", root).problems
    assert problem.fault is Fault.FILE and str(video) in str(problem)
