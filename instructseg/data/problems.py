"""Problems of data sets on disk, as lines of a report and as errors."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any


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
        fault: the kind.
        where: the exact path, followed by what in it (an id, a line) where that is known.
        message: what is wrong and, where that helps, what to do.
    """

    fault: Fault
    where: str
    message: str

    def __str__(self) -> str:
        """One line that any terminal can print, whatever the names in it are."""
        line = f"{self.where}: {self.message}"
        return line if line.isprintable() else "".join(map(_printable, line))


def _printable(letter: str) -> str:
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")


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
