"""Metrics of a run: JSON lines, and a progress bar or log lines."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from instructseg.distributed import gathered
from instructseg.engine.disk import explained
from instructseg.files import parse_json, write_text_atomic

logger = logging.getLogger(__name__)


class Means:
    """Running means of named numbers; tensors are synchronized only by :meth:`take`."""

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor | float] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: Mapping[str, torch.Tensor | float]) -> None:
        """Adds each value; names may differ from call to call."""
        for name, value in values.items():
            value = value.detach() if isinstance(value, torch.Tensor) else value
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def take(self) -> dict[str, float]:
        """Returns the means over all processes, which must all call it, and resets them."""
        mine = {name: (float(value), self._counts[name]) for name, value in self._sums.items()}
        self._sums, self._counts = {}, {}
        sums: dict[str, tuple[float, int]] = {}
        for theirs in gathered(mine):
            for name, (value, count) in theirs.items():
                total, seen = sums.get(name, (0.0, 0))
                sums[name] = (total + value, seen + count)
        return {name: total / seen for name, (total, seen) in sums.items()}


def read_metrics(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Reads the valid lines of a ``metrics.jsonl``, and counts the others: damaged or half-written.

    A process killed while it writes leaves half a line, and that one comes after every checkpoint.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    found, others = [], 0
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            value = parse_json(line, str(path)) if line.endswith(b"\n") else None
        except ValueError:
            value = None
        if isinstance(value, dict) and type(value.get("step")) is int:
            found.append(value)
        else:
            others += 1
    return found, others


class MetricsFile:
    """``metrics.jsonl``: one object per line, ``step`` first, flushed line by line.

    Args:
        path: truncated after ``step`` if it exists, so a resumed run reads like an uninterrupted one.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        lines, others = read_metrics(path) if path.exists() else ([], 0)
        if others:
            logger.warning("%s: skipped %d damaged or half-written lines", path, others)
        with explained(path):
            write_text_atomic(path, "".join(json.dumps(line) + "\n" for line in lines if line["step"] <= step))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Appends one line."""
        with explained(self.path), self.path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")


class Progress:
    """Progress bar on a terminal, log lines elsewhere; a context manager.

    Args:
        enabled: true on the first process only.
    """

    def __init__(self, max_steps: int, enabled: bool = True) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        console = Console(stderr=True)
        self.max_steps = max_steps
        self.enabled = enabled
        self.live = enabled and console.is_terminal
        columns = (TextColumn("step {task.fields[step]}"), BarColumn(20), TextColumn("{task.description}"))
        self.bar = Bar(*columns, console=console, disable=not self.live)
        self.task = self.bar.add_task("", total=1.0, step=f"0/{max_steps}")

    def __enter__(self) -> Progress:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def show(self, step: int, values: Mapping[str, float], share: float, seconds_left: float) -> None:
        """Shows ``values`` after ``step`` steps, ``share`` (0..1) of the run."""
        minutes, seconds = divmod(round(seconds_left), 60)
        text = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        text += f"  left {minutes // 60}:{minutes % 60:02}:{seconds:02}"
        self.bar.update(self.task, completed=share, description=text, step=f"{step}/{self.max_steps}")
        if self.enabled and not self.live:
            logger.info("step %d/%d  %s", step, self.max_steps, text)
