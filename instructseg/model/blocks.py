"""Row-wise steps in blocks, whose values stay in the processor's cache and whose memory is used again."""

from __future__ import annotations

from collections.abc import Callable

import torch

ROWS = 2048
"""Rows of a block."""


def uses_blocks(x: torch.Tensor) -> bool:
    """Whether blocks pay: on a CPU, without gradients, and not in a graph for a compiler or another runtime."""
    if torch.is_grad_enabled() or torch.jit.is_tracing() or torch.compiler.is_compiling():
        return False
    return x.device.type == "cpu"


def in_blocks(step: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """``step(x)`` of a step that computes each row of ``float[.., N, C]`` by itself.

    Args:
        step: ``float[M, C]`` to ``float[M, D]`` with any number of rows.
        x: the rows.

    Returns:
        ``float[.., N, D]``.
    """
    if not uses_blocks(x):
        return step(x)
    found = torch.cat([step(part) for part in x.flatten(0, -2).split(ROWS)])
    return found.view(*x.shape[:-1], found.shape[-1])
