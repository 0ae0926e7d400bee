"""Batches of drawn lessons for the trainer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class LessonSource:
    """Batch ``i`` of drawn lessons (see ``engine.BatchSource``).

    Attributes:
        draw: a batch, from random numbers and its number.
        count: lessons of a batch.
        seed: of all that is drawn.
    """

    draw: Callable[[np.random.Generator, int], Any]
    count: int
    seed: int = 0

    def batch(self, index: int) -> tuple[Any, list[Any]]:
        """The truth is in the batch, so there are no targets beside it."""
        return self.draw(np.random.default_rng([self.seed, index]), index), []

    def names(self, index: int) -> list[str]:
        """Names of the samples of a batch."""
        return [f"scene {place} of batch {index}" for place in range(self.count)]
