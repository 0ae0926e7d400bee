"""Typed records of data files, and the problems found in them; errors name the file and the record.

Every adapter reads its records by these, so that the same content is judged by the same rule in each format.
"""

from __future__ import annotations

import math
import reprlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from instructseg.files import name_fault, printable
from instructseg.masks import mask_size, numbers

T = TypeVar("T")
Id = int | str
"""A number or a text: two records of a kind never share one."""


class Fault(str, Enum):
    """Kinds of problems of a data set on disk."""

    FILE = "missing file"
    RECORD = "unreadable record"
    ID = "id that does not join"
    IMAGE = "undecodable image"
    MASK = "mask that does not fit"
    COUNT = "unexpected count"


@dataclass(frozen=True)
class Problem:
    """One problem.

    Attributes:
        where: the exact path, followed by what in it (an id, a line) where that is known.
        message: what is wrong and, where that helps, what to do.
    """

    fault: Fault
    where: str
    message: str

    def __str__(self) -> str:
        """One line that any terminal can print, whatever the names in it are."""
        return printable(f"{self.where}: {self.message}")


class DataError(ValueError):
    """A :class:`Problem` that stops the reader; its text is the problem in one line."""

    def __init__(self, fault: Fault, where: str | Path, message: str) -> None:
        self.problem = Problem(fault, str(where), message)
        super().__init__(str(self.problem))

    def __reduce__(self) -> tuple[Any, ...]:  # crosses process borders with its loader worker
        return type(self), (self.problem.fault, self.problem.where, self.problem.message)


class MissingFile(FileNotFoundError):
    """A file that should be there; its text is the problem in one line."""

    def __init__(self, path: str | Path) -> None:
        self.problem = Problem(Fault.FILE, str(path), "the file is missing")
        super().__init__(str(self.problem))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problem.where,)


@dataclass(frozen=True, slots=True)
class Record:
    """An object of a data file.

    Attributes:
        where: the file and the place in it, for errors.
    """

    value: Mapping[str, Any]
    where: str

    @classmethod
    def of(cls, value: Any, where: str | Path) -> Record:
        """Raises :class:`DataError` where ``value`` is no object with fields."""
        if not isinstance(value, dict):
            raise fault(where, f"expected an object with fields, got {shown(value)}")
        return cls(value, str(where))

    def at(self, where: str) -> Record:
        """The same record, named in another way."""
        return Record(self.value, where)

    def get(self, name: str) -> Any:
        """A field as it is; raises :class:`DataError` where there is none."""
        if name not in self.value:
            raise fault(self.where, f"no {name!r}")
        return self.value[name]

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self.value.get(name) is not None

    def text(self, name: str) -> str:
        """A text that says something."""
        return text(self.get(name), self.where, name)

    def string(self, name: str) -> str:
        """A text that may be empty."""
        return text(self.get(name), self.where, name, blank=True)

    def id(self, name: str) -> Id:
        """See :func:`identifier`."""
        return identifier(self.get(name), self.where, name)

    def whole(self, name: str, least: int = 0) -> int:
        """A whole number of at least ``least``, also written as 40.0."""
        return whole(self.get(name), self.where, name, least)

    def size(self, height: str = "height", width: str = "width") -> tuple[int, int]:
        """Height and width in pixels."""
        given = self.get(height), self.get(width)
        try:
            return mask_size(given)
        except ValueError as error:
            raise fault(self.where, f"{height} and {width}: {error}") from error

    def list(self, name: str) -> list[Any]:
        """A list of anything."""
        found = self.get(name)
        if not isinstance(found, list):
            raise fault(self.where, f"{name} is no list, but {shown(found)}")
        return found

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(text(entry, self.where, name) for entry in self.list(name))

    def ids(self, name: str) -> tuple[str, ...]:
        """A list of ids as texts, each once."""
        return tuple(dict.fromkeys(str(identifier(entry, self.where, name)) for entry in self.list(name)))

    def names(self, name: str) -> tuple[str, ...]:
        """A list of different names of files below a folder."""
        found = tuple(file_name(entry, self.where, name) for entry in self.list(name))
        return once(found, self.where, name)

    def records(self, name: str) -> Iterator[Record]:
        """A list of objects."""
        for number, entry in enumerate(self.list(name)):
            yield Record.of(entry, f"{self.where}, {name}[{number}]")

    def table(self, name: str) -> Mapping[str, Any]:
        """An object with fields."""
        found = self.get(name)
        if not isinstance(found, dict):
            raise fault(self.where, f"{name} is no object with fields, but {shown(found)}")
        return found


def read_points(shape: Record) -> np.ndarray:
    """``float64[n, 2]``, the x and y of the ``points`` of a LabelMe shape, which may be none."""
    try:
        found = numbers(shape.list("points"), "a shape")
    except ValueError as error:
        raise fault(shape.where, str(error)) from error
    if found.size and (found.ndim != 2 or found.shape[1] != 2):
        raise fault(shape.where, "a point of a shape is not x and y")
    return found.reshape(-1, 2)


@contextmanager
def file_kind(file: Path, title: str) -> Iterator[None]:
    """Adds the expected kind of file to errors about its records.

    Raises:
        DataError: whatever the block raised.
    """
    try:
        yield
    except DataError as error:
        problem = error.problem
        if problem.fault is not Fault.RECORD or not problem.where.startswith(str(file)):
            raise
        place = problem.where.removeprefix(str(file)).removeprefix(", ")
        message = f"{title}: {problem.message}" + (f" ({place})" if place else "")
        raise DataError(problem.fault, file, message) from error


def fault(where: str | Path, message: str, kind: Fault = Fault.RECORD) -> DataError:
    """The error of a record."""
    return DataError(kind, where, message)


def shown(value: Any) -> str:
    """A value for an error: short, whatever it is."""
    return reprlib.repr(value)


def text(value: Any, where: str | Path, what: str, blank: bool = False) -> str:
    """``value``; raises :class:`DataError` where it is no text, a blank one, or one that cannot be written."""
    if not isinstance(value, str):
        raise fault(where, f"{what} is no text, but {shown(value)}")
    if not blank and not value.strip():
        raise fault(where, f"{what} is empty")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise fault(
            where, f"{what} holds half of a surrogate pair, which is no text: {shown(value)}"
        ) from error
    return value


def identifier(value: Any, where: str | Path, what: str) -> Id:
    """An id: a whole number, also written as 7.0, or a text; raises :class:`DataError` for anything else."""
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        return text(value, where, what)
    raise fault(where, f"{what} is no id, a number or a text, but {shown(value)}", Fault.ID)


def whole(value: Any, where: str | Path, what: str, least: int = 0) -> int:
    """A whole number of at least ``least``; raises :class:`DataError` for anything else."""
    number = identifier(value, where, what) if isinstance(value, int | float) else value
    if not isinstance(number, int) or isinstance(number, bool) or number < least:
        raise fault(where, f"{what} is no whole number of at least {least}, but {shown(value)}")
    return number


def file_name(value: Any, where: str | Path, what: str) -> str:
    """A name of a file below the folder of the data; raises :class:`DataError` where it leads elsewhere."""
    if message := name_fault(value):
        raise fault(where, f"{what} {shown(value)} names no file below the data: {message}", Fault.FILE)
    return str(value)


def path_name(value: Any, where: str | Path, what: str) -> str:
    """A path of custom data, which may lead anywhere; raises :class:`DataError` where it is none."""
    found = text(value, where, what)
    if "\0" in found or any(len(part.encode()) > 255 for part in found.split("/")):
        raise fault(where, f"{what} {shown(found)} is no path of a file", Fault.FILE)
    return found


def by_id(
    entries: Iterable[tuple[Hashable, T, str]], what: str, same: Callable[[T, T], bool] = lambda a, b: a == b
) -> dict[Any, T]:
    """The entries by their id; every map from ids is made here.

    Args:
        entries: id, entry, and where it stands.
        what: an entry is called.
        same: whether two entries with one id are the same: written twice, such a one does no harm.

    Raises:
        DataError: two different entries have one id; names both.
    """
    found: dict[Any, T] = {}
    places: dict[Any, tuple[int, str]] = {}
    for number, (key, entry, where) in enumerate(entries):
        if key in found and not same(found[key], entry):
            first, place = places[key]
            # where a place is an id, only the order distinguishes the two
            one, other = (
                ("here", f"that at {place}") if place != where else (f"[{first}]", f"that at [{number}]")
            )
            message = f"the {what} {one} and {other} have one id, {key!r}: give each its own"
            raise fault(where, message, Fault.ID)
        if key not in found:
            found[key], places[key] = entry, (number, where)
    return found


def once(values: tuple[T, ...], where: str | Path, what: str) -> tuple[T, ...]:
    """``values``; raises :class:`DataError` where one comes twice."""
    if len(set(values)) < len(values):
        ((twice, _),) = Counter(values).most_common(1)
        raise fault(where, f"{what} {shown(twice)} comes more than once: give each its own", Fault.ID)
    return values
