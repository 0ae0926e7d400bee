"""Means independent of order and of the distribution over processes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar


@dataclass
class Mean:
    """Mean of stored values; all are kept, since rounded sums depend on the order."""

    values: list[float] = field(default_factory=list)

    def add(self, value: float) -> None:
        """Counts one value."""
        self.values.append(float(value))

    def merge(self, other: Mean) -> None:
        """Adds the counts of ``other``."""
        self.values.extend(other.values)

    @property
    def count(self) -> int:
        """Number of values."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """Their mean; 0 without values."""
        return mean(self.values)


def mean(values: Iterable[float]) -> float:
    """The mean, from an exactly rounded sum; 0 of nothing."""
    kept = list(values)
    return math.fsum(kept) / len(kept) if kept else 0.0


class Mergeable(Protocol):
    """Sums that can be merged over processes."""

    def merge(self, other: Any) -> None:
        """Adds the counts of ``other``, of the same class."""


S = TypeVar("S", bound=Mergeable)


def merged(sums: S) -> S:
    """The sums of all processes, the same in each; ``sums`` itself is not changed.

    Every process must call it, with sums of the same class.

    Args:
        sums: can be pickled.
    """
    import torch.distributed as dist  # not above: the processes that score masks start faster without torch

    from instructseg import distributed

    if distributed.world_size() == 1:
        return sums
    gathered: list[Any] = [None] * distributed.world_size()
    dist.all_gather_object(gathered, sums)
    total, *others = gathered
    for other in others:
        total.merge(other)
    return total
