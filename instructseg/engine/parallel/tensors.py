"""Conversion of sharded tensors to whole ones, as checkpoints hold them, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from instructseg import distributed


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Gathers a sharded tensor (every process must call it); returns others unchanged."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def is_sharded(tensor: torch.Tensor) -> bool:
    """Whether it is a ``DTensor``, without the import."""
    return hasattr(tensor, "full_tensor")


def local(tensor: torch.Tensor) -> torch.Tensor:
    """Shard of this process, sharing memory; returns other tensors unchanged."""
    return tensor.to_local() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def sharded_like(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A whole tensor of ``like``'s shape, sharded as ``like`` is; every process must call it."""
    if not is_sharded(like) or tensor.shape != like.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    layout: Any = like
    return distribute_tensor(tensor.to(layout.device_mesh.device_type), layout.device_mesh, layout.placements)


def whole_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """The whole state of a model on the CPU, shared tensors once; empty in all processes but the first.

    Every process must call it.
    """
    main, seen, state = distributed.is_main(), set(), {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        full = whole(tensor.detach())
        if main:
            state[name] = full.cpu().contiguous()
    return state


def whole_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """``state_dict`` with whole moments, as one process would have it; every process must call it."""
    saved = optimizer.state_dict()
    state = {
        key: {name: whole(value) if torch.is_tensor(value) else value for name, value in entry.items()}
        for key, entry in saved["state"].items()
    }
    return {**saved, "state": state}


def sharded_moments(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> dict[str, Any]:
    """:func:`whole_optimizer` the other way: moments sharded as the optimizer's parameters are."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state = {
        key: {
            name: sharded_like(value, parameters[key]) if torch.is_tensor(value) else value
            for name, value in entry.items()
        }
        for key, entry in saved["state"].items()
    }
    return {**saved, "state": state}


@torch.no_grad()
def fill_weights(model: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Loads whole weights, cast to the model's types; every process must call it."""
    for name, tensor in model.state_dict().items():
        if name in weights:
            local(tensor).copy_(local(sharded_like(weights[name], tensor)))
