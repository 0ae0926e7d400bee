"""Mixture of data sets in fixed shares, in batches of one data set each.

The released rule: data sets take turns in slots, as many as their ratio says (``4||2||4||1||3``: the first has
4 of 14 slots); a slot serves ``switch_bs`` samples, a whole number of batches, before the next takes over. The
released code counts in every loader worker; here a batch is a function of the seed and its index alone, so
that neither workers nor an interruption change what is read.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from instructseg.data.dataset import Dataset
from instructseg.structures import Sample

RELEASED_RATIO = "4||2||4||1||3"
"""RefCOCO family || LLaVA || Ref-YouTube-VOS || ReasonSeg || ReVOS."""

RELEASED_SWITCH = 16
"""Samples of a slot."""


def parse_ratio(ratio: str | Sequence[int]) -> tuple[int, ...]:
    """``"4||2||1"`` or ``(4, 2, 1)``: slots per data set.

    Raises:
        ValueError: an entry is no whole number, or below 1.
    """
    parts = ratio.split("||") if isinstance(ratio, str) else [str(part) for part in ratio]
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(f"a ratio is whole numbers of at least 1 such as {RELEASED_RATIO}, got {ratio!r}")
    return tuple(int(part) for part in parts)


class Mixture:
    """Batches of samples; each data set is gone through once, in a new random order, before it starts again.

    Args:
        datasets: what to mix; none may be empty.
        ratio: slots of each, such as ``"4||2||4||1||3"``.
        switch_bs: samples of a slot (see :data:`RELEASED_SWITCH`), a multiple of ``batch_size``.
        step_batches: consecutive batches that one training step reads, all of one data set: ranks times
            accumulated batches. Then a slot has ``switch_bs`` samples for each of them, as when released.
        seed: of orders and draws, not negative.
        labels: under which losses are logged, one per data set; by default their names.

    Raises:
        ValueError: the arguments do not fit together.
    """

    def __init__(
        self,
        datasets: Sequence[Dataset],
        ratio: str | Sequence[int],
        batch_size: int,
        switch_bs: int = RELEASED_SWITCH,
        step_batches: int = 1,
        seed: int = 0,
        labels: Sequence[str] = (),
    ) -> None:
        self.datasets, self.ratio = tuple(datasets), parse_ratio(ratio)
        self.labels = tuple(labels) or tuple(dataset.name for dataset in datasets)
        if len(self.ratio) != len(self.datasets):
            raise ValueError(
                f"{len(self.datasets)} data sets, but the ratio {ratio!r} has {len(self.ratio)} entries"
            )
        if batch_size < 1 or switch_bs < 1 or switch_bs % batch_size:
            raise ValueError(
                f"switch_bs must be a multiple of batch_size, so that a batch holds samples of one data set; "
                f"got {switch_bs} and {batch_size}"
            )
        if step_batches < 1 or seed < 0:
            raise ValueError(
                f"step_batches must be at least 1 and seed not be negative, got {step_batches} and {seed}"
            )
        for dataset in self.datasets:
            if not len(dataset):
                raise ValueError(f"{dataset.name} has no samples")
        self.batch_size, self.seed = batch_size, seed
        self._slot = switch_bs // batch_size * step_batches  # batches
        self._ends = list(
            accumulate(self.ratio)
        )  # in slots of a cycle, which has each data set's slots in a row

    def source(self, index: int) -> int:
        """The data set of batch ``index``; raises ``IndexError`` where ``index`` is negative."""
        return self._locate(index)[0]

    def items(self, index: int) -> tuple[int, list[int]]:
        """The data set of batch ``index`` and which of its samples; raises as :meth:`source`."""
        which, served = self._locate(index)
        length = len(self.datasets[which])
        first = served * self.batch_size
        return which, [
            shuffled(place % length, length, (self.seed, which, place // length))
            for place in range(first, first + self.batch_size)
        ]

    def samples(self, index: int) -> list[Sample]:
        """The samples of batch ``index``; raises as :meth:`source` and :meth:`Dataset.draw`."""
        which, items = self.items(index)
        dataset = self.datasets[which]
        return [
            dataset.draw(item, np.random.default_rng([self.seed, index, row])) for row, item in enumerate(items)
        ]

    def names(self, index: int) -> list[str]:
        """Origins of the samples of batch ``index``; reads nothing."""
        which, items = self.items(index)
        return [f"{self.datasets[which].name}[{item}]" for item in items]

    def task(self, index: int) -> str:
        """The label of the data set of batch ``index``."""
        return self.labels[self.source(index)]

    def describe(self) -> str:
        """One line for logs: the share of each data set, and how many batches go through it once."""
        total = self._ends[-1]
        parts = [
            f"{dataset.name} {slots}/{total} ({len(dataset) * total / (self.batch_size * slots):,.0f} batches)"
            for dataset, slots in zip(self.datasets, self.ratio, strict=True)
        ]
        return ", ".join(parts)

    def _locate(self, index: int) -> tuple[int, int]:
        """The data set of a batch, and how many batches it has given before."""
        if index < 0:
            raise IndexError(f"batch {index}")
        cycle, inside = divmod(index, self._ends[-1] * self._slot)
        which = bisect_right(self._ends, inside // self._slot)
        before = self._ends[which] - self.ratio[which]
        return which, cycle * self.ratio[which] * self._slot + inside - before * self._slot


_ROUNDS = 6
_MASK = (1 << 64) - 1


def shuffled(place: int, length: int, key: Sequence[int]) -> int:
    """Entry at ``place`` of a random order of ``range(length)``, without making the order.

    A Feistel network permutes the smallest range of an even number of bits that holds ``length``; a result
    outside ``length`` goes through it again, which in the end leads back inside.

    Args:
        place: ``0 <= place < length``.
        length: at least 1.
        key: whole numbers, not negative; another key is another order.
    """
    half = max(1, ((length - 1).bit_length() + 1) // 2)
    keys = np.random.SeedSequence(list(key)).generate_state(_ROUNDS, np.uint64).tolist()
    low = (1 << half) - 1
    while True:
        left, right = place >> half, place & low
        for round_key in keys:
            left, right = right, left ^ (_mix(right ^ round_key) & low)
        place = left << half | right
        if place < length:
            return place


def _mix(x: int) -> int:
    """Scatters the bits of a number of 64 bits (the finaliser of SplitMix64)."""
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & _MASK
    return x ^ x >> 31
