from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from instructseg.data import catalog
from instructseg.data.datasets.refytvos import CONVERTED, RefYtVos
from instructseg.data.records import DataError, Fault
from instructseg.data.referring_videos import VideoSampling
from instructseg.structures import Task
from recipes.nano.layouts.clips import HIDDEN, draw_clips
from recipes.nano.layouts.refytvos import (
    write_refytvos,
    write_refytvos_2020,
    write_refytvos_converted,
)
from tests.data_room.clip_truth import assert_same_frames, assert_same_masks, meant_by

SPLITS = {
    "train": draw_clips(["003234408d", "0043f083b5"], 1),
    "valid": draw_clips(["0062f687f1"], 2),
    "test": draw_clips(["00f88c4f0a", "01c88b5b60"], 3),
}
TWO = {split: SPLITS[split] for split in ("train", "valid")}


def edit(path: Path, change) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def root(tmp_path):
    write_refytvos(tmp_path, SPLITS)
    return tmp_path


@pytest.fixture
def converted(tmp_path):
    write_refytvos_converted(tmp_path, TWO)
    return tmp_path


@pytest.mark.parametrize("split", ["train", "valid"])
def test_videos_are_those_that_were_written(root, split):
    dataset = RefYtVos.open(root, split)
    assert [clip.name for clip in dataset.clips] == [drawn.name for drawn in SPLITS[split]]
    for clip, drawn in zip(dataset.clips, SPLITS[split], strict=True):
        assert clip.frame_names[:3] == ("00000", "00005", "00010")
        assert_same_frames(clip, drawn)
        assert [e.text for e in clip.expressions] == [text for i in drawn.objects for text in drawn.said[i]]
        assert [e.id for e in clip.expressions] == [str(n) for n in range(len(clip.expressions))]
        for expression in clip.expressions:
            assert_same_masks(clip, drawn, expression, meant_by(drawn, expression))


def test_valid_without_local_masks_has_no_truth(root):
    for path in sorted((root / "valid" / "Annotations").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (root / "valid" / "Annotations").rmdir()
    dataset = RefYtVos.open(root, "valid")
    (clip,) = dataset.clips
    assert clip.mask(clip.expressions[0], 0) is None and clip.foreground(0) is None
    assert len(dataset) == len(clip.expressions)
    assert dataset[0].masks is None
    assert not catalog.check("refytvos", root).problems


def test_the_test_videos_are_taken_out_of_valid(root):
    listed = json.loads((root / "meta_expressions/valid/meta_expressions.json").read_text())["videos"]
    assert len(listed) == 3
    assert len(RefYtVos.open(root, "valid").clips) == 1


def test_another_number_of_validation_videos_is_refused_with_both_numbers(root):
    (root / "counts.json").unlink()  # now the published number holds
    with pytest.raises(
        DataError, match=r"3 videos of valid without the 2 of test leave 1, expected 202.*official_count=False"
    ):
        RefYtVos.open(root, "valid")
    assert len(RefYtVos.open(root, "valid", official_count=False).clips) == 1


def test_without_the_test_file_there_is_no_validation_set(root):
    path = root / "meta_expressions/test/meta_expressions.json"
    path.unlink()
    with pytest.raises(FileNotFoundError, match=str(path)):
        RefYtVos.open(root, "valid")


def test_joined_gives_all_sentences_of_an_object(root):
    clip, drawn = RefYtVos.open(root, "train", sentences="joined").clips[0], SPLITS["train"][0]
    assert [e.text for e in clip.expressions] == [". ".join(drawn.said[i]) for i in drawn.objects]
    assert [e.objects for e in clip.expressions] == [(str(i + 1),) for i in drawn.objects]


@pytest.mark.parametrize("first_frame", [False, True])
def test_the_2020_files(tmp_path, first_frame):
    write_refytvos_2020(tmp_path, TWO)
    for split, all_drawn in TWO.items():
        dataset = RefYtVos.open(tmp_path, split, first_frame=first_frame)
        for clip, drawn in zip(dataset.clips, all_drawn, strict=True):
            assert_same_frames(clip, drawn)
            count = 1 if first_frame else 2
            said = [text for i in drawn.objects for text in drawn.said[i][:count]]
            assert [e.text for e in clip.expressions] == said
            for expression in clip.expressions:
                assert_same_masks(clip, drawn, expression, meant_by(drawn, expression))
    assert not catalog.check("refytvos", tmp_path, deep=True).problems


def converted_pairs(dataset):
    """Video, drawn video, object, and the frames that the file keeps."""
    clips = iter(dataset.clips)
    for drawn in TWO["train"]:
        for i in drawn.objects:
            kept = [t for t in range(len(drawn)) if i == 0 or drawn.scene.area(i, t)]
            yield next(clips), drawn, i, kept


def test_null_frames_of_a_converted_file_have_no_mask(converted):
    for clip, drawn, i, kept in converted_pairs(RefYtVos.open_converted(converted, "train")):
        assert clip.name == f"{drawn.name}/{clip.expressions[0].objects[0]}"
        assert tuple(e.text for e in clip.expressions) == drawn.said[i]
        assert_same_frames(clip, drawn, kept)
        assert_same_masks(clip, drawn, clip.expressions[0], [i], kept)


def test_the_official_reader_gives_null_frames_the_masks_of_others(converted):
    dataset = RefYtVos.open_converted(converted, "train", official_misaligned_null_frames=True)
    for clip, drawn, i, kept in converted_pairs(dataset):
        visible = [t for t in kept if drawn.scene.area(i, t)]
        for place in range(len(kept)):
            expected = drawn.mask([i] if place < len(visible) else [], visible[min(place, len(visible) - 1)])
            np.testing.assert_array_equal(clip.mask(clip.expressions[0], place), expected)
    first = dataset.clips[0]
    assert first.mask(first.expressions[0], HIDDEN[0]).any()  # the object cannot be seen there


def test_converted_expressions_share_their_video(converted):
    write_refytvos(converted, SPLITS)  # brings the masks of valid
    for clip, drawn in zip(RefYtVos.open_converted(converted, "valid").clips, TWO["valid"], strict=True):
        assert clip.name == drawn.name
        assert_same_frames(clip, drawn)
        for expression in clip.expressions:
            assert_same_masks(clip, drawn, expression, meant_by(drawn, expression))


def test_a_mixed_in_davis_video_is_found_in_its_own_folder(converted, tmp_path_factory):
    davis = tmp_path_factory.mktemp("davis")

    def move(content):
        video = content["videos"][0]
        video["file_names"] = [f"davis/{name}" for name in video["file_names"]]
        content["videos"][1]["file_names"] = [f"youtube/{n}" for n in content["videos"][1]["file_names"]]

    edit(converted / CONVERTED["train"], move)
    with pytest.raises(DataError, match="is a file of Ref-DAVIS17: pass its folder as davis"):
        RefYtVos.open_converted(converted, "train")
    first, second, *_ = RefYtVos.open_converted(converted, "train", davis=davis).clips
    assert first.frames.path(0) == davis / "003234408d" / "00000.jpg"
    assert second.frames.path(0).is_file()


def test_polygons_of_a_converted_file(converted):
    def draw(content):
        entry = content["annotations"][0]["segmentations"]
        entry[0] = [[10, 10, 30, 10, 30, 20, 10, 20], [1, 1, 2, 2]]
        entry[1] = [[1, 1, 2, 2]]

    edit(converted / CONVERTED["train"], draw)
    clip = RefYtVos.open_converted(converted, "train").clips[0]
    expected = np.zeros(clip.size, np.uint8)
    expected[10:20, 10:30] = 1
    np.testing.assert_array_equal(clip.mask(clip.expressions[0], 0), expected)
    assert not clip.mask(clip.expressions[0], 1).any()


def test_an_annotation_that_does_not_join_is_named(converted):
    edit(converted / CONVERTED["train"], lambda content: content["annotations"][0].update(video_id=77))
    with pytest.raises(DataError, match=r"refyoutube_train.json, video 1: no annotation has this video_id"):
        RefYtVos.open_converted(converted, "train")


def test_two_annotations_of_a_video_are_refused(converted):
    edit(converted / CONVERTED["train"], lambda content: content["annotations"][1].update(video_id=1))
    with pytest.raises(DataError, match="two annotations have the same video_id"):
        RefYtVos.open_converted(converted, "train")


def test_training_samples_show_their_object(root):
    dataset = RefYtVos.open(root, "train")
    for index in range(len(dataset)):
        for seed in range(5):
            sample = dataset.draw(index, np.random.default_rng(seed))
            assert sample.task is Task.RVOS and len(sample.reference_frames) == 4
            assert sample.masks.shape == (1, *sample.key_frame.shape[:2]) and sample.masks.any()
            drawn = next(d for d in SPLITS["train"] if d.name == sample.meta["clip"])
            t = int(sample.meta["frame"]) // 5
            i = int(sample.meta["objects"][0]) - 1
            assert sample.instruction in drawn.said[i]
            np.testing.assert_array_equal(sample.masks[0], drawn.mask([i], t))


def test_a_missing_frame_and_a_missing_mask_are_found(root):
    frame = root / "train/JPEGImages/003234408d/00010.jpg"
    mask = root / "train/Annotations/0043f083b5/00015.png"
    frame.unlink()
    mask.unlink()
    problems = catalog.check("refytvos", root).problems
    assert {(p.fault, p.where) for p in problems} == {(Fault.FILE, str(frame)), (Fault.FILE, str(mask))}
    clip = RefYtVos.open(root, "train").clips[1]
    with pytest.raises(FileNotFoundError, match=str(mask)):
        clip.mask(clip.expressions[0], 3)


def test_a_mask_of_another_size_is_found(root):
    from instructseg.masks import save_palette_png

    path = root / "train/Annotations/003234408d/00000.png"
    save_palette_png(path, np.zeros((5, 7), np.uint8))
    height, width = SPLITS["train"][0].size
    (problem,) = catalog.check("refytvos", root, deep=True).problems
    assert problem.fault is Fault.MASK
    assert str(problem) == f"{path}: a mask of 5 x 7 for frames of {height} x {width} (height x width)"


def test_a_coloured_mask_and_a_broken_one_are_distinguished(root):
    from instructseg.media import save_image

    clip = RefYtVos.open(root, "train").clips[0]
    folder = root / "train/Annotations/003234408d"
    save_image(folder / "00000.png", np.zeros((*clip.size, 3), np.uint8))
    (folder / "00005.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"00000.png: holds colours \(mode RGB\), not object ids"):
        clip.mask(clip.expressions[0], 0)
    with pytest.raises(DataError, match=r"00005.png: is no image"):
        clip.mask(clip.expressions[0], 1)


def test_an_object_that_the_meta_file_does_not_know_is_found(root):
    edit(root / "train/meta.json", lambda content: content["videos"]["003234408d"]["objects"].pop("2"))
    problems = catalog.check("refytvos", root).problems
    assert {p.fault for p in problems} == {Fault.ID}
    assert "video 003234408d: no object 2, which expression" in str(problems[0])


def test_a_damaged_meta_file_is_named(root):
    path = root / "meta_expressions/train/meta_expressions.json"
    edit(path, lambda content: content["videos"]["003234408d"].pop("frames"))
    with pytest.raises(DataError, match=r"meta_expressions.json: not a meta_expressions file: no 'frames'"):
        RefYtVos.open(root, "train")
    edit(path, lambda content: content.pop("videos"))
    with pytest.raises(DataError, match="holds no 'videos' by name"):
        RefYtVos.open(root, "train")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "val"}, "Ref-YouTube-VOS has no split 'val': there are train, valid"),
        ({"split": "train", "sentences": "all"}, "sentences must be 'each' or 'joined', got 'all'"),
        ({"split": "train", "sampling": VideoSampling(references=-1)}, "references must not be negative"),
    ],
)
def test_wrong_arguments_are_refused(root, arguments, message):
    with pytest.raises(ValueError, match=message):
        RefYtVos.open(root, **arguments)


def test_counts_and_publication(root):
    assert RefYtVos.open(root, "train").published == {"videos": 3471}
    report = catalog.check("refytvos", root, deep=True)
    assert not report.problems
    assert all(count.found == count.expected for count in report.counts)
    (root / "counts.json").write_text(json.dumps({"train": {"videos": 9}, "valid": {"videos": 1}}))
    (problem,) = catalog.check("refytvos", root).problems
    assert problem.fault is Fault.COUNT and "2 videos, expected 9" in str(problem)


def test_the_2020_files_may_lie_with_their_split(tmp_path):
    write_refytvos_2020(tmp_path, TWO)
    for split in TWO:
        (tmp_path / "meta_expressions" / split / "meta_expressions.json").rename(
            tmp_path / split / "meta_expressions.json"
        )
    assert [clip.name for clip in RefYtVos.open(tmp_path, "valid").clips] == ["0062f687f1"]
