"""What a run is stopped for: an evaluated number that no longer gets better, a loss that explodes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from torch import nn

SETTLED = 20
"""Batches of a task before its loss has a level to compare with."""
_MEMORY = 0.98
"""Decay of the level: about the last fifty batches count."""


@dataclass(frozen=True)
class Evaluation:
    """A measurement of a model while it is trained, which knows beforehand what it measures.

    Attributes:
        run: takes the model; returns numbers by name.
        names: of all numbers that it may return, so that a wrong ``best`` is refused before the first step.
    """

    run: Callable[[nn.Module], Mapping[str, float]]
    names: frozenset[str]

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Measures the model."""
        return dict(self.run(model))


class BestWatch:
    """The best evaluation so far, and for how many evaluations it has been the best.

    Args:
        metric: name of the number; ``None`` watches nothing.
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
        """Takes an evaluation; returns whether it is the best so far. Not a number is never the best.

        Raises:
            ValueError: the evaluation does not give the number.
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
        """Raises ``ValueError`` where the number to watch is not among those that an evaluation gives."""
        if self.metric is not None and self.metric not in names:
            close = get_close_matches(self.metric, sorted(names), n=1, cutoff=0.0)
            there = f"the closest is '{close[0]}'" if close else "it gives none"
            raise ValueError(f"best: the evaluation gives no number '{self.metric}'; {there}")

    @property
    def over(self) -> bool:
        """Whether patience has run out."""
        return 0 < self.patience <= self.waited

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        numbers = {"value": self.value, "step": self.step, "first": self.first, "waited": self.waited}
        return {"metric": self.metric, **numbers}

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes :meth:`state`; one of another number is forgotten."""
        if state.get("metric") == self.metric:
            self.value, self.step, self.waited = state["value"], state["step"], state["waited"]
            self.first = state.get("first", self.value)


class LossLevel:
    """The running mean of each task's loss, and whether a batch is far above it.

    Args:
        ratio: how many times the mean is too much; 0 for no limit.
    """

    def __init__(self, ratio: float) -> None:
        self.ratio = ratio
        self.levels: dict[str, tuple[float, int]] = {}

    def limit(self, task: str) -> float | None:
        """The largest loss that a batch of the task may have; ``None`` before there is a level."""
        level, seen = self.levels.get(task, (0.0, 0))
        return level * self.ratio if self.ratio and seen >= SETTLED else None

    def add(self, task: str, loss: float) -> None:
        """Counts the loss of a batch."""
        level, seen = self.levels.get(task, (0.0, 0))
        decay = min(_MEMORY, seen / (seen + 1))
        self.levels[task] = (decay * level + (1 - decay) * abs(loss), seen + 1)

    def state(self) -> dict[str, tuple[float, int]]:
        """What a checkpoint keeps."""
        return dict(self.levels)

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes :meth:`state`."""
        self.levels = {task: (float(level), int(seen)) for task, (level, seen) in state.items()}
