"""Reader of ``.csv`` and ``.tsv`` files."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from instructseg.data.dataset import DataError, Fault, require_file

LONGEST = 131_072
"""Letters of a usual field; a longer one is what follows a quote that nobody closed."""


def read_delimited(
    file: Path, delimiter: str = ",", longest: int = LONGEST, absent: Any = None
) -> tuple[tuple[str, ...], list[tuple[int, Mapping[Any, Any]]]]:
    """The rows of a table whose first line names its columns.

    Args:
        file: in UTF-8, with or without a byte order mark.
        delimiter: between two fields.
        longest: letters of a field.
        absent: stands in the fields that a row ends before.

    Returns:
        The columns, and line and fields of each row; what follows the last column stands under ``None``.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it is not UTF-8, is no such table, or a column comes twice.
    """
    try:
        text = require_file(file).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(Fault.RECORD, file, f"not UTF-8 ({error}): save it as UTF-8") from error
    before = csv.field_size_limit(longest)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restval=absent)
    try:
        columns = tuple(reader.fieldnames or ())
        rows: list[tuple[int, Mapping[Any, Any]]] = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        hint = "; is a quote not closed?" if "limit" in str(error) else ""
        raise DataError(Fault.RECORD, f"{file}, line {reader.line_num}", f"no table: {error}{hint}") from error
    finally:
        csv.field_size_limit(before)
    if len(set(columns)) < len(columns):
        twice = next(name for number, name in enumerate(columns) if name in columns[:number])
        raise DataError(Fault.RECORD, f"{file}, line 1", f"two columns are called {twice[:60]!r}")
    return columns, rows
