"""Scatter embeddings into placeholders of the language sequence, and gather states from them."""

from __future__ import annotations

import torch

from instructseg.structures import Role


def fill(embeds: torch.Tensor, roles: torch.Tensor, role: Role, values: torch.Tensor) -> torch.Tensor:
    """Puts ``values`` at the positions of ``role``, rows in order.

    Args:
        embeds: ``float[B, L, D]``.
        roles: ``int64[B, L]``.
        role: of the positions.
        values: ``float[..., D]``, exactly as many vectors as there are positions.

    Returns:
        a new ``float[B, L, D]``.

    Raises:
        ValueError: the numbers differ.
    """
    where = roles == role
    wanted, given = int(where.sum()), values.numel() // embeds.shape[-1]
    if wanted != given:
        raise ValueError(
            f"the sequence has {wanted} {role.name.lower()} positions but {given} vectors were given"
        )
    return embeds.masked_scatter(where.unsqueeze(-1), values.to(embeds.dtype))


def take(states: torch.Tensor, roles: torch.Tensor, role: Role) -> tuple[torch.Tensor, torch.Tensor]:
    """The vectors at the positions of ``role``, one row each, padded on the right with zeros.

    Args:
        states: ``float[B, L, D]``.
        roles: ``int64[B, L]``.
        role: which positions; a run may differ in length from row to row.

    Returns:
        ``float[B, T, D]`` and ``bool[B, T]``, true on real positions; ``T`` is the longest run.
    """
    where = roles == role
    counts = where.sum(1)
    longest = int(counts.max())
    mask = torch.arange(longest, device=roles.device) < counts[:, None]
    out = states.new_zeros(len(states), longest, states.shape[-1])
    return out.masked_scatter(mask.unsqueeze(-1), states[where]), mask
