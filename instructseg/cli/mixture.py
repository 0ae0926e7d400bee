"""The data sets of a mixture, opened from a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from instructseg.config import DatasetConfig, RunConfig
from instructseg.data.catalog import find, open_splits
from instructseg.data.dataset import Dataset
from instructseg.data.mixture import Mixture
from instructseg.distributed import world_size
from instructseg.structures import Sample


def open_dataset(part: DatasetConfig) -> Dataset:
    """Opens one entry of ``data.mixture`` or ``data.val``.

    Raises:
        FileNotFoundError, ValueError: as :func:`instructseg.data.catalog.open_split`; the split is missing.
    """
    splits = find(part.name).splits
    if splits and part.split is None:
        raise ValueError(f"data.mixture: say which split of {part.name} to train on: {', '.join(splits)}")
    options = {"images": part.images} if part.images else {}
    if part.sentences == "joined":
        options["sentences"] = part.sentences
    return open_splits(part.name, part.root, (part.split, *part.also), options)


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
