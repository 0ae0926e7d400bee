"""Question files of VQAv2, GQA, POPE, ScienceQA and MMBench, in LLaVA's layout.

::

    <root>/vqav2/      llava_vqav2_mscoco_test-dev2015.jsonl        test2015/COCO_test2015_000000262144.jpg
                       or v2_OpenEnded_mscoco_val2014_questions.json    val2014/COCO_val2014_000000262148.jpg
                          v2_mscoco_val2014_annotations.json
           gqa/        llava_gqa_testdev_balanced.jsonl             data/images/n161313.jpg
                       data/testdev_balanced_questions.json
           pope/       llava_pope_test.jsonl                        val2014/COCO_val2014_000000310196.jpg
                       coco/coco_pope_{random,popular,adversarial}.json
           scienceqa/  llava_test_CQM-A.json  problems.json         images/test/4/image.png
           mmbench/    mmbench_dev_20230712.tsv                     (images inside, base64)

A line of a ``.jsonl``: ``{"question_id": 1, "image": "n161313.jpg", "text": "Is it overcast?\\nAnswer ...",
"category": "random"}``; of a POPE label file: ``{"question_id": 1, "image": "COCO_val2014_...jpg", "text":
"Is there a car in the image?", "label": "no"}``, matched with the questions of its category in order.
Each benchmark is one split, named by its file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from instructseg.data.data_files import missing_files, read_image, read_json, read_jsonl
from instructseg.data.dataset import Dataset
from instructseg.data.records import (
    DataError,
    Fault,
    Id,
    Problem,
    Record,
    by_id,
    fault,
    file_kind,
    file_name,
    shown,
    text,
)
from instructseg.structures import Sample, Task

SHORT_ANSWER = "\nAnswer the question using a single word or phrase."
LETTER_ANSWER = "\nAnswer with the option's letter from the given choices directly."
POPE_CATEGORIES = ("random", "popular", "adversarial")
_IMAGE = "<image>"
_LETTERS = "ABCDE"


@dataclass(frozen=True, slots=True)
class Question:
    """A question about the image ``image``, a name; ``meta`` goes to the sample's."""

    id: Id
    text: str
    image: str
    answer: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


class Questions(Dataset):
    """Questions as samples; ``meta`` has ``question_id``, ``file_name`` and what scoring needs.

    Args:
        name: of the benchmark; samples are named ``<name>/<question id>``.
        skipped: reason -> how many questions were left out.
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
        self.check_index(index)
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

    def image_key(self, index: int) -> str:
        """The path of the image."""
        return str(self.folder / self.questions[index].image)

    def counts(self) -> dict[str, int]:
        """Questions, images, and what was left out."""
        images = len({question.image for question in self.questions})
        skipped = {f"skipped: {reason}": count for reason, count in self.skipped.items()}
        return {"questions": len(self), "images": images, **skipped}

    def inspect(self) -> Iterator[Problem]:
        """Missing images."""
        return missing_files(self.folder / question.image for question in self.questions)


def read_questions(path: Path) -> list[Question]:
    """The questions of a LLaVA ``.jsonl``; ``meta`` holds the category where there is one.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: a line is no question, or two questions have one id.
    """
    questions = []
    for where, value in read_jsonl(path):
        entry = Record(value, where)
        try:
            question = Question(
                entry.id("question_id"),
                text(entry.text("text").replace(_IMAGE, "").strip(), where, "text"),
                file_name(entry.get("image"), where, "image"),
                meta={"category": entry.text("category")} if entry.has("category") else {},
            )
        except DataError as error:
            message = f"not a question file ({error.problem.message.removeprefix('no ')})"
            raise DataError(error.problem.fault, path, f"{message}, {where.rpartition(', ')[2]}") from error
        questions.append((question.id, question, where))
    return list(by_id(questions, "question").values())


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
    with file_kind(answers_file, "not a file of VQA answers"):
        answers = Record.of(read_json(answers_file, dict), answers_file)
        said = [
            (one.id("question_id"), tuple(a.string("answer") for a in one.records("answers")), one.where)
            for one in answers.records("annotations")
        ]
        given = by_id(said, "question")
    questions = []
    with file_kind(file, "not a file of VQA questions"):
        for entry in Record.of(read_json(file, dict), file).records("questions"):
            number = entry.id("question_id")
            if number not in given:
                raise DataError(Fault.ID, answers_file, f"question {number} of {file.name} has no answers")
            image = f"COCO_val2014_{entry.whole('image_id'):012d}.jpg"
            asked = entry.text("question") + SHORT_ANSWER
            question = Question(number, asked, image, meta={"answers": given[number]})
            questions.append((number, question, entry.where))
        kept = list(by_id(questions, "question").values())
    published = {"questions": 214354, "images": 40504}
    return Questions("vqav2/val", kept, folder / "val2014", published=published)


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


def _answered(question: Question, entry: Any, file: Path) -> Question:
    if entry is None or (isinstance(entry, dict) and "answer" not in entry):
        raise DataError(Fault.ID, file, f"question {question.id} has no answer")
    answer = Record.of(entry, f"{file}, question {question.id}").text("answer")
    return Question(question.id, question.text, question.image, answer, question.meta)


def pope(root: str | Path) -> Questions:
    """The three categories with their labels, from LLaVA's question file or, without it, the label files."""
    folder = Path(root) / "pope"
    file = folder / "llava_pope_test.jsonl"
    asked = read_questions(file) if file.is_file() else None
    questions: list[Question] = []
    for category in POPE_CATEGORIES:
        labels_file = folder / "coco" / f"coco_pope_{category}.json"
        labels = _labels(labels_file, category)
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


def _labels(file: Path, category: str) -> list[Question]:
    labels = []
    for where, value in read_jsonl(file):
        entry = Record(value, where)
        with file_kind(file, "not a POPE label"):
            label = entry.text("label")
            if label not in ("yes", "no"):
                raise fault(where, f"label is yes or no, not {shown(label)}")
            number = f"{category}-{entry.id('question_id')}"  # the files count from 1 each
            image = file_name(entry.get("image"), where, "image")
            asked = entry.text("text") + SHORT_ANSWER
        labels.append((number, Question(number, asked, image, label, {"category": category}), where))
    return list(by_id(labels, "label").values())


def scienceqa(root: str | Path) -> Questions:
    """Questions of the test split that have an image; ``meta`` holds ``choices`` and ``subject``."""
    folder = Path(root) / "scienceqa"
    file, problems_file = folder / "llava_test_CQM-A.json", folder / "problems.json"
    problems = Record.of(read_json(problems_file, dict), problems_file)
    questions, text_only = [], 0
    with file_kind(file, "not ScienceQA as LLaVA converts it"):
        for number, value in enumerate(read_json(file, list)):
            entry = Record.of(value, f"{file}, entry {number}")
            if not entry.value.get("image"):
                text_only += 1
                continue
            key = str(entry.id("id"))
            if key not in problems.value:
                raise DataError(Fault.ID, problems_file, f"there is no problem {key}")
            question = _science(entry, Record.of(problems.get(key), f"{problems_file}, problem {key}"), key)
            questions.append((key, question, entry.where))
        kept = list(by_id(questions, "question").values())
    published = {"questions": 2017, "skipped: text only": 2224}
    skipped = {"text only": text_only}
    return Questions("scienceqa/test", kept, folder / "images" / "test", skipped, published)


def _science(entry: Record, problem: Record, number: str) -> Question:
    asked = next(entry.records("conversations"), None)
    if asked is None:
        raise fault(entry.where, "it has no conversations")
    choices, right = problem.texts("choices"), problem.whole("answer")
    if not right < len(choices) <= len(_LETTERS):
        message = f"answer {right} of {len(choices)} choices: there are 2 to {len(_LETTERS)}, counted from 0"
        raise fault(problem.where, message)
    subject = problem.string("subject") if problem.has("subject") else ""
    image = file_name(entry.get("image"), entry.where, "image")
    words = asked.text("value").replace(_IMAGE, "").strip() + LETTER_ANSWER
    return Question(number, words, image, _LETTERS[right], {"choices": choices, "subject": subject})


BENCHMARKS: Mapping[str, Callable[[str | Path], Questions]] = MappingProxyType(
    {"vqav2": vqav2, "vqav2_val": vqav2_val, "gqa": gqa, "pope": pope, "scienceqa": scienceqa}
)
"""Name -> opener, which takes the root; all raise as :func:`read_questions`."""
