"""Interface of data sets, and their check.

A data set is opened from its official files and read lazily: opening keeps the annotations in a compact
form; images are read and masks decoded when a sample is asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from instructseg import files
from instructseg.data.problems import DataError as DataError
from instructseg.data.problems import Fault as Fault
from instructseg.data.problems import MissingFile as MissingFile
from instructseg.data.problems import Problem as Problem
from instructseg.media import load_image
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

    def describe(self) -> str:
        """One line for logs."""
        return f"{self.name}: " + ", ".join(f"{value:,} {what}" for what, value in self.counts().items())


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


def check_parts(
    name: str, root: str | Path, parts: Mapping[str, Callable[[], Dataset]], deep: bool = False
) -> CheckReport:
    """Opens the parts of a data set in turn and collects their problems.

    Args:
        name: of the data set, for the report.
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
                message = (
                    f"{found:,} {what}, expected {expected[what]:,}: a file is incomplete or another version"
                )
                problems[Problem(Fault.COUNT, part, message)] = None
    return CheckReport(name, root, tuple(counts), tuple(problems))


def local_counts(root: Path) -> Mapping[str, Mapping[str, int]] | None:
    """Counts by part of a generated copy; ``None`` for any other ``root``.

    Raises:
        DataError: the file holds something else.
    """
    file = root / COUNTS_FILE
    if not file.is_file():
        return None
    counts: dict[str, dict[str, int]] = read_json(file, dict)
    for part, found in counts.items():
        if not isinstance(found, dict) or not all(type(count) is int for count in found.values()):
            raise DataError(Fault.RECORD, f"{file}, {part}", "expected whole numbers by name")
    return counts


def _decode_all(dataset: Dataset) -> Iterator[Problem]:
    for index in range(len(dataset)):
        try:
            dataset[index]
        except (OSError, ValueError) as error:
            yield _problem(error, f"{dataset.name}, sample {index}")


def _problem(error: Exception, where: str) -> Problem:
    if isinstance(error, DataError | MissingFile):
        return error.problem
    fault = Fault.FILE if isinstance(error, FileNotFoundError) else Fault.RECORD
    return Problem(fault, where, str(error))


def missing_files(files: Iterable[Path]) -> Iterator[Problem]:
    """A problem per missing file; a missing folder is reported once, with its number of files.

    Lists folders instead of asking for each file, which takes seconds for 100,000 files on a network disk.
    """
    by_folder: dict[Path, set[str]] = {}
    for file in files:
        by_folder.setdefault(file.parent, set()).add(file.name)
    for folder, names in by_folder.items():
        if not folder.is_dir():
            yield Problem(
                Fault.FILE, str(folder), f"the folder is missing; it should hold {len(names):,} files"
            )
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
        path: as of :func:`instructseg.files.read_json`.
        kind: what it must hold: ``list`` or ``dict``.
        object_hook: applied to every object as it is parsed, so that it need not be kept as it is.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it is not JSON, holds something else, or an object has two values for one key.
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
    """Location and content of each object of a JSON-lines file; skips empty lines.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: a line is not a JSON object; names the line.
    """
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
    """``uint8[H, W, 3]`` RGB.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it cannot be decoded.
    """
    try:
        return load_image(require_file(path))
    except ValueError as error:
        raise DataError(Fault.IMAGE, path, str(error).removeprefix(f"{path} ")) from error


def fit(mask: np.ndarray, image: np.ndarray, where: str | Path) -> np.ndarray:
    """``mask`` ``[..., H, W]``; raises :class:`DataError` where the sizes differ from the image's."""
    if mask.shape[-2:] != image.shape[:2]:
        (h, w), (height, width) = mask.shape[-2:], image.shape[:2]
        raise DataError(
            Fault.MASK, where, f"a mask of {h} x {w} on an image of {height} x {width} (height x width)"
        )
    return mask


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
        self._ends = np.cumsum([len(part) for part in parts])

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
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)} in {self.name}")
        number = int(np.searchsorted(self._ends, index, side="right"))
        return self.parts[number], index - int(self._ends[number]) + len(self.parts[number])
