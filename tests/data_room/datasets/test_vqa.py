from __future__ import annotations

import json
from pathlib import Path

import pytest

from instructseg.data import catalog
from instructseg.data.datasets import vqa
from instructseg.data.datasets.vqa import BENCHMARKS, LETTER_ANSWER, SHORT_ANSWER
from instructseg.data.records import DataError, Fault
from instructseg.structures import Task
from recipes.nano.layouts.scenes import draw_images
from recipes.nano.layouts.text import colour_choice, facts, write_vqa

COUNT, SEED = 3, 6


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for writer in write_vqa.values():
        writer(tmp_path, COUNT, SEED)
    return tmp_path


@pytest.mark.parametrize("name", ["vqav2", "vqav2_val", "gqa"])
def test_questions_about_drawn_facts(root: Path, name: str) -> None:
    part = BENCHMARKS[name](root)
    expected = [(picture, *fact) for picture in draw_images(COUNT, SEED) for fact in facts(picture)]
    assert len(part) == len(expected)
    for index, (picture, question, reply) in enumerate(expected):
        sample = part[index]
        assert sample.instruction == question + SHORT_ANSWER
        assert sample.task is Task.VQA and sample.masks is None
        assert sample.key_frame.shape == picture.pixels.shape
        assert sample.answer == (reply if name == "gqa" else None)
        if name == "vqav2_val":
            assert sample.meta["answers"] == ("maybe", *[reply] * 9)
    assert len({part.image_key(index) for index in range(len(part))}) == COUNT


@pytest.mark.parametrize("converted", [True, False])
def test_pope(root: Path, converted: bool) -> None:
    if not converted:
        (root / "pope" / "llava_pope_test.jsonl").unlink()
    part = vqa.pope(root)
    expected = [
        (category, question + SHORT_ANSWER, reply)
        for category in vqa.POPE_CATEGORIES
        for picture in draw_images(COUNT, SEED)
        for question, reply in facts(picture)[:2]
    ]
    samples = [part[index] for index in range(len(part))]
    assert [(s.meta["category"], s.instruction, s.answer) for s in samples] == expected
    assert len({sample.meta["question_id"] for sample in samples}) == len(samples)


def test_pope_of_other_versions_is_reported(root: Path) -> None:
    file = root / "pope" / "coco" / "coco_pope_popular.json"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[1], lines[0], *lines[2:]]))
    with pytest.raises(
        DataError, match=r"coco_pope_popular\.json, line 1: not about the same as question 6"
    ) as caught:
        vqa.pope(root)
    assert caught.value.problem.fault is Fault.ID
    file.write_text("\n".join(lines[1:]))
    with pytest.raises(DataError, match=r"5 labels for the 6 questions of llava_pope_test\.jsonl"):
        vqa.pope(root)


def test_scienceqa_asks_about_images(root: Path) -> None:
    part = vqa.scienceqa(root)
    assert part.counts() == {"questions": COUNT, "images": COUNT, "skipped: text only": COUNT}
    for index, picture in enumerate(draw_images(COUNT, SEED)):
        text, choices, right = colour_choice(picture)
        sample = part[index]
        assert sample.instruction.startswith(f"{text}\nA. {choices[0]}\nB. ")
        assert sample.instruction.endswith(LETTER_ANSWER)
        assert sample.answer == "ABCD"[right]
        assert sample.meta["choices"][right] == picture.scene.objects[next(iter(picture.said))].colour


def test_errors(root: Path, tmp_path: Path) -> None:
    for name, opener in BENCHMARKS.items():
        with pytest.raises(FileNotFoundError, match=r": the file is missing$"):
            opener(tmp_path / name)
    file = root / "vqav2" / "llava_vqav2_mscoco_test-dev2015.jsonl"
    file.write_text('{"question_id": 1, "image": "a", "text": "b"}\n\n[1\n')
    with pytest.raises(DataError, match=r"test-dev2015\.jsonl, line 3: not a JSON object"):
        vqa.vqav2(root)
    file.write_text('{"question_id": 1, "image": "a"}\n')
    with pytest.raises(DataError, match=r"test-dev2015\.jsonl: not a question file \('text'\)"):
        vqa.vqav2(root)


def test_answers_that_do_not_join(root: Path) -> None:
    (root / "gqa" / "data" / "testdev_balanced_questions.json").write_text("{}")
    (root / "scienceqa" / "problems.json").write_text("{}")
    (root / "vqav2" / "v2_mscoco_val2014_annotations.json").write_text('{"annotations": []}')
    for name, message in (
        ("gqa", r"testdev_balanced_questions\.json: question 2010 has no answer"),
        ("scienceqa", r"problems\.json: there is no problem 2"),
        (
            "vqav2_val",
            r"annotations\.json: question 1000 of v2_OpenEnded_mscoco_val2014_questions\.json has no answers",
        ),
    ):
        with pytest.raises(DataError, match=message) as caught:
            BENCHMARKS[name](root)
        assert caught.value.problem.fault is Fault.ID
    (root / "gqa" / "data" / "testdev_balanced_questions.json").unlink()
    assert vqa.gqa(root)[0].answer is None


def test_check(root: Path) -> None:
    for name in BENCHMARKS:
        assert {problem.fault for problem in catalog.check(name, root, deep=True).problems} == {Fault.COUNT}
    next((root / "gqa" / "data" / "images").iterdir()).write_bytes(b"no image")
    assert Fault.IMAGE not in {problem.fault for problem in catalog.check("gqa", root).problems}
    assert Fault.IMAGE in {problem.fault for problem in catalog.check("gqa", root, deep=True).problems}


def test_label_files_as_published(tmp_path: Path) -> None:
    image = "COCO_val2014_000000310196.jpg"
    lines = [
        {"question_id": 1, "image": image, "text": "Is there a snowboard in the image?", "label": "yes"},
        {"question_id": 2, "image": image, "text": "Is there a car in the image?", "label": "no"},
    ]
    (tmp_path / "pope" / "coco").mkdir(parents=True)
    for category in vqa.POPE_CATEGORIES:
        file = tmp_path / "pope" / "coco" / f"coco_pope_{category}.json"
        file.write_text("\n".join(json.dumps(line) for line in lines))
    assert [question.answer for question in vqa.pope(tmp_path).questions] == ["yes", "no"] * 3
