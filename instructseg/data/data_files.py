"""Readers of the files of a data set: JSON, JSON lines, tables and images.

All raise ``FileNotFoundError`` for a missing file, and :class:`~instructseg.data.records.DataError` for one
that is damaged or holds something else.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from instructseg import files
from instructseg.data.records import DataError, Fault, MissingFile, Problem
from instructseg.media import load_image

LONGEST = 131_072
"""Characters of a usual field; a longer one follows an unclosed quote."""


def missing_files(files: Iterable[Path]) -> Iterator[Problem]:
    """A problem per missing file; a missing folder is reported once, with its number of files.

    Lists folders instead of asking for each file, which takes seconds for 100,000 files on a network disk.
    """
    by_folder: dict[Path, set[str]] = {}
    for file in files:
        by_folder.setdefault(file.parent, set()).add(file.name)
    for folder, names in by_folder.items():
        if not folder.is_dir():
            message = f"the folder is missing; it should hold {len(names):,} files"
            yield Problem(Fault.FILE, str(folder), message)
            continue
        present = {entry.name for entry in folder.iterdir()}
        for name in sorted(names - present):
            yield Problem(Fault.FILE, str(folder / name), "the file is missing")


def require_file(path: Path) -> Path:
    """Returns ``path``; raises :class:`MissingFile` if absent."""
    if not path.is_file():
        raise MissingFile(path)
    return path


def read_json(path: Path, kind: type, object_hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """The content of a JSON file.

    Args:
        kind: what it must hold: ``list`` or ``dict``.
        object_hook: applied to every object as it is parsed, so that it need not be kept as it is. An object
            with two values for one key is an error.
    """
    try:
        value = files.read_json(require_file(path), pairs_hook=partial(_checked, path, object_hook))
    except _Refused as refused:
        raise refused.error from refused
    except ValueError as error:
        file_kind = str(error).removeprefix(f"{path} ").removeprefix("is ")
        raise DataError(Fault.RECORD, path, f"{file_kind}; download it again") from error
    if not isinstance(value, kind):
        raise DataError(Fault.RECORD, path, f"holds a {type(value).__name__}, expected a {kind.__name__}")
    return value


def read_jsonl(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Location and content of each object of a JSON-lines file; skips empty lines."""
    entries = []
    for number, line in enumerate(require_file(path).read_bytes().split(b"\n"), 1):
        where = f"{path}, line {number}"
        if not line.strip():
            continue
        try:
            entry = files.parse_json(line, where, pairs_hook=partial(_checked, where, None))
        except _Refused as refused:
            raise refused.error from refused
        except ValueError as error:
            file_kind = str(error).removeprefix(f"{where} ")
            raise DataError(Fault.RECORD, where, f"not a JSON object ({file_kind})") from error
        if not isinstance(entry, dict):
            raise DataError(Fault.RECORD, where, f"not a JSON object (a {type(entry).__name__})")
        entries.append((where, entry))
    return entries


def _checked(where: str | Path, object_hook: Callable[[dict[str, Any]], Any] | None, pairs: list[Any]) -> Any:
    """A JSON object without repeated keys, converted by the hook."""
    entry = dict(pairs)
    if len(entry) < len(pairs) and any(entry[key] != value for key, value in pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        message = f"an object has the key {twice[:60]!r} more than once: give each its own"
        raise _Refused(DataError(Fault.ID, where, message))
    try:
        return entry if object_hook is None else object_hook(entry)
    except DataError as error:
        raise _Refused(error) from error


class _Refused(Exception):
    """Carries an error through the JSON reader, which takes a ``ValueError`` for its own."""

    def __init__(self, error: DataError) -> None:
        super().__init__(str(error))
        self.error = error


def read_image(path: Path) -> np.ndarray:
    """``uint8[H, W, 3]`` RGB."""
    try:
        return load_image(require_file(path))
    except ValueError as error:
        raise DataError(Fault.IMAGE, path, str(error).removeprefix(f"{path} ")) from error


def fit(mask: np.ndarray, image: np.ndarray, where: str | Path) -> np.ndarray:
    """``mask`` ``[..., H, W]``; raises :class:`DataError` where the sizes differ from the image's."""
    if mask.shape[-2:] != image.shape[:2]:
        (h, w), (height, width) = mask.shape[-2:], image.shape[:2]
        message = f"a mask of {h} x {w} on an image of {height} x {width} (height x width)"
        raise DataError(Fault.MASK, where, message)
    return mask


def read_delimited(
    file: Path, delimiter: str = ",", longest: int = LONGEST, absent: Any = None
) -> tuple[tuple[str, ...], list[tuple[int, Mapping[Any, Any]]]]:
    """The rows of a table whose first line names its columns.

    Args:
        file: in UTF-8, with or without a byte order mark.
        delimiter: unless a line ``sep=;`` stands first, as some spreadsheets write it.
        longest: characters of a field.
        absent: value of missing fields at the end of a row.

    Returns:
        The columns, and line and fields of each row; fields after the last column are under ``None``.
    """
    try:
        text = require_file(file).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(Fault.RECORD, file, f"not UTF-8 ({error}): save it as UTF-8") from error
    if said := re.match(r"sep=(.)\r?\n", text):
        delimiter, text = said[1], text[said.end() :]
    above = 1 if said else 0
    before = csv.field_size_limit(longest)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restval=absent)
    try:
        columns = tuple(reader.fieldnames or ())
        rows: list[tuple[int, Mapping[Any, Any]]] = [(reader.line_num + above, row) for row in reader]
    except csv.Error as error:
        hint = "; is a quote not closed?" if "limit" in str(error) else ""
        where = f"{file}, line {reader.line_num + above}"
        raise DataError(Fault.RECORD, where, f"no table: {error}{hint}") from error
    finally:
        csv.field_size_limit(before)
    if len(set(columns)) < len(columns):
        twice = next(name for number, name in enumerate(columns) if name in columns[:number])
        raise DataError(Fault.RECORD, f"{file}, line {1 + above}", f"two columns are called {twice[:60]!r}")
    return columns, rows
