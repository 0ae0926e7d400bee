"""The data sets of a mixture, opened from a configuration."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from instructseg.config import DatasetConfig, RunConfig
from instructseg.data.catalog import find, open_split
from instructseg.data.dataset import Dataset
from instructseg.data.datasets.refcoco import RefCoco
from instructseg.data.datasets.refytvos import RefYtVos
from instructseg.data.mixture import Mixture
from instructseg.distributed import world_size
from instructseg.structures import Sample


class Joined(Dataset):
    """Several data sets one after the other."""

    def __init__(self, parts: Sequence[Dataset]) -> None:
        self.parts = tuple(parts)
        self.name = "+".join(part.name for part in parts)
        self._ends = list(accumulate(len(part) for part in parts))

    def __len__(self) -> int:
        return self._ends[-1]

    def _place(self, index: int) -> tuple[Dataset, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        which = bisect_right(self._ends, index)
        return self.parts[which], index - (self._ends[which - 1] if which else 0)

    def __getitem__(self, index: int) -> Sample:
        part, place = self._place(index)
        return part[place]

    def draw(self, index: int, rng: np.random.Generator) -> Sample:
        """As of the part."""
        part, place = self._place(index)
        return part.draw(place, rng)

    def picture(self, index: int) -> str:
        """As of the part."""
        part, place = self._place(index)
        return part.picture(place)

    def counts(self) -> dict[str, int]:
        """Sums over the parts."""
        total: Counter[str] = Counter()
        for part in self.parts:
            total.update(part.counts())
        return dict(total)


def open_dataset(part: DatasetConfig) -> Dataset:
    """One entry of ``data.mixture`` or ``data.val``.

    Raises:
        FileNotFoundError, ValueError: as ``data.catalog.open_split``; the split is missing, or ``sentences``
            is said of a data set that has no such choice.
    """
    splits = find(part.name).splits
    if splits and part.split is None:
        raise ValueError(f"data.mixture: say which split of {part.name} to train on: {', '.join(splits)}")
    names = (part.split, *part.also)
    opened = [_open(part, split) for split in names]
    return opened[0] if len(opened) == 1 else Joined(opened)


def _open(part: DatasetConfig, split: str | None) -> Dataset:
    if part.sentences in (None, "each"):
        return open_split(part.name, part.root, split, part.images)
    splits = find(part.name).splits
    if part.name not in ("refcoco", "refytvos"):
        raise ValueError(f"data.mixture: sentences are joined for refcoco and refytvos, not for {part.name}")
    if split not in splits:
        raise ValueError(f"{part.name} has no split {split!r}: there are {', '.join(splits)}")
    if part.name == "refytvos":
        converted = split.startswith("converted/")
        opener = RefYtVos.open_converted if converted else RefYtVos.open
        return opener(part.root, split.removeprefix("converted/"), sentences="joined")
    name, by, place = split.split("/")
    return RefCoco.open(part.root, name, place, by, sentences="joined", images=part.images)


def mixture_of(run: RunConfig) -> Mixture:
    """The data sets of a configuration, opened; ranks and accumulated batches of a step see the same one.

    Raises:
        FileNotFoundError, ValueError: as :func:`open_dataset`; the shares do not fit together.
    """
    parts = run.data.mixture
    if not parts:
        raise ValueError("data.mixture: name the data sets to train on")
    return Mixture(
        [open_dataset(part) for part in parts],
        [part.ratio for part in parts],
        run.data.batch_size,
        run.data.switch_bs,
        step_batches=world_size() * run.train.accumulate,
        seed=run.data.seed,
    )


@dataclass(frozen=True)
class MixtureSamples:
    """Batches of a mixture, each with the name of its data set."""

    mixture: Mixture
    datasets: tuple[str, ...]

    def samples(self, index: int) -> list[Sample]:
        """The samples of batch ``index``."""
        return self.mixture.samples(index)

    def names(self, index: int) -> Sequence[str]:
        """Where they come from."""
        return self.mixture.names(index)

    def task(self, index: int) -> str:
        """The data set, as the configuration names it."""
        return self.datasets[self.mixture.source(index)]
