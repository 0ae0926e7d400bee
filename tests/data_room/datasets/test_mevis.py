from __future__ import annotations

import json

import numpy as np
import pytest

from instructseg.data import catalog
from instructseg.data.datasets.mevis import PUBLISHED, MeVis
from instructseg.data.records import DataError
from instructseg.data.referring_videos import VideoSampling
from instructseg.structures import Task
from recipes.nano.layouts.clips import draw_clips
from recipes.nano.layouts.newer_videos import write_mevis_v2
from recipes.nano.layouts.videos import write_mevis
from tests.data_room.clip_truth import assert_same_frames, assert_same_masks, meant_by

SPLITS = {
    "train": draw_clips(["002b4dce892c", "01e2f9a1"], 1),
    "valid_u": draw_clips(["0a1d3c5e"], 2),
    "valid": draw_clips(["0f2b4d6e"], 3),
}


@pytest.fixture
def root(tmp_path):
    write_mevis(tmp_path, SPLITS)
    return tmp_path


@pytest.mark.parametrize("split", ["train", "valid_u"])
def test_videos_are_those_that_were_written(root, split):
    dataset = MeVis.open(root, split)
    assert dataset.task is Task.RVOS and dataset.published == PUBLISHED[1][split]
    for clip, drawn in zip(dataset.clips, SPLITS[split], strict=True):
        assert clip.name == drawn.name
        assert_same_frames(clip, drawn)
        *single, everything = clip.expressions
        for expression in single:
            assert_same_masks(clip, drawn, expression, meant_by(drawn, expression))
        assert everything.text == "everything that is shown"
        assert_same_masks(clip, drawn, everything, drawn.objects)
    assert not catalog.check("mevis", root, deep=True).problems


def test_the_truth_of_valid_is_not_public(root):
    dataset = MeVis.open(root, "valid")
    (clip,) = dataset.clips
    assert all(clip.mask(expression, 0) is None for expression in clip.expressions)
    assert dataset[0].masks is None and len(dataset) == len(clip.expressions)


def test_version_2_has_expressions_without_a_target(tmp_path):
    write_mevis_v2(tmp_path, SPLITS)
    dataset = MeVis.open(tmp_path, "valid_u", version=2)
    assert dataset.published == PUBLISHED[2]["valid_u"] and dataset.name == "mevis-v2/valid_u"
    (clip,) = dataset.clips
    *_, nothing = clip.expressions
    assert nothing.objects == () and not clip.mask(nothing, 0).any()
    assert len(dataset) == len(clip.expressions) - 1
    with_all = MeVis.open(tmp_path, "valid_u", version=2, sampling=VideoSampling(no_target=True))
    assert len(with_all) == len(clip.expressions)
    assert not catalog.check("mevis-v2", tmp_path, deep=True).problems


def test_expressions_can_be_left_as_they_are(root):
    assert (
        MeVis.open(root, "valid_u", normalize=False).clips[0].expressions[-1].text
        == "Everything  that is shown "
    )


def test_time_runs_forwards(root):
    dataset = MeVis.open(root, "train")
    frames = {clip.name: list(clip.frames) for clip in dataset.clips}
    for seed in range(30):
        sample = dataset.draw(seed % len(dataset), np.random.default_rng(seed))
        found = [
            next(t for t, frame in enumerate(frames[sample.meta["clip"]]) if np.array_equal(frame, reference))
            for reference in sample.reference_frames
        ]
        assert found == sorted(found)


def test_training_drops_videos_of_one_frame_and_counts_them(root):
    path = root / "train/meta_expressions.json"
    content = json.loads(path.read_text())
    content["videos"]["01e2f9a1"]["frames"] = ["00000"]
    path.write_text(json.dumps(content))
    counts = MeVis.open(root, "train").counts()
    assert counts["videos"] == 1 and counts["skipped: videos of one frame"] == 1


def test_a_damaged_meta_file_and_a_missing_one_are_named(root):
    path = root / "train/meta_expressions.json"
    path.write_text(json.dumps({"videos": {"a": {"frames": ["0", "1"]}}}))
    with pytest.raises(
        DataError, match=r"train/meta_expressions.json: not a MeViS meta file: no 'expressions'"
    ):
        MeVis.open(root, "train")
    (root / "valid_u/mask_dict.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"valid_u/mask_dict.json"):
        MeVis.open(root, "valid_u")
    with pytest.raises(ValueError, match=r"no split 'test': there are train, valid_u, valid"):
        MeVis.open(root, "test")
