from __future__ import annotations

import json

import numpy as np
import pytest

from instructseg.data import catalog
from instructseg.data.datasets.revos import ReVos
from instructseg.data.records import DataError, Fault
from instructseg.data.referring_videos import VideoSampling
from instructseg.structures import Task
from recipes.nano.layouts.clips import HIDDEN, draw_clips
from recipes.nano.layouts.videos import write_revos
from tests.data_room.clip_truth import assert_same_frames, assert_same_masks, meant_by

SPLITS = {
    "train": draw_clips(["UVO/all/2E4T5NCywcE", "TAO/train/0041"], 1),
    "valid": draw_clips(["LVVIS/00021"], 2),
}


@pytest.fixture
def root(tmp_path):
    write_revos(tmp_path, SPLITS)
    return tmp_path


def edit(path, change):
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize("folder", ["JPEGImages", ""])
@pytest.mark.parametrize("split", ["train", "valid"])
def test_videos_are_those_that_were_written(tmp_path, split, folder):
    write_revos(tmp_path, SPLITS, folder)
    dataset = ReVos.open(tmp_path, split)
    assert dataset.task is Task.REASON_VOS
    assert [clip.name for clip in dataset.clips] == [drawn.name for drawn in SPLITS[split]]
    for clip, drawn in zip(dataset.clips, SPLITS[split], strict=True):
        assert_same_frames(clip, drawn)
        *single, everything, nothing = clip.expressions
        for expression in single:
            assert expression.type == "referring"
            assert_same_masks(clip, drawn, expression, meant_by(drawn, expression))
        assert everything.type == "reasoning" and len(everything.objects) == len(drawn.objects)
        assert_same_masks(clip, drawn, everything, drawn.objects)
        assert nothing.type == "no target" and nothing.objects == ()
        assert_same_masks(clip, drawn, nothing, [])
    assert not catalog.check("revos", tmp_path, deep=True).problems


def test_foreground_is_the_recorded_one_or_the_union(root):
    (clip,), (drawn,) = ReVos.open(root, "valid").clips, SPLITS["valid"]
    (plain,) = ReVos.open(root, "valid", foreground=False).clips
    for t in range(len(drawn)):
        np.testing.assert_array_equal(clip.foreground(t), drawn.mask(drawn.objects, t))
        np.testing.assert_array_equal(plain.foreground(t), drawn.mask(drawn.objects, t))
    edit(
        root / "mask_dict_foreground.json",
        lambda content: content["LVVIS/00021"]["masks_rle"].__setitem__(3, None),
    )
    (clip,) = ReVos.open(root, "valid").clips
    assert not clip.foreground(3).any() and clip.foreground(4).any()


def test_training_skips_and_counts_expressions_without_target(root):
    dataset = ReVos.open(root, "train")
    assert dataset.counts()["skipped: without target"] == 2
    assert len(dataset) == dataset.counts()["expressions"] - 2
    for index in range(len(dataset)):
        assert dataset[index].masks.any()
    everything = ReVos.open(root, "train", sampling=VideoSampling(no_target=True))
    nothing = [everything[i] for i in range(len(everything)) if everything[i].meta["type"] == "no target"]
    assert len(nothing) == 2
    assert all(sample.masks.shape == (0, *sample.key_frame.shape[:2]) for sample in nothing)


def test_videos_are_left_out_by_pattern(root):
    dataset = ReVos.open(root, "train", sampling=VideoSampling(exclude=["TAO/*"]))
    assert [clip.name for clip in dataset.clips] == ["UVO/all/2E4T5NCywcE"]
    assert dataset.counts()["skipped: excluded"] == len(SPLITS["train"][1].said) * 2 + 2
    assert dataset.published == {}


def test_an_id_that_does_not_join_is_named(root):
    edit(root / "mask_dict.json", lambda content: content.pop("0"))
    problems = catalog.check("revos", root).problems
    assert {p.fault for p in problems} == {Fault.ID}
    assert str(problems[0]).endswith(
        "mask_dict.json, object 0: is missing, but UVO/all/2E4T5NCywcE refers to it"
    )
    dataset = ReVos.open(root, "train")
    with pytest.raises(DataError, match=r"mask_dict.json, object 0: is missing"):
        dataset[0]


def test_an_object_that_is_never_visible_is_skipped(root):
    edit(root / "mask_dict.json", lambda content: content.update({"0": [None] * 8}))
    dataset = ReVos.open(root, "train")
    assert dataset.counts()["skipped: never visible"] == len(SPLITS["train"][0].said[0])
    assert not catalog.check("revos", root).problems


def test_masks_of_another_size_and_tracks_of_another_length_are_found(root):
    height, width = SPLITS["train"][0].size

    def damage(content):
        content["0"][2]["size"] = [9, 11]
        content["1"] = content["1"][:-1]

    edit(root / "mask_dict.json", damage)
    texts = [str(problem) for problem in catalog.check("revos", root).problems]
    name, file = "UVO/all/2E4T5NCywcE", root / "mask_dict.json"
    assert texts == [
        f"{file}, object 0: a mask of 9 x 11 for {name} of {height} x {width} (height x width)",
        f"{file}, object 1: masks of 7 frames, but {name} has 8",
    ]
    clip = ReVos.open(root, "train").clips[0]
    with pytest.raises(DataError, match=r"object 0, frame 2: damaged RLE mask"):
        clip.mask(clip.expressions[0], 2)
    with pytest.raises(DataError, match=r"object 1, frame 7: there are masks of 7 frames only"):
        clip.mask(clip.expressions[2], 7)


def test_uncompressed_run_lengths_are_read(root):
    height, width = SPLITS["train"][0].size

    def spell_out(content):
        content["0"][HIDDEN[0]] = {"size": [height, width], "counts": [0, 3, height * width - 3]}

    edit(root / "mask_dict.json", spell_out)
    clip = ReVos.open(root, "train").clips[0]
    mask = clip.mask(clip.expressions[0], HIDDEN[0])
    assert mask[:3, 0].all() and mask.sum() == 3


def test_damaged_files_are_named(root):
    edit(root / "mask_dict.json", lambda content: content.update({"0": ["x"]}))
    with pytest.raises(DataError, match=r"mask_dict.json, object 0: is not a list of nulls"):
        ReVos.open(root, "train")
    edit(root / "meta_expressions_valid_.json", lambda content: content["videos"]["LVVIS/00021"].pop("height"))
    with pytest.raises(DataError, match=r"meta_expressions_valid_.json: not a ReVOS meta file: no 'height'"):
        ReVos.open(root, "valid")
    (root / "meta_expressions_train_.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"meta_expressions_train_.json"):
        ReVos.open(root, "train")
