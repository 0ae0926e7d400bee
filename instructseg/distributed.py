"""Ranks and reductions over processes; a single process is rank 0 of 1."""

from __future__ import annotations

from collections.abc import Callable
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


def from_main(make: Callable[[], T]) -> T:
    """Runs ``make`` in the first process and returns its result in all, which must all call it.

    Folders are checked and created once, and no process sees them half done.

    Raises:
        ValueError: ``make`` raised in the first process, which raises its own error.
    """
    if world_size() == 1:
        return make()
    box: list[Any] = [None, None]
    error: Exception | None = None
    if is_main():
        try:
            box[0] = make()
        except Exception as caught:  # noqa: BLE001  (whatever it is: the others wait for an answer)
            error, box[1] = caught, str(caught)
    dist.broadcast_object_list(box, 0)
    if error is not None:
        raise error
    if box[1] is not None:
        raise ValueError(f"stopped with the first process: {box[1]}")
    made: T = box[0]
    return made


def barrier() -> None:
    """Waits for every process."""
    if world_size() > 1:
        dist.barrier()


def _initialized() -> bool:
    return dist.is_available() and dist.is_initialized()
