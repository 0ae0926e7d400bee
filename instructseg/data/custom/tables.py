"""Tables of custom data: ``.csv``, ``.json`` (a list of objects) or ``.jsonl``."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from instructseg.data.data_files import read_delimited, read_json, read_jsonl
from instructseg.data.records import DataError, Fault, identifier, text

SOURCES = ("instructions.csv", "instructions.json", "instructions.jsonl", "annotations.json")
"""Files of custom data that are looked for in a folder: a table, or a COCO or YTVIS file."""

TRAIN, VAL = "train", "val"
"""Splits of custom data that are made where the table names none."""

_TOLD = 9
"""Faults that an error lists beside the first one."""
_NOT_THERE: Any = object()

HELD_OUT = 5
"""One in so many images or videos is in ``val``, rounded up."""


def find_source(source: Path) -> Path:
    """The file to read: ``source``, or the first of :data:`SOURCES` in it; ``source`` where there is none."""
    return next((source / name for name in SOURCES if (source / name).is_file()), source)


def part_of(names: Collection[str], split: str) -> frozenset[str]:
    """Names of a generated split, a function of the set of names alone.

    Names are ordered by their SHA-256, and the first one in :data:`HELD_OUT` are held out. So all instructions
    of an image stay on one side, on any machine. One name alone is for training.
    """
    ordered = sorted(set(names), key=lambda name: hashlib.sha256(name.encode()).digest())
    count = -(-len(ordered) // HELD_OUT) if len(ordered) > 1 else 0
    return frozenset(ordered[:count] if split == VAL else ordered[count:])


def read_table(
    table: Path, columns: Sequence[str], required: Sequence[str]
) -> list[tuple[str, Mapping[str, Any]]]:
    """Location and content of each row.

    Args:
        columns: that a row may have.
        required: those of them that a row must have, not empty.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it is no table, or rows lack a column or have an unknown one; names the lines.
    """
    rows = [(where, entry, _fault(entry, columns, required)) for where, entry in _rows(table)]
    faults = [(where, fault) for where, _, fault in rows if fault]
    if faults:
        (where, first), *others = faults
        file_kind = [f"{place.rpartition(', ')[2]}: {fault}" for place, fault in others[:_TOLD]]
        more = f"; {len(others)} more, {'; '.join(file_kind)}" if others else ""
        raise DataError(Fault.RECORD, where, f"{first}{more}{' ..' if len(others) > _TOLD else ''}")
    return [(where, entry) for where, entry, _ in rows]


def _fault(entry: Any, columns: Sequence[str], required: Sequence[str]) -> str:
    """The fault of a row, or an empty text."""
    if not isinstance(entry, dict):
        return f"expected an object with {', '.join(columns)}"
    for name in entry:
        if name not in columns:
            return f"unknown column {name!r}: there are {', '.join(columns)} (quote a text that has commas)"
    for name in required:
        if not entry.get(name):
            return f"it has no {name}"
    for name, value in entry.items():
        if value is not _NOT_THERE and (message := _unfit(name, value)):
            return message
    short = [name for name, value in entry.items() if value is _NOT_THERE]
    return f"it ends before the column {short[0]}: write a comma for each empty field" if short else ""


def _unfit(name: str, value: Any) -> str:
    """Reason why a field cannot hold a value, or an empty text."""
    kind = {"object": "ids", "mask": "texts", "id": "id"}.get(name, "text")
    parts = value if isinstance(value, list) and kind in ("ids", "texts") else [value]
    for part in parts:
        try:
            if part not in (None, ""):
                (identifier if kind in ("ids", "id") else text)(part, "", name)
        except DataError as error:
            return error.problem.message
    return ""


def _rows(table: Path) -> Iterator[tuple[str, Any]]:
    kind = table.suffix.lower()
    if kind == ".csv":
        for line, entry in read_delimited(table, absent=_NOT_THERE)[1]:
            yield f"{table}, line {line}", entry
    elif kind == ".json":
        for number, entry in enumerate(read_json(table, list), 1):
            yield f"{table}, entry {number}", entry
    elif kind == ".jsonl":
        # a row is named by its place among the rows
        for number, (_, entry) in enumerate(read_jsonl(table), 1):
            yield f"{table}, entry {number}", entry
    else:
        raise DataError(Fault.RECORD, table, "give a table as .csv, .json or .jsonl")


def several(value: Any) -> list[str]:
    """The different entries of a field: a list as it is, a text cut at semicolons; empty ones are dropped."""
    parts = value if isinstance(value, list) else [] if value is None else str(value).split(";")
    return list(dict.fromkeys(word for part in parts if part is not None and (word := str(part).strip())))
