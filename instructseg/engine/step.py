"""One optimizer step: batches read ahead, their weights in the loss, random seeds, loss scale of float16.

PyTorch's ``GradScaler`` reads the gradients of one process. Here the norm over all processes is known before
the step, so every process takes the same decision, sharded or not.
"""

from __future__ import annotations

import random
import signal
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from instructseg.distributed import all_reduce_mean
from instructseg.structures import MaskTargets, ModelInputs

FIRST_SCALE = 2.0**16
GROWTH_FACTOR = 2.0
BACKOFF_FACTOR = 0.5
GROWTH_INTERVAL = 2000
"""Constants of ``torch.amp.GradScaler``."""
LEAST_SCALE = 2.0**-14
"""A smaller scale means that the gradient itself is not finite."""

Batch = tuple[ModelInputs, list[MaskTargets]]
Turns = deque[tuple[int, Batch]]


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


class LossTerms(Protocol):
    """Losses of a batch: ``total``, the scalar to minimize, and its named ``parts``."""

    @property
    def total(self) -> torch.Tensor: ...  # noqa: D102

    @property
    def parts(self) -> Mapping[str, torch.Tensor]: ...  # noqa: D102


@runtime_checkable
class Counting(Protocol):
    """Criterion with losses summed over items and divided by the number of items in the step.

    It is called with the mean of :meth:`count` over the batches of the step as fourth argument.
    """

    def count(self, targets: Sequence[MaskTargets], labels: torch.Tensor | None) -> torch.Tensor:
        """Counts of the items of a batch, a vector of fixed length."""


def take_step(
    batches: Iterator[tuple[int, Batch]], number: int, criterion: object
) -> tuple[Turns, torch.Tensor | None]:
    """Returns the batches of a step, on the CPU, before the first one is computed.

    The divisor of a loss needs all batches of the step: a mean of the batches' means would weigh a token of a
    short reply more than one of a long reply. Every process must call it.

    Args:
        number: batches of a step and process.
        criterion: may be :class:`Counting`.

    Returns:
        The batches, and the mean of their counts over all processes; ``None`` for a criterion that is not
        :class:`Counting`, whose batches weigh the same.
    """
    turns = deque(islice(batches, number))
    if not isinstance(criterion, Counting):
        return turns, None
    counts = [criterion.count(targets, inputs.labels) for _, (inputs, targets) in turns]
    return turns, all_reduce_mean(torch.stack(counts).mean(0))


def seed_everything(seed: int, index: int) -> None:
    """Seeds ``random``, NumPy and PyTorch from both numbers, each at least 0."""
    mixed = int(np.random.SeedSequence((seed, index)).generate_state(1)[0])
    random.seed(mixed)
    np.random.seed(mixed)  # noqa: NPY002  (data and third-party code may use the global generator)
    torch.manual_seed(mixed)


@contextmanager
def flushed_denormals(device: torch.device) -> Iterator[None]:
    """Flushes denormals on a CPU, where vanishing moments of AdamW are slow; restored on exit."""
    torch.set_flush_denormal(device.type == "cpu")
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def on_device(target: MaskTargets, device: torch.device) -> MaskTargets:
    """Returns the target with its tensors on ``device``."""
    tensors = {name: getattr(target, name) for name in ("masks", "is_answer", "ignore")}
    return replace(
        target, **{name: tensor.to(device) for name, tensor in tensors.items() if tensor is not None}
    )


class LossScale:
    """Factor of the loss, a power of two.

    Args:
        enabled: for float16; otherwise the scale stays 1.
    """

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled
        self.scale = FIRST_SCALE if enabled else 1.0
        self.good = 0

    def update(self, finite: bool) -> bool:
        """Updates the scale; returns whether the step is taken.

        Raises:
            FloatingPointError: the scale has fallen below :data:`LEAST_SCALE`.
        """
        if not self.enabled:
            return True
        self.good = self.good + 1 if finite else 0
        if not finite:
            self.scale *= BACKOFF_FACTOR
        elif self.good == GROWTH_INTERVAL:
            self.scale, self.good = self.scale * GROWTH_FACTOR, 0
        if self.scale < LEAST_SCALE:
            raise FloatingPointError(f"gradients are not finite at any loss scale down to {LEAST_SCALE:g}")
        return finite

    def state(self) -> dict[str, Any]:
        """State for a checkpoint."""
        return {"scale": self.scale, "good": self.good}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restores :meth:`state`; a run of another precision keeps its own scale."""
        if self.enabled and state["scale"] != 1.0:
            self.scale, self.good = state["scale"], state["good"]
