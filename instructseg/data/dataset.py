"""Interface of data sets, and their check.

A data set is opened from its official files and read lazily: opening keeps the annotations in a compact
form; images are read and masks decoded when a sample is asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from instructseg.data.data_files import read_json
from instructseg.data.records import DataError, Fault, MissingFile, Problem
from instructseg.structures import Sample

Sentences = Literal["each", "joined"]
"""``each``: a sample per sentence, as the field evaluates. ``joined``: all sentences of the same objects in one
sample, as the official code trains and evaluates."""

COUNTS_FILE = "counts.json"
"""In the root of a generated copy: part -> counts, which hold there instead of the published ones."""


class Dataset(ABC):
    """Map-style data set of :class:`~instructseg.structures.Sample`; safe to share between processes.

    Attributes:
        name: of the part that was opened, such as ``refcoco/unc/val``; samples are named below it.
        published: what the publication says of :meth:`counts`; empty where it says nothing.
    """

    name: str
    published: Mapping[str, int] = {}

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """Sample ``index``, always the same one.

        Raises:
            IndexError: ``index`` is outside ``0 <= index < len(self)``.
            FileNotFoundError: an image is missing; names the path.
            DataError: an image cannot be decoded, or a mask does not fit it.
        """

    def draw(self, index: int, rng: np.random.Generator) -> Sample:
        """Sample ``index`` with the random choices of training (frames, wording); by default none.

        A function of ``index`` and the generator's state alone. Raises as :meth:`__getitem__`.
        """
        return self[index]

    @abstractmethod
    def image_key(self, index: int) -> str:
        """Identifies the pixels of sample ``index``; equal for samples that may share features.

        Costs nothing: no file is opened.
        """

    @abstractmethod
    def counts(self) -> dict[str, int]:
        """Counts, in words of the publication (``images``, ``refs``, ``sentences``, ...).

        Entries that were left out on purpose are counted as well, as ``skipped: <reason>``.
        """

    def inspect(self) -> Iterator[Problem]:
        """Problems detectable without decoding; by default none."""
        return iter(())

    def sources(self) -> Iterator[Path]:
        """Files of custom data, which may change; repeated files are possible."""
        return iter(())

    def readers(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """Place and reader of everything that a deep check reads, by default of every sample."""
        for index in range(len(self)):
            yield f"{self.name}, sample {index}", partial(self.__getitem__, index)

    def check_index(self, index: int) -> None:
        """Raises ``IndexError`` unless ``0 <= index < len(self)``."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)} in {self.name}")

    def describe(self) -> str:
        """One line for logs."""
        return f"{self.name}: " + ", ".join(f"{value:,} {what}" for what, value in self.counts().items())


Parts = Mapping[str, Callable[[], Dataset]]
"""Name of a part in a report -> its opener."""


@dataclass(frozen=True)
class Count:
    """Number of ``what`` in ``part``; ``expected`` is ``None`` if unpublished."""

    part: str
    what: str
    found: int
    expected: int | None = None


@dataclass(frozen=True)
class CheckReport:
    """Counts and problems of a checked data set."""

    name: str
    root: Path
    counts: tuple[Count, ...]
    problems: tuple[Problem, ...]


def check_parts(name: str, root: str | Path, parts: Parts, deep: bool = False) -> CheckReport:
    """Opens the parts of a data set in turn and collects their problems.

    Args:
        root: its folder; a ``counts.json`` there replaces the published counts.
        parts: name -> opener. A part that cannot be opened is a problem of the report, not an error.
        deep: also reads every image and decodes every mask.
    """
    root = Path(root)
    counts: list[Count] = []
    problems: dict[Problem, None] = {}  # in order, each once: parts share files
    try:
        local = local_counts(root)
    except ValueError as error:
        local = None
        problems[_problem(error, COUNTS_FILE)] = None
    for part, opener in parts.items():
        try:
            dataset = opener()
        except (OSError, ValueError) as error:
            problems[_problem(error, part)] = None
            continue
        try:
            problems.update(dict.fromkeys(dataset.inspect()))
        except (OSError, ValueError) as error:  # a file that is looked at for the check alone
            problems[_problem(error, part)] = None
        if deep:
            problems.update(dict.fromkeys(_decode_all(dataset)))
        expected = dataset.published if local is None else local.get(part, {})
        for what, found in dataset.counts().items():
            counts.append(Count(part, what, found, expected.get(what)))
            if expected.get(what, found) != found:
                message = f"{found:,} {what}, expected {expected[what]:,}: a file is incomplete or another"
                problems[Problem(Fault.COUNT, part, f"{message} version")] = None
    return CheckReport(name, root, tuple(counts), tuple(problems))


def local_counts(root: Path) -> Mapping[str, Mapping[str, int]] | None:
    """Counts by part of a generated copy; ``None`` for any other ``root``; raises as :func:`.read_json`."""
    file = root / COUNTS_FILE
    if not file.is_file():
        return None
    counts: dict[str, dict[str, int]] = read_json(file, dict)
    for part, found in counts.items():
        if not isinstance(found, dict) or not all(type(count) is int for count in found.values()):
            raise DataError(Fault.RECORD, f"{file}, {part}", "expected whole numbers by name")
    return counts


def _decode_all(dataset: Dataset) -> Iterator[Problem]:
    for place, read in dataset.readers():
        try:
            read()
        except (OSError, ValueError) as error:
            yield _problem(error, place)


def _problem(error: Exception, where: str) -> Problem:
    if isinstance(error, DataError | MissingFile):
        return error.problem
    fault = Fault.FILE if isinstance(error, FileNotFoundError) else Fault.RECORD
    return Problem(fault, where, str(error))


def check_split(name: str, split: str | None, splits: Iterable[str]) -> None:
    """Raises ``ValueError`` where the data set ``name`` has no such split."""
    if split not in (known := tuple(splits)):
        raise ValueError(f"{name} has no split {split!r}: there are {', '.join(known)}")


def check_sentences(sentences: str) -> None:
    """Raises ``ValueError`` for anything other than :data:`Sentences`."""
    if sentences not in ("each", "joined"):
        raise ValueError(f"sentences must be 'each' or 'joined', got {sentences!r}")


class Concatenated(Dataset):
    """Data sets one after the other.

    Args:
        parts: at least one.
        name: of the whole; by default the names of the parts, joined by ``+``.
    """

    def __init__(self, parts: Sequence[Dataset], name: str | None = None) -> None:
        if not parts:
            raise ValueError(f"{name or 'Concatenated'}: nothing to concatenate")
        self.name = "+".join(part.name for part in parts) if name is None else name
        self.parts = tuple(parts)
        self._ends = np.cumsum([0, *map(len, parts)])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Sample:
        part, inside = self._locate(index)
        return part[inside]

    def draw(self, index: int, rng: np.random.Generator) -> Sample:
        """See :meth:`Dataset.draw`."""
        part, inside = self._locate(index)
        return part.draw(inside, rng)

    def image_key(self, index: int) -> str:
        """See :meth:`Dataset.image_key`."""
        part, inside = self._locate(index)
        return part.image_key(inside)

    def counts(self) -> dict[str, int]:
        """Sums over the parts; a shared image counts twice."""
        total: dict[str, int] = {}
        for part in self.parts:
            for what, found in part.counts().items():
                total[what] = total.get(what, 0) + found
        return total

    def inspect(self) -> Iterator[Problem]:
        """Problems of all parts."""
        for part in self.parts:
            yield from part.inspect()

    def sources(self) -> Iterator[Path]:
        """The files of all parts."""
        for part in self.parts:
            yield from part.sources()

    def _locate(self, index: int) -> tuple[Dataset, int]:
        self.check_index(index)
        number, inside = locate(self._ends, index)
        return self.parts[number], inside


def locate(ends: np.ndarray, index: int) -> tuple[int, int]:
    """Group of an item and its place there; ``ends`` are 0 and the summed lengths of the groups up to each."""
    group = int(np.searchsorted(ends, index, side="right")) - 1
    return group, index - int(ends[group])
