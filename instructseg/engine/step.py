"""What one optimiser step is made of: its batches, how much they have to learn from, their random numbers."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from instructseg.distributed import all_reduce_mean
from instructseg.engine.source import Batch
from instructseg.structures import MaskTargets

Turns = deque[tuple[int, Batch]]


class Losses(Protocol):
    """What a criterion returns: ``total``, the scalar to minimise, and its named ``parts``."""

    @property
    def total(self) -> torch.Tensor: ...  # noqa: D102

    @property
    def parts(self) -> Mapping[str, torch.Tensor]: ...  # noqa: D102


@runtime_checkable
class Counting(Protocol):
    """A criterion whose losses are sums over what is learned, divided by how much of it a step has.

    It is called with the mean of :meth:`count` over the batches of the step as fourth argument.
    """

    def count(self, targets: Sequence[MaskTargets], labels: torch.Tensor | None) -> torch.Tensor:
        """A vector of numbers, as long for every batch."""


def take_step(
    batches: Iterator[tuple[int, Batch]], number: int, criterion: object
) -> tuple[Turns, torch.Tensor | None]:
    """The batches of a step, on the CPU, all of them before the first one is computed.

    What a loss is divided by is known only when every batch of the step is: a mean of the batches' means would
    weigh a token of a short reply more than one of a long reply. Every process must call it.

    Args:
        batches: numbered; ``number`` of them are taken.
        number: of this process.
        criterion: may be :class:`Counting`.

    Returns:
        The batches, and the mean of their counts over all processes; ``None`` where the criterion counts
        nothing, so that each of its batches weighs the same.
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
    """Vanishing moments of AdamW would slow the steps down on a CPU; other code must not notice."""
    torch.set_flush_denormal(device.type == "cpu")
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def on_device(target: MaskTargets, device: torch.device) -> MaskTargets:
    """The target with its tensors on ``device``."""
    tensors = {name: getattr(target, name) for name in ("masks", "is_answer", "ignore")}
    return replace(
        target, **{name: tensor.to(device) for name, tensor in tensors.items() if tensor is not None}
    )
