from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from instructseg.data import catalog
from instructseg.data.custom.custom_videos import CustomVideos, VideoFrames, open_frames
from instructseg.data.records import DataError, Fault
from instructseg.media import open_video, save_image
from instructseg.structures import Task
from recipes.nano.layouts.clips import draw_clips
from recipes.nano.layouts.videos import write_custom_videos, write_custom_ytvis
from tests.data_room.clip_truth import assert_same_frames, assert_same_masks, meant_by

DRAWN = draw_clips(["street", "park", "yard"], 4, size=(72, 96))


@pytest.fixture
def root(tmp_path):
    write_custom_videos(tmp_path / "mine", DRAWN)
    return tmp_path / "mine"


@pytest.fixture
def ytvis(tmp_path):
    write_custom_ytvis(tmp_path / "tracks", DRAWN)
    return tmp_path / "tracks"


def write_table(path, *rows, columns=("video", "instruction", "mask", "object")):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])


def test_a_table_of_folders_a_video_file_and_tracks(root):
    dataset = CustomVideos.open(root, task=Task.REASON_VOS)
    assert dataset.name == "mine" and dataset[0].task is Task.REASON_VOS
    street, park, yard = dataset.clips
    for clip, drawn in zip(dataset.clips, DRAWN, strict=True):
        assert clip.name == f"videos/{drawn.name}"
        assert_same_frames(clip, drawn)
        assert clip.frame_names[-1] == "00007"
    for clip, drawn in ((park, DRAWN[1]), (yard, DRAWN[2])):
        for expression in clip.expressions:
            assert_same_masks(clip, drawn, expression, meant_by(drawn, expression))
    *single, everything, two, nothing = street.expressions
    for expression in single:
        assert_same_masks(street, DRAWN[0], expression, meant_by(DRAWN[0], expression))
    assert_same_masks(street, DRAWN[0], everything, DRAWN[0].objects)
    assert_same_masks(street, DRAWN[0], two, [0, 1])
    assert_same_masks(street, DRAWN[0], nothing, [])
    assert len(two.objects) == 2 and nothing.objects == ()
    report = catalog.check("custom-videos", root, deep=True)
    assert not report.problems and report.counts[0].expected == 3


def test_a_ytvis_file(ytvis):
    dataset = CustomVideos.open(ytvis)
    for clip, drawn in zip(dataset.clips, DRAWN, strict=True):
        assert_same_frames(clip, drawn)
        last = drawn.objects[-1]
        texts = [text for i in drawn.objects[:-1] for text in drawn.said[i]] + [f"thing {last + 1}"]
        assert [e.text for e in clip.expressions] == texts
        for expression in clip.expressions[:-1]:
            assert_same_masks(clip, drawn, expression, meant_by(drawn, expression))
        assert_same_masks(clip, drawn, clip.expressions[-1], [last])
    assert not catalog.check("custom-videos", ytvis / "annotations.json", deep=True).problems


def test_the_same_category_in_a_video_means_all_of_it(ytvis):
    path = ytvis / "annotations.json"
    content = json.loads(path.read_text())
    for entry in content["annotations"]:
        entry.pop("instruction", None)
        entry["category_id"] = 1
    path.write_text(json.dumps(content))
    for clip, drawn in zip(CustomVideos.open(ytvis).clips, DRAWN, strict=True):
        (expression,) = clip.expressions
        assert expression.text == "thing 1"
        assert_same_masks(clip, drawn, expression, drawn.objects)


def test_json_lines_splits_and_ids(root):
    rows = [
        {
            "video": "videos/street",
            "instruction": "one",
            "mask": "masks/street",
            "object": [1],
            "split": "train",
        },
        {"video": "videos/street", "instruction": "two", "split": "val", "id": "x7"},
    ]
    table = root / "instructions.jsonl"
    table.write_text("\n".join(json.dumps(row) for row in rows))
    (clip,) = CustomVideos.open(table, "val").clips
    assert clip.truth is None and clip.expressions[0].id == "x7"
    assert CustomVideos.open(table, "train").name == "mine/train"
    with pytest.raises(DataError, match=r"instructions.jsonl: no instructions of split 'test'"):
        CustomVideos.open(table, "test")


def test_folders_with_dots_are_different_videos(root):
    for name in ("scene.001", "scene.002"):
        save_image(root / name / "0.png", np.zeros((4, 4, 3), np.uint8))
    write_table(root / "instructions.csv", ("scene.001", "a dog", "", ""), ("scene.002", "a cat", "", ""))
    assert [clip.name for clip in CustomVideos.open(root).clips] == ["scene.001", "scene.002"]


@pytest.mark.parametrize("ids", [(0, 1), ("", ""), (None, None), ("0", 1)])
def test_instructions_are_distinguished_by_their_ids(root, ids):
    rows = [
        {"video": "videos/park.mp4", "instruction": text, "id": i} for text, i in zip("ab", ids, strict=True)
    ]
    (root / "instructions.csv").unlink()
    (root / "instructions.json").write_text(json.dumps(rows))
    (clip,) = CustomVideos.open(root).clips
    assert [expression.id for expression in clip.expressions] == ["0", "1"]


def test_results_that_would_have_the_same_name_are_refused(root):
    columns = ("video", "instruction", "id")
    table = root / "instructions.csv"
    write_table(table, ("videos/park.mp4", "a", "1"), ("videos/park.mp4", "b", ""), columns=columns)
    with pytest.raises(DataError, match=r"instructions\.csv, video videos/park: the expression id '1' comes"):
        CustomVideos.open(root)
    save_image(root / "videos" / "park" / "0.png", np.zeros((4, 4, 3), np.uint8))
    write_table(table, ("videos/park.mp4", "a", ""), ("videos/park", "b", ""), columns=columns)
    with pytest.raises(DataError, match=r"a video called 'videos/park' comes more than once"):
        CustomVideos.open(root)


def test_two_videos_of_a_ytvis_file_from_one_folder(ytvis):
    path = ytvis / "annotations.json"
    content = json.loads(path.read_text())
    first = content["videos"][0]
    later = {**first, "id": 77, "file_names": first["file_names"][4:]}
    entry = content["annotations"][0]
    cut = {**entry, "id": 99, "video_id": 77, "segmentations": entry["segmentations"][4:]}
    content["videos"].append(later)
    content["annotations"].append(cut)
    path.write_text(json.dumps(content))
    names = [clip.name for clip in CustomVideos.open(ytvis).clips]
    assert names[0] == f"street/{first['id']}" and names[-1] == "street/77" and len(set(names)) == 4


def test_frames_of_a_folder_are_in_natural_order(tmp_path):
    for number in (10, 9, 1):
        save_image(tmp_path / f"f{number}.png", np.full((4, 4, 3), number, np.uint8))
    (tmp_path / "notes.txt").write_text("no frame")
    frames, names = open_frames(tmp_path)
    assert names == ("f1", "f9", "f10") and [int(frame[0, 0, 0]) for frame in frames] == [1, 9, 10]


def test_frames_of_a_video_file_by_index(root):
    frames = VideoFrames(root / "videos/park.mp4")
    every = list(frames)
    assert len(frames) == len(every) == 8
    for t in (0, 3, 7, -1):
        np.testing.assert_array_equal(frames[t], every[t])
    assert len(frames[2:5]) == 3
    for t in (8, -9):
        with pytest.raises(IndexError, match=f"frame {t} of 8"):
            frames[t]


def test_a_video_file_is_measured_at_its_own_frame_rate(root):
    file = root / "videos/park.mp4"
    clip = open_video(VideoFrames(file))
    assert clip.timed
    assert clip.fps == open_video(file).fps
    assert not open_video(list(VideoFrames(file))).timed


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("", "a dog", "", ""), "instructions.csv, line 2: it has no video"),
        (("videos/street", "", "", ""), "instructions.csv, line 2: it has no instruction"),
        (("videos/street", "a", "dog", "", ""), "line 2: unknown column None"),
        (("videos/nowhere", "a dog", "", ""), "videos/nowhere is missing|nowhere: the file is missing"),
        (("videos/street", "a dog", "masks/nowhere", ""), "masks/nowhere: the file is missing"),
        (("masks", "a dog", "", ""), "masks: the folder has no frames"),
        (("instructions.csv", "a dog", "", ""), "instructions.csv"),
    ],
)
def test_faults_of_a_table_are_named(root, row, message):
    write_table(root / "instructions.csv", row)
    with pytest.raises((DataError, FileNotFoundError), match=message):
        CustomVideos.open(root)


def test_an_unknown_column_is_named(root):
    write_table(root / "instructions.csv", ("a", "b"), columns=("video", "text"))
    with pytest.raises(DataError, match="line 2: unknown column 'text': there are video, instruction"):
        CustomVideos.open(root)


def test_a_video_is_known_in_all_rows_or_in_none(root):
    row = ("videos/street", "a dog")
    write_table(root / "instructions.csv", (*row, "masks/street", "1"), (*row, "", ""))
    with pytest.raises(DataError, match="videos/street has a mask in some rows only"):
        CustomVideos.open(root)


def test_an_object_that_does_not_join_is_found(root):
    row = ("videos/yard", "a dog", "tracks.json")
    write_table(root / "instructions.csv", (*row, "99"))
    (root / "counts.json").unlink()
    (problem,) = catalog.check("custom-videos", root).problems
    assert problem.fault is Fault.ID and "tracks.json, object 99: is missing" in str(problem)
    write_table(root / "instructions.csv", ("videos/street", "a dog", "masks/street", "red"))
    with pytest.raises(DataError, match="object 'red' is not a number of 1 to 255"):
        CustomVideos.open(root)[0]


def test_an_annotation_of_an_unknown_video_is_named(ytvis):
    path = ytvis / "annotations.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["video_id"] = 50
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="annotation 1: video_id 50 is not in 'videos'"):
        CustomVideos.open(ytvis)
    path.write_text(json.dumps({"images": []}))
    with pytest.raises(DataError, match="not a YTVIS file: no 'videos'"):
        CustomVideos.open(ytvis)


def test_nothing_to_read_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds none of instructions.csv"):
        CustomVideos.open(tmp_path)
