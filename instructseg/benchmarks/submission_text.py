"""Submissions to the servers of VQAv2 and MMBench: writers and validation.

::

    VQAv2     JSON   [{"question_id": int, "answer": str}, ...]
    MMBench   xlsx   the question table with a column ``prediction``
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from instructseg.benchmarks.xlsx import Cell, read_xlsx, write_xlsx
from instructseg.evaluation.answers import vqa_answer
from instructseg.files import read_json, write_json_atomic

_MMBENCH_LEFT_OUT = {"hint", "category", "source", "image", "comment", "l2-category"}
_MMBENCH_PREDICTION_AT = 6


def write_vqav2(path: Path, texts: Mapping[Any, str], question_ids: Sequence[Any]) -> None:
    """Writes the VQAv2 upload: every question of test2015, an empty answer where there is none.

    Args:
        texts: answers by question; usually those of test-dev.
        question_ids: of all questions of test2015.

    Raises:
        ValueError: an answer belongs to none of the questions.
    """
    _check_known(texts, question_ids)
    answers = [{"question_id": key, "answer": vqa_answer(texts.get(key, ""))} for key in question_ids]
    write_json_atomic(path, answers, indent=2)


def validate_vqav2(path: Path, question_ids: Collection[int]) -> list[str]:
    """Checks the VQAv2 upload: every question once, with a text.

    Raises:
        FileNotFoundError: there is no such file.
    """
    try:
        entries = read_json(path)
    except ValueError as error:
        return [f"{path} is no JSON: {str(error).removeprefix(f'{path} ')}"]
    if not isinstance(entries, list):
        return [f"{path} is no list of answers"]
    faults, seen = [], set()
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or entry.keys() != {"question_id", "answer"}:
            faults.append(f"entry {number} is not {{question_id, answer}}")
            continue
        key = entry["question_id"]
        if not isinstance(key, int | str) or isinstance(key, bool):
            faults.append(f"entry {number}: question_id is no number and no text")
            continue
        if key in seen:
            faults.append(f"question {key}: answered twice")
        if not isinstance(entry["answer"], str):
            faults.append(f"question {key}: the answer is no text")
        seen.add(key)
    return faults + _differences(seen, set(question_ids))


def write_mmbench(path: Path, questions: Sequence[Mapping[str, str]], texts: Mapping[str, str]) -> None:
    """Writes the MMBench upload: the question table without hints and images, with a column ``prediction``.

    Args:
        questions: the rows of the official table, as read from it, in order.
        texts: answers by ``index``.

    Raises:
        ValueError: there are no questions, or an answer belongs to none of them.
    """
    if not questions:
        raise ValueError("no questions to write")
    _check_known(texts, [row["index"] for row in questions])
    columns = [name for name in questions[0] if name not in _MMBENCH_LEFT_OUT]
    columns.insert(_MMBENCH_PREDICTION_AT, "prediction")
    rows: list[list[Cell]] = [list(columns)]
    for question in questions:
        row = {**question, "prediction": texts.get(question["index"], "")}
        rows.append([_mmbench_cell(name, row[name]) for name in columns])
    write_xlsx(path, rows)


def _mmbench_cell(name: str, value: str) -> Cell:
    if name == "index" and value.isdigit():
        return int(value)
    return value or None


def validate_mmbench(path: Path, indices: Collection[str]) -> list[str]:
    """Checks the MMBench upload: every question once, with a prediction.

    Raises:
        FileNotFoundError: there is no such file.
    """
    try:
        header, *rows = read_xlsx(path) or [[]]
    except ValueError as error:
        return [str(error)]
    if missing := [name for name in ("index", "prediction") if name not in header]:
        return [f"{path} has no column '{missing[0]}'"]
    cells = [dict(zip(header, row, strict=False)) for row in rows]
    faults, seen = [], set()
    for cell in cells:
        key = cell.get("index", "")
        if key in seen:
            faults.append(f"question {key}: comes twice")
        if not cell.get("prediction"):
            faults.append(f"question {key}: no prediction")
        seen.add(key)
    return faults + _differences(seen, set(indices))


def _check_known(texts: Mapping[Any, str], questions: Collection[Any]) -> None:
    if unknown := texts.keys() - set(questions):
        others = f"and {len(unknown) - 1} more are not in the question file"
        raise ValueError(f"question {min(unknown, key=str)} {others}")


def _differences(answered: set[Any], asked: set[Any]) -> list[str]:
    return [
        *(f"question {key}: not asked" for key in sorted(answered - asked, key=str)),
        *(f"question {key}: missing" for key in sorted(asked - answered)),
    ]
