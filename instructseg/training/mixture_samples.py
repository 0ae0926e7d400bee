"""Data sets of a mixture, opened from a configuration."""

from __future__ import annotations

from instructseg.config import DataConfig, DatasetConfig
from instructseg.data.catalog import find, open_splits
from instructseg.data.dataset import Dataset
from instructseg.data.mixture import Mixture
from instructseg.distributed import world_size


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


def open_mixture(data: DataConfig, accumulate: int) -> Mixture:
    """Opens the data sets of a mixture; all batches of a step come from the same one.

    Raises:
        FileNotFoundError, ValueError: as :func:`open_dataset`; the ratios do not fit together.
    """
    if not data.mixture:
        raise ValueError("data.mixture: name the data sets to train on")
    return Mixture(
        [open_dataset(part) for part in data.mixture],
        [part.ratio for part in data.mixture],
        data.batch_size,
        data.switch_bs,
        step_batches=world_size() * accumulate,
        seed=data.seed,
        labels=[part.name for part in data.mixture],
    )
