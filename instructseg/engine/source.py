"""Batches by index, read ahead by worker processes."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from torch.utils.data import DataLoader, Dataset

from instructseg.structures import MaskTargets, ModelInputs

Batch = tuple[ModelInputs, list[MaskTargets]]


class BatchSource(Protocol):
    """Source of batches; batch ``index`` is a function of the seed and ``index`` alone.

    One process without accumulation reads batch ``s`` at step ``s``; in general step ``s`` of rank ``r``
    reads the batches ``(s * accumulate + a) * world_size + r``.
    """

    def batch(self, index: int, /) -> Batch:
        """Inputs, and the targets of each row."""

    def names(self, index: int, /) -> Sequence[str]:
        """Names of the samples in a batch, for error messages."""


def task_of(source: BatchSource, index: int) -> str:
    """Task or data set of batch ``index`` (``source.task(index)``); empty for a source without tasks.

    Losses are also logged by it.
    """
    task = getattr(source, "task", None)
    return "" if task is None else str(task(index))


def read_ahead(source: BatchSource, indices: range, workers: int) -> Iterator[Batch]:
    """Yields ``source.batch(i)`` for each index in order.

    Args:
        source: must be picklable where processes are spawned instead of forked.
        indices: which batches.
        workers: processes that prepare batches; 0 prepares each on demand.
    """
    if workers == 0 or not indices:
        return map(source.batch, indices)
    options: dict[str, Any] = {"batch_size": None, "sampler": indices, "collate_fn": _same}
    return iter(DataLoader(_Indexed(source), num_workers=workers, worker_init_fn=_leave_interrupts, **options))


class _Indexed(Dataset):
    def __init__(self, source: BatchSource) -> None:
        self.source = source

    def __getitem__(self, index: int) -> Batch:
        return self.source.batch(index)


def _same(batch: Batch) -> Batch:
    return batch


def _leave_interrupts(_: int) -> None:
    # Ctrl-C and what torchrun or SLURM sends reach the whole process group; the trainer still needs batches to
    # finish its step. A worker ends with its trainer anyway
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
