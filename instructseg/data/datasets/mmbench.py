"""MMBench: multiple choice about images stored in the file.

::

    <root>/mmbench/mmbench_dev_20230712.tsv

A row, columns parted by tabs; ``hint``, ``C``, ``D`` and ``answer`` may be empty, ``nan`` or ``none``::

    index  question  hint  A  B  C  D  answer  category  image  source  l2-category  comment  split

``image`` is an image in base64, or the ``index`` of another row that has it. The split is the file.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.data.data_files import read_delimited, require_file
from instructseg.data.dataset import Parts
from instructseg.data.datasets.vqa import LETTER_ANSWER, Question, Questions
from instructseg.data.records import DataError, Fault, Problem, by_id, shown, text
from instructseg.media import load_image

FILE = "mmbench_dev_20230712.tsv"
_LETTERS = ("A", "B", "C", "D")
_KEPT = ("category", "l2-category", "source", "split")
_LONGEST = 1 << 30  # characters: an image is one field
_LONGEST_INDEX = 64  # an image is longer


class MMBench(Questions):
    """One file; images stay encoded until accessed.

    ``meta``: ``question_id``, ``file_name`` (the row that holds the image), ``options`` (letter -> text),
    ``category``, ``l2-category``, ``source``, ``split``.

    Args:
        root: the folder that holds ``mmbench``.

    Raises:
        FileNotFoundError, DataError: the file or a column is missing.
    """

    def __init__(self, root: str | Path, file: str = FILE) -> None:
        self.file = require_file(Path(root) / "mmbench" / file)
        questions: list[Question] = []
        self._encoded: dict[str, str] = {}
        rows = [(row["index"], row, f"{self.file}, line {line}") for line, row in read_rows(self.file)]
        for number, row in by_id(rows, "row").items():
            image = row["image"]
            if len(image) > _LONGEST_INDEX:
                self._encoded[number] = image
                image = number
            questions.append(_question(row, image, f"{self.file}, index {number}"))
        super().__init__(f"mmbench/{self.file.stem}", questions, self.file.parent)

    def image_key(self, index: int) -> str:
        """The file and the row that holds the image."""
        return f"{self.file}, {self.questions[index].image}"

    def counts(self) -> dict[str, int]:
        """Questions and images."""
        return {"questions": len(self), "images": len(self._encoded)}

    def inspect(self) -> Iterator[Problem]:
        """Rows without an image."""
        for question in self.questions:
            if question.image not in self._encoded:
                yield self._no_image(question)

    def _pixels(self, question: Question) -> np.ndarray:
        from PIL import Image

        if question.image not in self._encoded:
            problem = self._no_image(question)
            raise DataError(problem.fault, problem.where, problem.message)
        try:
            raw = base64.b64decode(self._encoded[question.image], validate=False)
            return load_image(Image.open(io.BytesIO(raw)))
        except (OSError, ValueError) as error:  # base64's own error is a ValueError
            where = f"{self.file}, index {question.image}"
            raise DataError(Fault.IMAGE, where, f"the image cannot be decoded ({error})") from error

    def _no_image(self, question: Question) -> Problem:
        message = f"its image should be in row {question.image!r}, which has none"
        return Problem(Fault.ID, f"{self.file}, index {question.id}", message)


def read_rows(file: Path) -> list[tuple[int, dict[str, str]]]:
    """Line and fields of each row; missing trailing fields are empty.

    Raises:
        FileNotFoundError, DataError: it is missing, no such table, or a row lacks its number or question.
    """
    columns, found = read_delimited(file, "\t", _LONGEST, absent="")
    missing = {"index", "question", "A", "B", "image"} - set(columns)
    if missing:
        raise DataError(Fault.RECORD, file, f"no column {', '.join(sorted(missing))}")
    rows = []
    for line, row in found:
        if None in row:
            raise DataError(Fault.RECORD, f"{file}, line {line}", "it has more fields than there are columns")
        index = row["index"]
        if not (index.isascii() and index.isdecimal() and len(index) <= _LONGEST_INDEX):
            raise DataError(Fault.RECORD, f"{file}, line {line}", f"index is no number, but {shown(index)}")
        text(row["question"], f"{file}, line {line}", "question")
        rows.append((line, dict(row)))
    return rows


def _question(row: Mapping[str, str], image: str, where: str) -> Question:
    """A row as the official prompt; the first empty option ends the list."""
    options: dict[str, str] = {}
    for letter in _LETTERS:
        if not _given(row.get(letter)):
            break
        options[letter] = row[letter]
    text = "\n".join([row["question"], *(f"{letter}. {option}" for letter, option in options.items())])
    if _given(row.get("hint")):
        text = f"{row['hint']}\n{text}"
    answer = row["answer"] if _given(row.get("answer")) else None
    if answer is not None and answer not in options:
        raise DataError(
            Fault.RECORD, where, f"answer {shown(answer)} is none of its options {', '.join(options)}"
        )
    meta = {"options": options, **{name: row.get(name) or "" for name in _KEPT}}
    return Question(row["index"], text + LETTER_ANSWER, image, answer, meta)


def _given(value: str | None) -> bool:
    return value is not None and value.lower() not in ("", "nan", "none")


def parts(root: Path, options: Mapping[str, Any]) -> Parts:
    """Every ``.tsv`` in ``<root>/mmbench``."""
    names = sorted(path.name for path in (root / "mmbench").glob("*.tsv")) or [FILE]
    return {f"mmbench/{Path(name).stem}": partial(MMBench, root, name) for name in names}


def evaluation_suffix(options: Mapping[str, Any]) -> str:
    """End of a result's name: the file, unless it is the usual one."""
    file = Path(options["file"])
    return "" if file.name == FILE else f"_{file.stem.removeprefix('mmbench_')}"
