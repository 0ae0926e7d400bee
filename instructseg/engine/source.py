"""Where batches come from: an indexable source, read ahead by worker processes."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from torch.utils.data import DataLoader, Dataset

from instructseg.structures import MaskTargets, ModelInputs

Batch = tuple[ModelInputs, list[MaskTargets]]


class BatchSource(Protocol):
    """Batch ``index`` is a function of the source's seed and ``index`` alone, whoever asks and when.

    One process without accumulation reads batch ``s`` at step ``s``; in general step ``s`` of rank ``r``
    reads the batches ``(s * accumulate + a) * world_size + r``.
    """

    def batch(self, index: int, /) -> Batch:
        """The inputs and, row by row, their targets."""

    def names(self, index: int, /) -> Sequence[str]:
        """Names of the samples in a batch; asked for only to report an error."""


def task_of(source: BatchSource, index: int) -> str:
    """The task or data set of batch ``index``, as ``source.task(index)`` says; empty where there is no such.

    Losses are also logged by it.
    """
    task = getattr(source, "task", None)
    return "" if task is None else str(task(index))


def read_ahead(source: BatchSource, indices: range, workers: int) -> Iterator[Batch]:
    """Yields ``source.batch(i)`` for each index in order.

    Args:
        source: must be picklable where processes are spawned instead of forked.
        indices: which batches.
        workers: processes that make batches ahead; 0 makes each when it is asked for.
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
