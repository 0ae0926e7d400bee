"""Ranks and sums over processes; one process that never heard of ``torch.distributed`` is rank 0 of 1."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")


def world_size() -> int:
    """Number of processes, at least 1."""
    return dist.get_world_size() if _initialized() else 1


def rank() -> int:
    """Number of this process, 0..``world_size() - 1``."""
    return dist.get_rank() if _initialized() else 0


def is_main() -> bool:
    """Whether this process is the one that writes files and logs."""
    return rank() == 0


def all_reduce_sum(tensor: torch.Tensor) -> torch.Tensor:
    """The elementwise sum of ``tensor`` over the processes.

    Every process must call it, with the same shape and dtype.

    Args:
        tensor: any shape, on any device; it is not changed.

    Returns:
        A new tensor without gradient, of the same shape, dtype and device.
    """
    total = tensor.detach().clone()
    if world_size() == 1:
        return total
    if dist.get_backend() == "nccl":  # adds on the GPU only
        total = total.cuda()
    dist.all_reduce(total)
    return total.to(tensor.device)


def all_reduce_mean(tensor: torch.Tensor) -> torch.Tensor:
    """As :func:`all_reduce_sum`, divided by the number of processes; whole numbers become float."""
    return all_reduce_sum(tensor) / world_size()


def gathered(value: T) -> list[T]:
    """The value of each process, in order of rank; every process must call it, with what can be pickled."""
    values: list[Any] = [value] * world_size()
    if world_size() > 1:
        dist.all_gather_object(values, value)
    return values


def barrier() -> None:
    """Waits until every process has come here."""
    if world_size() > 1:
        dist.barrier()


def _initialized() -> bool:
    return dist.is_available() and dist.is_initialized()
