"""Means independent of order and of the distribution over processes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Protocol, TypeVar


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
    """
    from instructseg.distributed import gathered  # not above: processes that score masks start without torch

    total, *others = gathered(sums)
    for other in others:
        total.merge(other)
    return total
