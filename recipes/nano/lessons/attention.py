"""Attention of a language model's layer, as a learning target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from instructseg.model.language import rotate


@contextmanager
def watched(model: Any, layers: Sequence[int]) -> Iterator[dict[int, torch.Tensor]]:
    """Keeps what goes into the attention of some layers, ``float[B, L, D]`` after the norm, by layer."""
    kept: dict[int, torch.Tensor] = {}

    def keep(number: int) -> Any:
        return lambda _module, _inputs, output: kept.__setitem__(number, output)

    handles = [model.layers[i].input_layernorm.register_forward_hook(keep(i)) for i in set(layers)]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def entered(model: Any, layers: Sequence[int]) -> Iterator[dict[int, torch.Tensor]]:
    """Keeps the states that some layers take, ``float[B, L, D]`` without the norm, by layer."""
    kept: dict[int, torch.Tensor] = {}

    def keep(number: int) -> Any:
        return lambda _module, inputs: kept.__setitem__(number, inputs[0])

    handles = [model.layers[i].register_forward_pre_hook(keep(i)) for i in set(layers)]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def log_attention(
    model: Any, layer: int, states: torch.Tensor, positions: torch.Tensor, asking: torch.Tensor
) -> torch.Tensor:
    """Logarithms of attention weights, causal; padding has to stand behind everything real.

    Args:
        model: Phi without its head.
        layer: number of the layer.
        states: ``float[B, L, D]`` of :func:`watched`.
        positions: ``int64[B, L]`` of the rotary embedding.
        asking: ``int64[B, N]``, places in the sequence whose weights are wanted.

    Returns:
        ``float[B, heads, N, L]``.
    """
    block: Any = model.layers[layer].self_attn

    def heads(values: torch.Tensor) -> torch.Tensor:
        return values.unflatten(-1, (-1, block.head_dim)).transpose(1, 2)

    where = asking[..., None].expand(-1, -1, states.shape[-1])
    q, k = heads(block.q_proj(states.gather(1, where))), heads(block.k_proj(states))
    cos, sin = model.rotary_emb(states, position_ids=positions)
    at = asking[..., None].expand(-1, -1, cos.shape[-1])
    q, k = rotate(q, cos.gather(1, at), sin.gather(1, at)), rotate(k, cos, sin)
    scores = q @ k.transpose(-1, -2) * block.scaling
    later = torch.arange(states.shape[1], device=states.device) > asking[..., None]  # (B, N, L)
    return scores.masked_fill(later[:, None], -torch.inf).log_softmax(-1)
