from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from instructseg.data import catalog
from instructseg.data.datasets.llava import Llava
from instructseg.data.records import DataError, Fault
from instructseg.structures import Task
from recipes.nano.layouts.scenes import draw_images
from recipes.nano.layouts.text import facts, write_llava

COUNT, SEED = 8, 4


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_llava(tmp_path, COUNT, SEED)
    return tmp_path


def test_every_round_is_a_sample(root: Path) -> None:
    part, index = Llava(root), 0
    for picture in draw_images(COUNT, SEED):
        before: tuple[tuple[str, str], ...] = ()
        for question, reply in facts(picture):
            sample = part[index]
            assert (sample.instruction, sample.answer, sample.task) == (question, reply, Task.VQA)
            assert sample.masks is None
            assert sample.meta["history"] == before
            assert sample.key_frame.shape == picture.pixels.shape
            assert part.image_key(index).endswith(f"{picture.number:012d}.jpg")
            before, index = (*before, (question, reply)), index + 1
    assert index == len(part)
    assert part.counts() == {
        "entries": COUNT + 2,
        "conversations": COUNT,
        "rounds": 3 * COUNT,
        "images": COUNT,
        "skipped: text only": 2,
    }
    for outside in (-1, len(part)):
        with pytest.raises(IndexError):
            part[outside]


def test_instruct_names_images_alone(root: Path) -> None:
    part = Llava(root, "llava_instruct_150k.json")
    assert part.image_key(0) == str(root / "coco" / "train2017" / "000000000001.jpg")
    assert part[0].key_frame.ndim == 3
    elsewhere = Llava(root, "llava_instruct_150k.json", coco=root / "coco")
    assert elsewhere.image_key(0) == part.image_key(0)


@pytest.mark.parametrize(
    "place", ["coco/train2017", "data/coco/train2017", "data/coco/coco/train2017", "coco/coco/train2017"]
)
def test_places_of_coco(root: Path, place: str) -> None:
    (root / "data").mkdir()
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    if not (root / place).exists():
        (root / "coco" / "train2017").rename(root / place)
    coco = root / "data" / "coco" if "data" in place else None  # the released default of image_folder
    part = Llava(root, coco=coco)
    assert part.image_key(0) == str(root / place / "000000000001.jpg")
    assert not list(part.inspect())


def conversations(root: Path, *entries: Any) -> Path:
    (root / "llava_v1_5_mix665k.json").write_text(json.dumps(entries))
    return root


def test_a_turn_before_the_first_question_is_dropped(tmp_path: Path) -> None:
    turns = [{"from": who, "value": who[0]} for who in ("gpt", "human", "gpt", "human")]
    part = Llava(conversations(tmp_path, {"id": 5, "image": "a.jpg", "conversations": turns}))
    assert part.conversations[0].rounds == (("h", "g"),)


def test_errors(tmp_path: Path, root: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"llava_v1_5_mix665k\.json: the file is missing"):
        Llava(tmp_path / "gone")
    with pytest.raises(DataError, match=r"mix665k\.json: not a list of conversations"):
        Llava(conversations(tmp_path, {"id": 1, "image": "a.jpg", "conversations": [{"who": "human"}]}))


def test_check(root: Path) -> None:
    report = catalog.check("llava", root, deep=True)
    assert {problem.fault for problem in report.problems} == {Fault.COUNT}
    assert {count.part for count in report.counts} == {"llava/llava_v1_5_mix665k", "llava/llava_instruct_150k"}
    (root / "gqa" / "images" / "000000000002.jpg").unlink()
    missing = [problem for problem in catalog.check("llava", root).problems if problem.fault is Fault.FILE]
    assert [problem.where for problem in missing] == [str(root / "gqa" / "images" / "000000000002.jpg")]
