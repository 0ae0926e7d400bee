from __future__ import annotations

import json

import numpy as np
import pytest

from instructseg.data import catalog
from instructseg.data.datasets.refdavis import CONVERTED, SETS, RefDavis, read_expressions
from instructseg.data.records import DataError, Fault
from recipes.nano.layouts.clips import draw_clips
from recipes.nano.layouts.videos import (
    SAID_BY,
    write_refdavis,
    write_refdavis_converted,
    write_refdavis_referformer,
)
from tests.data_room.clip_truth import assert_same_frames, assert_same_masks, meant_by

SPLITS = {"train": draw_clips(["classic-car", "dogs-scale"], 1), "valid": draw_clips(["goat"], 2)}
LAYOUTS = {"original": write_refdavis, "referformer": write_refdavis_referformer}


@pytest.fixture(params=LAYOUTS)
def root(tmp_path, request):
    LAYOUTS[request.param](tmp_path, SPLITS)
    return tmp_path


@pytest.fixture
def original(tmp_path):
    write_refdavis(tmp_path, SPLITS)
    return tmp_path


@pytest.mark.parametrize("split", ["train", "valid"])
def test_videos_are_those_that_were_written(root, split):
    dataset = RefDavis.open(root, split)
    assert [clip.name for clip in dataset.clips] == [drawn.name for drawn in SPLITS[split]]
    for clip, drawn in zip(dataset.clips, SPLITS[split], strict=True):
        assert_same_frames(clip, drawn)
        # the expressions of an object stand together, set by set, Latin-1 included
        said = [
            opening + drawn.said[i][s % len(drawn.said[i])]
            for i in drawn.objects
            for s, opening in enumerate(SAID_BY)
        ]
        assert [e.text for e in clip.expressions] == said
        assert [e.id for e in clip.expressions] == [str(n) for n in range(len(said))]
        for expression in clip.expressions:
            assert_same_masks(clip, drawn, expression, meant_by(drawn, expression))
    assert not catalog.check("refdavis", root, deep=True).problems


@pytest.mark.parametrize("annotation", range(4))
def test_a_set_has_one_expression_for_each_object(root, annotation):
    (clip,) = RefDavis.open(root, "valid", annotation).clips
    (drawn,) = SPLITS["valid"]
    assert [e.objects for e in clip.expressions] == [(str(i + 1),) for i in drawn.objects]
    assert all(e.text.startswith(SAID_BY[annotation]) for e in clip.expressions)
    assert {e.type for e in clip.expressions} == {SETS[annotation][0].removesuffix(".txt")}
    assert [int(e.id) for e in clip.expressions] == [4 * k + annotation for k in drawn.objects]


def test_the_files_have_misspelt_videos_and_latin_1(original):
    text = (original / "davis_text_annotations" / SETS[2][0]).read_bytes()
    assert b"clasic-car" in text and b"classic-car" not in text
    with pytest.raises(UnicodeDecodeError):
        text.decode("utf-8")
    with pytest.raises(DataError, match=r"annot2.txt: is not utf-8"):
        read_expressions(original / "davis_text_annotations" / SETS[2][0], "utf-8")


def test_objects_are_sorted_as_text(tmp_path):
    path = tmp_path / "some.txt"
    path.write_text("\n".join(f'goat {i} "thing {i}"' for i in (10, 2, 1)) + "\n\n", encoding="utf-8")
    assert read_expressions(path, "utf-8") == {"goat": [("1", "thing 1"), ("10", "thing 10"), ("2", "thing 2")]}


def test_a_damaged_line_is_named(original):
    path = original / "davis_text_annotations" / SETS[1][0]
    path.write_text('goat 1 "a goat"\ngoat first "a goat"\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"full_video.txt, line 2: a line is: video object"):
        RefDavis.open(original, "valid")


def test_sets_that_describe_different_objects_are_refused(original):
    path = original / "davis_text_annotations" / SETS[3][0]
    lines = path.read_text(encoding="latin-1").splitlines()
    kept = [line for line in lines if not line.startswith("goat 2")]
    path.write_text("\n".join(kept), encoding="latin-1")
    with pytest.raises(DataError, match=r"annot2_full_video.txt, video goat: objects 1.*, but .* has 1, 2"):
        RefDavis.open(original, "valid")


def test_a_missing_video_is_named(original):
    (original / "DAVIS/ImageSets/2017/val.txt").write_text("goat\ncamel\n", encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=r"480p/camel is missing, though .*val.txt lists it"):
        RefDavis.open(original, "valid")


def test_the_file_that_the_released_code_evaluates(tmp_path):
    write_refdavis_converted(tmp_path, SPLITS["valid"])
    (clip,), (drawn,) = RefDavis.open_converted(tmp_path).clips, SPLITS["valid"]
    assert_same_frames(clip, drawn)
    assert [e.text for e in clip.expressions] == [
        *(drawn.said[i][0] for i in drawn.objects[:-1]),
        ". ".join(drawn.said[drawn.objects[-1]]),
    ]
    for expression, i in zip(clip.expressions, drawn.objects, strict=True):
        assert_same_masks(clip, drawn, expression, [i])
    report = catalog.check("refdavis", tmp_path, deep=True)
    assert not report.problems and {count.part for count in report.counts} == {"converted/valid"}


def test_a_damaged_converted_file_is_named(tmp_path):
    write_refdavis_converted(tmp_path, SPLITS["valid"])
    (tmp_path / CONVERTED).write_text(json.dumps({"videos": [{"video": "goat"}]}))
    with pytest.raises(
        DataError, match=r"refdavis_valid.json: not a converted Ref-DAVIS17 file: no 'file_names'"
    ):
        RefDavis.open_converted(tmp_path)


def test_a_video_with_too_few_expressions_is_named(tmp_path):
    write_refdavis_referformer(tmp_path, SPLITS)
    path = tmp_path / "meta_expressions/valid/meta_expressions.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["videos"]["goat"]["expressions"].pop("3")
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError, match=r"video goat: 11 expressions, expected 4 for each object"):
        RefDavis.open(tmp_path, "valid")


def test_training_takes_all_sets(root):
    dataset = RefDavis.open(root, "train", sentences="joined")
    assert len(dataset) == sum(len(drawn.objects) for drawn in SPLITS["train"])
    sample = dataset.draw(0, np.random.default_rng(3))
    assert sample.instruction.count(". ") == 3 and sample.masks.any()


def test_an_unknown_set_is_refused(root):
    with pytest.raises(ValueError, match=r"annotation must be 0 to 3, got 4"):
        RefDavis.open(root, "valid", annotation=4)


def test_a_mask_that_is_missing_is_found(original):
    path = original / "DAVIS/Annotations_unsupervised/480p/goat/00004.png"
    path.unlink()
    (problem,) = catalog.check("refdavis", original).problems
    assert (problem.fault, problem.where) == (Fault.FILE, str(path))
