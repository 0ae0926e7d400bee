"""What an evaluation leaves behind: a line per sample, the results, and a table beside the paper's figures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from instructseg.files import parse_json

_RES = "InstructSeg, table of RES and ReasonSeg (imgs/exp_res.jpg of its repository)"
_RVOS = "InstructSeg, table of R-VOS (imgs/exp_rvos.jpg of its repository)"
_REVOS = "InstructSeg, table of ReVOS (imgs/exp_revos.jpg of its repository)"
_VQA = "InstructSeg, table of multi-modal benchmarks (imgs/exp_mmbench.jpg of its repository)"


@dataclass(frozen=True)
class PaperFigures:
    """What the paper reports on a benchmark: metric to percent, and where it stands."""

    percent: Mapping[str, float]
    source: str


PAPER: Mapping[str, PaperFigures] = {
    "refcoco_val": PaperFigures({"cIoU": 85.8}, _RES),
    "refcoco_testA": PaperFigures({"cIoU": 86.6}, _RES),
    "refcoco_testB": PaperFigures({"cIoU": 84.0}, _RES),
    "refcoco+_val": PaperFigures({"cIoU": 80.1}, _RES),
    "refcoco+_testA": PaperFigures({"cIoU": 83.8}, _RES),
    "refcoco+_testB": PaperFigures({"cIoU": 75.6}, _RES),
    "refcocog_val": PaperFigures({"cIoU": 79.3}, _RES),
    "refcocog_test": PaperFigures({"cIoU": 80.3}, _RES),
    "reasonseg_val": PaperFigures({"gIoU": 61.9, "cIoU": 65.2}, _RES),
    "refytvos_valid": PaperFigures({"J": 65.4, "F": 69.5, "J&F": 67.5}, _RVOS),
    "refdavis_val": PaperFigures({"J": 67.3, "F": 74.9, "J&F": 71.1}, _RVOS),
    "revos_reasoning": PaperFigures({"J": 49.2, "F": 54.7, "J&F": 51.9}, _REVOS),
    "revos_referring": PaperFigures({"J": 54.8, "F": 59.2, "J&F": 57.0}, _REVOS),
    "revos_overall": PaperFigures({"J": 52.0, "F": 56.9, "J&F": 54.5}, _REVOS),
    "vqav2_test-dev": PaperFigures({"accuracy": 79.0}, _VQA),
    "mmbench": PaperFigures({"accuracy": 68.6}, _VQA),
    "gqa_testdev": PaperFigures({"accuracy": 62.3}, _VQA),
    "pope": PaperFigures({"f1": 87.0}, _VQA),
    "scienceqa_test": PaperFigures({"img_accuracy": 69.2}, _VQA),
}
"""By benchmark. RefCOCO's are of one instruction per object, joined from all its sentences."""

TABLE_HEADER = "| benchmark | metric | this run | paper | difference |\n|---|---|---:|---:|---:|"
"""Head of the Markdown table that :func:`markdown_rows` fills."""


def markdown_rows(benchmark: str, results: Mapping[str, float]) -> str:
    """A Markdown row per metric, in percent, beside the paper's figure where there is one.

    Args:
        benchmark: a key of :data:`PAPER`, or any other name.
        results: metric to value, 0..1.
    """
    paper = PAPER[benchmark].percent if benchmark in PAPER else {}
    rows = []
    for metric, value in results.items():
        ours = f"{100 * value:.2f}"
        beside = f"{paper[metric]:.1f} | {100 * value - paper[metric]:+.2f}" if metric in paper else "– | –"
        rows.append(f"| {benchmark} | {metric} | {ours} | {beside} |")
    return "\n".join(rows)


class SampleLog:
    """A JSON line per sample, appended as it is done, so that an interrupted run knows where it was.

    Opened again, it reads what is there; a last line that was cut off while it was written is dropped. One
    process writes one file.

    Example::

        with SampleLog(folder / "samples.jsonl") as log:
            for sample in dataset:
                if sample.name not in log:
                    log.append(sample.name, iou=...)
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

    def append(self, name: str, **values: Any) -> None:
        """Writes the record of one sample.

        Args:
            name: of the sample.
            values: what JSON can hold.

        Raises:
            ValueError: the sample has a record already.
        """
        if name in self._records:
            raise ValueError(f"{self._path} has a record of sample '{name}' already")
        record = {"name": name, **values}
        self._file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        self._records[name] = record

    def close(self) -> None:
        """Closes the file; nothing can be appended after."""
        self._file.close()

    def __enter__(self) -> SampleLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
            told = str(error).removeprefix(f"{where} ")
            raise ValueError(f"{where} is damaged: {told}") from error
        if not isinstance(record, dict) or not isinstance(record.get("name"), str):
            raise ValueError(f"{path}, line {number} is no record of a sample: it has no 'name'")
        if record["name"] in records:
            raise ValueError(f"{path}, line {number} repeats sample '{record['name']}'")
        records[record["name"]] = record
    return records


def _read_whole_lines(path: Path) -> list[dict[str, Any]]:
    """Reads the records and cuts off what follows the last line's end."""
    if not path.exists():
        return []
    records = read_samples(path)
    whole = path.read_bytes().rfind(b"\n") + 1
    with path.open("r+b") as file:
        file.truncate(whole)
    return list(records.values())
