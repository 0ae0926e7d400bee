"""A bar on stderr that tells how far, how fast and how long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

_Item = TypeVar("_Item")


class _Rate(ProgressColumn):
    """Items per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        """What stands in the column."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} {self.unit}/s" if speed else "", style="progress.data.speed")


@contextmanager
def progress(items: Iterable[_Item], total: int | None, unit: str, label: str) -> Iterator[Iterable[_Item]]:
    """Gives ``items`` back; a bar moves as they are taken, where stderr is a terminal.

    Args:
        items: what is worked on.
        total: how many there are, ``None`` where nobody knows.
        unit: what they are called.
        label: what they belong to.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(unit),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    # rich would send what is printed on stdout to stderr as well
    with Progress(*columns, console=console, redirect_stdout=False, disable=not console.is_terminal) as bar:
        yield bar.track(items, total=total, description=label)
