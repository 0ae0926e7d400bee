"""Log of samples, and the table of results beside the paper's figures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from instructseg.data.catalog import paper_figures
from instructseg.files import parse_json

TABLE_HEADER = "| benchmark | metric | this run | paper | difference |\n|---|---|---:|---:|---:|"
"""Head of the Markdown table that :func:`markdown_rows` fills."""


def markdown_rows(benchmark: str, results: Mapping[str, float]) -> str:
    """A Markdown row per metric, in percent, beside the paper's figure where there is one.

    Args:
        benchmark: name of the row; see :func:`instructseg.data.catalog.paper_figures`.
        results: metric to value, 0..1.
    """
    paper = paper_figures(benchmark)
    rows = []
    for metric, value in results.items():
        ours = f"{100 * value:.2f}"
        beside = f"{paper[metric]:.1f} | {100 * value - paper[metric]:+.2f}" if metric in paper else "– | –"
        rows.append(f"| {benchmark} | {metric} | {ours} | {beside} |")
    return "\n".join(rows)


class SampleLog:
    """One JSON line per finished sample, so that an interrupted run can resume.

    An existing file is read and continued; an incomplete last line is dropped. One process writes one file.

    Example::

        with SampleLog(folder / "samples.jsonl") as log:
            for sample in dataset:
                if sample.name not in log:
                    log.append({"name": sample.name, "iou": ...})
    """

    def __init__(self, path: Path) -> None:
        """Opens ``path`` for appending; makes it and its folder if need be.

        Raises:
            ValueError: a line that is not the last is damaged, or a name comes twice.
        """
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._records = {record["name"]: record for record in _read_whole_lines(path)}
        self._file: BinaryIO = path.open("ab")

    def __contains__(self, name: str) -> bool:
        return name in self._records

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The records, in the order they were written."""
        return iter(self._records.values())

    def append(self, record: Mapping[str, Any]) -> None:
        """Writes the record of one sample, JSON values with a ``name``.

        Raises:
            ValueError: the sample has a record already.
        """
        name = record["name"]
        if name in self._records:
            raise ValueError(f"{self._path} has a record of sample '{name}' already")
        self._file.write(json.dumps(dict(record), ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        self._records[name] = dict(record)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> SampleLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_samples(path: Path) -> dict[str, dict[str, Any]]:
    """The records of a :class:`SampleLog` by sample name, without a half-written last line.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is damaged, or a name comes twice.
    """
    records: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        where = f"{path}, line {number}"
        try:
            record = parse_json(line, where)
        except ValueError as error:
            reason = str(error).removeprefix(f"{where} ")
            raise ValueError(f"{where} is damaged: {reason}") from error
        if not isinstance(record, dict) or not isinstance(record.get("name"), str):
            raise ValueError(f"{path}, line {number} is no record of a sample: it has no 'name'")
        if record["name"] in records:
            raise ValueError(f"{path}, line {number} repeats sample '{record['name']}'")
        records[record["name"]] = record
    return records


def _read_whole_lines(path: Path) -> list[dict[str, Any]]:
    """Reads the records and truncates an incomplete last line."""
    if not path.exists():
        return []
    records = read_samples(path)
    whole = path.read_bytes().rfind(b"\n") + 1
    with path.open("r+b") as file:
        file.truncate(whole)
    return list(records.values())
