"""Early stopping on a validation metric, loss-explosion detection, and stop requests by Ctrl-C and SIGTERM."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from torch import nn

from instructseg.distributed import rank, world_size
from instructseg.engine.checkpoint import latest
from instructseg.engine.step import BatchSource
from instructseg.files import write_json_atomic

logger = logging.getLogger(__name__)

FAILURE = "failure.json"
"""File that names the samples of a diverged step."""

SETTLED = 20
"""Batches of a task before its loss is compared with its running mean."""
_MEMORY = 0.98
"""Decay of the running mean: about the last fifty batches count."""


@dataclass(frozen=True)
class Validation:
    """Evaluation of a model during training.

    Attributes:
        run: takes the model; returns metrics by name.
        names: of all metrics it may return, so that a wrong ``best`` is refused before the first step.
    """

    run: Callable[[nn.Module], Mapping[str, float]]
    names: frozenset[str]

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Evaluates the model."""
        return dict(self.run(model))


class BestWatch:
    """Best evaluation so far, and the number of evaluations since.

    Args:
        metric: name of the metric; ``None`` watches nothing.
        mode: ``max`` or ``min``.
        patience: evaluations without a new best after which :attr:`over` is true; 0 for never.
    """

    def __init__(self, metric: str | None, mode: str, patience: int) -> None:
        self.metric, self.mode, self.patience = metric, mode, patience
        self.value: float | None = None
        self.step: int | None = None
        self.first: float | None = None
        self.waited = 0

    def see(self, step: int, values: Mapping[str, float]) -> bool:
        """Records an evaluation; returns whether it is the best so far (NaN never is).

        Raises:
            ValueError: the evaluation lacks the metric.
        """
        if self.metric is None:
            return False
        self.check(values)
        value = float(values[self.metric])
        self.first = value if self.first is None else self.first
        sign = 1 if self.mode == "max" else -1
        if value == value and (self.value is None or sign * value > sign * self.value):
            self.value, self.step, self.waited = value, step, 0
            return True
        self.waited += 1
        return False

    def check(self, names: Collection[str]) -> None:
        """Raises ``ValueError`` unless ``names`` contain the metric."""
        if self.metric is not None and self.metric not in names:
            close = get_close_matches(self.metric, sorted(names), n=1, cutoff=0.0)
            there = f"the closest is '{close[0]}'" if close else "it has none"
            raise ValueError(f"best: the evaluation has no metric '{self.metric}'; {there}")

    @property
    def over(self) -> bool:
        """Whether patience has run out."""
        return 0 < self.patience <= self.waited

    def state(self) -> dict[str, Any]:
        """State for a checkpoint."""
        numbers = {"value": self.value, "step": self.step, "first": self.first, "waited": self.waited}
        return {"metric": self.metric, **numbers}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restores :meth:`state`, unless it is of another metric."""
        if state.get("metric") == self.metric:
            self.value, self.step, self.waited = state["value"], state["step"], state["waited"]
            self.first = state.get("first", self.value)


class LossLevel:
    """Running mean of each task's loss, and the limit above it.

    Args:
        ratio: limit as a multiple of the mean; 0 for no limit.
    """

    def __init__(self, ratio: float) -> None:
        self.ratio = ratio
        self.levels: dict[str, tuple[float, int]] = {}

    def limit(self, task: str) -> float | None:
        """Largest accepted loss of the task; ``None`` before :data:`SETTLED` batches."""
        level, seen = self.levels.get(task, (0.0, 0))
        return level * self.ratio if self.ratio and seen >= SETTLED else None

    def add(self, task: str, loss: float) -> None:
        """Adds the loss of a batch."""
        level, seen = self.levels.get(task, (0.0, 0))
        decay = min(_MEMORY, seen / (seen + 1))
        self.levels[task] = (decay * level + (1 - decay) * abs(loss), seen + 1)

    def state(self) -> dict[str, tuple[float, int]]:
        """State for a checkpoint."""
        return dict(self.levels)

    def load(self, state: Mapping[str, Any]) -> None:
        """Restores :meth:`state`."""
        self.levels = {task: (float(level), int(seen)) for task, (level, seen) in state.items()}


class Diverged(FloatingPointError, ValueError):
    """A loss or gradient is not finite, or far too large."""


def fail(
    output_dir: Path, source: BatchSource, step: int, what: str, value: float, indices: Iterable[int], why: str
) -> NoReturn:
    """Writes the samples of the failed step to ``failure.json``, and raises.

    Args:
        what: ``loss`` or ``gradient``.
        why: reason to append; empty for a value that is not finite.

    Raises:
        Diverged: always; in one line.
    """
    names = [name for index in indices for name in source.names(index)]
    kept = latest(output_dir)
    whose = f" of process {rank()}" if world_size() > 1 else ""
    note = {"step": step, "what": what, "value": str(value), "samples": names, "checkpoint": str(kept)}
    try:
        write_json_atomic(output_dir / FAILURE, note, indent=2)
    except OSError as error:  # the error itself matters more than the file
        logger.warning("%s could not be written: %s", output_dir / FAILURE, error)
    last = f"; the last checkpoint is {kept}" if kept else ""
    raise Diverged(f"{what}{whose} is {value} at step {step}{why}; samples: {', '.join(names)}{last}")


class Interrupted(KeyboardInterrupt):
    """The run stopped on request, after writing a checkpoint; the message says how to resume."""


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Collects the first Ctrl-C or SIGTERM in a list; the second one kills."""
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, before[number])
        logger.warning("finishing the step and writing a checkpoint; once more to stop at once")

    # only the main thread may set handlers
    main = threading.current_thread() is threading.main_thread()
    numbers: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM) if main else ()
    before: dict[int, Any] = {number: signal.signal(number, note) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
