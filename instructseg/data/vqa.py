"""Question files of VQAv2, GQA, POPE, ScienceQA and MMBench, laid out as LLaVA's evaluation has them.

::

    <root>/vqav2/      llava_vqav2_mscoco_test-dev2015.jsonl        test2015/COCO_test2015_000000262144.jpg
                       or v2_OpenEnded_mscoco_val2014_questions.json    val2014/COCO_val2014_000000262148.jpg
                          v2_mscoco_val2014_annotations.json
           gqa/        llava_gqa_testdev_balanced.jsonl             data/images/n161313.jpg
                       data/testdev_balanced_questions.json
           pope/       llava_pope_test.jsonl                        val2014/COCO_val2014_000000310196.jpg
                       coco/coco_pope_{random,popular,adversarial}.json
           scienceqa/  llava_test_CQM-A.json  problems.json         images/test/4/image.png
           mmbench/    mmbench_dev_20230712.tsv                     (pictures inside, base64)

A line of a ``.jsonl``: ``{"question_id": 1, "image": "n161313.jpg", "text": "Is it overcast?\\nAnswer ...",
"category": "random"}``; of a POPE label file: ``{"question_id": 1, "image": "COCO_val2014_...jpg", "text":
"Is there a car in the image?", "label": "no"}``, matched with the questions of its category in order.
Each benchmark is one split, named by its file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from instructseg.data.dataset import (
    CheckReport,
    DataError,
    Dataset,
    Fault,
    Problem,
    check_parts,
    missing_files,
    read_image,
    read_json,
    require_file,
)
from instructseg.structures import Sample, Task

SHORT_ANSWER = "\nAnswer the question using a single word or phrase."
LETTER_ANSWER = "\nAnswer with the option's letter from the given choices directly."
POPE_CATEGORIES = ("random", "popular", "adversarial")
_IMAGE = "<image>"


@dataclass(frozen=True, slots=True)
class Question:
    """A question about the picture ``image``, a name; ``meta`` goes to the sample's."""

    id: int | str
    text: str
    image: str
    answer: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


class Questions(Dataset):
    """Questions as samples; ``meta`` has ``question_id``, ``file_name`` and what scoring needs.

    Args:
        name: of the benchmark; samples are named ``<name>/<question id>``.
        questions: in the order of the file.
        folder: holds the pictures.
        skipped: reason -> how many questions were left out.
        published: see :class:`~instructseg.data.dataset.Dataset`.
    """

    def __init__(
        self,
        name: str,
        questions: Sequence[Question],
        folder: Path,
        skipped: Mapping[str, int] | None = None,
        published: Mapping[str, int] | None = None,
    ) -> None:
        self.name, self.questions, self.folder = name, questions, folder
        self.skipped, self.published = skipped or {}, published or {}

    def __len__(self) -> int:
        return len(self.questions)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)} in {self.name}")
        question = self.questions[index]
        return Sample(
            key_frame=self._pixels(question),
            instruction=question.text,
            task=Task.VQA,
            answer=question.answer,
            name=f"{self.name}/{question.id}",
            meta={"question_id": question.id, "file_name": question.image, **question.meta},
        )

    def _pixels(self, question: Question) -> np.ndarray:
        return read_image(self.folder / question.image)

    def picture(self, index: int) -> str:
        """The path of the picture."""
        return str(self.folder / self.questions[index].image)

    def counts(self) -> dict[str, int]:
        """Questions, pictures, and what was left out."""
        images = len({question.image for question in self.questions})
        skipped = {f"skipped: {reason}": count for reason, count in self.skipped.items()}
        return {"questions": len(self), "images": images, **skipped}

    def inspect(self) -> Iterator[Problem]:
        """Missing pictures."""
        return missing_files(self.folder / question.image for question in self.questions)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file; empty lines are passed over.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: a line is not a JSON object; names the line.
    """
    entries = []
    with require_file(path).open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    entries.append(dict(json.loads(line)))
                except (ValueError, TypeError) as error:
                    message = f"not a JSON object ({error})"
                    raise DataError(Fault.RECORD, f"{path}, line {number}", message) from error
    return entries


def read_questions(path: Path) -> list[Question]:
    """The questions of a LLaVA ``.jsonl``; ``meta`` holds the category where there is one.

    Raises: as :func:`read_jsonl`.
    """
    try:
        return [
            Question(
                entry["question_id"],
                entry["text"].replace(_IMAGE, "").strip(),
                entry["image"],
                meta={"category": entry["category"]} if "category" in entry else {},
            )
            for entry in read_jsonl(path)
        ]
    except (KeyError, AttributeError) as error:
        raise DataError(Fault.RECORD, path, f"not a question file ({error})") from error


def vqav2(root: str | Path) -> Questions:
    """Questions of test-dev, whose answers are not public."""
    folder = Path(root) / "vqav2"
    questions = read_questions(folder / "llava_vqav2_mscoco_test-dev2015.jsonl")
    return Questions("vqav2/test-dev", questions, folder / "test2015", published={"questions": 107394})


def vqav2_val(root: str | Path) -> Questions:
    """Questions of ``val2014`` with the ten answers that people gave, ``meta["answers"]``."""
    folder = Path(root) / "vqav2"
    file = folder / "v2_OpenEnded_mscoco_val2014_questions.json"
    answers_file = folder / "v2_mscoco_val2014_annotations.json"
    try:
        given = {
            entry["question_id"]: tuple(answer["answer"] for answer in entry["answers"])
            for entry in read_json(answers_file, dict)["annotations"]
        }
        questions = []
        for entry in read_json(file, dict)["questions"]:
            number = entry["question_id"]
            if number not in given:
                raise DataError(Fault.ID, answers_file, f"question {number} of {file.name} has no answers")
            image = f"COCO_val2014_{entry['image_id']:012d}.jpg"
            meta = {"answers": given[number]}
            questions.append(Question(number, entry["question"] + SHORT_ANSWER, image, meta=meta))
    except (KeyError, TypeError) as error:
        raise DataError(Fault.RECORD, file, f"not a file of VQA questions or answers ({error})") from error
    published = {"questions": 214354, "images": 40504}
    return Questions("vqav2/val", questions, folder / "val2014", published=published)


def gqa(root: str | Path) -> Questions:
    """Questions of testdev-balanced, with the answers where ``testdev_balanced_questions.json`` is there."""
    folder = Path(root) / "gqa"
    questions = read_questions(folder / "llava_gqa_testdev_balanced.jsonl")
    answers_file = folder / "data" / "testdev_balanced_questions.json"
    if answers_file.is_file():
        known = read_json(answers_file, dict)
        questions = [_answered(q, known.get(str(q.id)), answers_file) for q in questions]
    published = {"questions": 12578, "images": 398}
    return Questions("gqa/testdev-balanced", questions, folder / "data" / "images", published=published)


def _answered(question: Question, entry: Mapping[str, Any] | None, file: Path) -> Question:
    if entry is None or "answer" not in entry:
        raise DataError(Fault.ID, file, f"question {question.id} has no answer")
    return Question(question.id, question.text, question.image, entry["answer"], question.meta)


def pope(root: str | Path) -> Questions:
    """The three categories with their labels, from LLaVA's question file or, without it, the label files."""
    folder = Path(root) / "pope"
    file = folder / "llava_pope_test.jsonl"
    asked = read_questions(file) if file.is_file() else None
    questions: list[Question] = []
    for category in POPE_CATEGORIES:
        labels_file = folder / "coco" / f"coco_pope_{category}.json"
        labels = [_label(entry, category, labels_file) for entry in read_jsonl(labels_file)]
        if asked is None:
            questions += labels
            continue
        mine = [question for question in asked if question.meta.get("category") == category]
        if len(mine) != len(labels):
            message = (
                f"{len(labels)} labels for the {len(mine)} questions of {file.name}: another version of POPE"
            )
            raise DataError(Fault.ID, labels_file, message)
        for number, (question, label) in enumerate(zip(mine, labels, strict=True), 1):
            if (question.image, question.text.partition("\n")[0]) != (
                label.image,
                label.text.partition("\n")[0],
            ):
                message = f"not about the same as question {question.id} of {file.name}"
                raise DataError(Fault.ID, f"{labels_file}, line {number}", message)
            questions.append(Question(question.id, question.text, question.image, label.answer, question.meta))
    published = {"questions": 8910} if asked is not None else {}  # of the label files there are two versions
    return Questions("pope", questions, folder / "val2014", published=published)


def _label(entry: Mapping[str, Any], category: str, file: Path) -> Question:
    if not {"question_id", "image", "text", "label"} <= entry.keys():
        raise DataError(Fault.RECORD, file, f"not a POPE label: {sorted(entry)}")
    number = f"{category}-{entry['question_id']}"  # the files count from 1 each
    meta = {"category": category}
    return Question(number, entry["text"] + SHORT_ANSWER, entry["image"], entry["label"], meta)


def scienceqa(root: str | Path) -> Questions:
    """Questions of the test split that have a picture; ``meta`` holds ``choices`` and ``subject``."""
    folder = Path(root) / "scienceqa"
    file, problems_file = folder / "llava_test_CQM-A.json", folder / "problems.json"
    problems = read_json(problems_file, dict)
    questions, text_only = [], 0
    try:
        for entry in read_json(file, list):
            if not entry.get("image"):
                text_only += 1
                continue
            number = str(entry["id"])
            if number not in problems:
                raise DataError(Fault.ID, problems_file, f"there is no problem {number}")
            problem = problems[number]
            text = entry["conversations"][0]["value"].replace(_IMAGE, "").strip() + LETTER_ANSWER
            meta = {"choices": tuple(problem["choices"]), "subject": problem.get("subject", "")}
            letter = "ABCDE"[problem["answer"]]
            questions.append(Question(number, text, entry["image"], letter, meta))
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise DataError(Fault.RECORD, file, f"not ScienceQA as LLaVA converts it ({error})") from error
    published = {"questions": 2017, "skipped: text only": 2224}
    skipped = {"text only": text_only}
    return Questions("scienceqa/test", questions, folder / "images" / "test", skipped, published)


BENCHMARKS: Mapping[str, Callable[[str | Path], Questions]] = MappingProxyType(
    {"vqav2": vqav2, "vqav2_val": vqav2_val, "gqa": gqa, "pope": pope, "scienceqa": scienceqa}
)
"""Name -> opener, which takes the root; all raise as :func:`read_questions`."""


def check(name: str, root: str | Path, deep: bool = False) -> CheckReport:
    """Goes through one of :data:`BENCHMARKS`; see :func:`~instructseg.data.dataset.check_parts`."""
    return check_parts(name, root, {name: partial(BENCHMARKS[name], root)}, deep)
