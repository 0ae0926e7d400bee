"""The cross-attention resampler that OVP and VMTF share (after Flamingo's perceiver, as released).

Shapes: N rows, M latents, S context tokens, D channels.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class PerceiverAttention(nn.Module):
    """Latents attend to the context and to themselves; pre-norm, no biases."""

    def __init__(self, dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_context = nn.LayerNorm(dim)
        self.norm_latents = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, heads * head_dim, bias=False)
        self.to_kv = nn.Linear(dim, 2 * heads * head_dim, bias=False)
        self.to_out = nn.Linear(heads * head_dim, dim, bias=False)

    def forward(
        self, latents: torch.Tensor, context: torch.Tensor, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """``float[N, M, D]``, ``float[N, S, D]``, ``bool[N, S+M]`` (true: is read) to ``float[N, M, D]``."""
        latents = self.norm_latents(latents)
        keys = torch.cat((self.norm_context(context), latents), dim=1)  # (N, S+M, D)
        k, v = self.to_kv(keys).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q = self.to_q(latents).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        if mask is not None:
            mask = mask[:, None, None, :]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)  # (N, heads, M, head_dim)
        return self.to_out(out.transpose(1, 2).flatten(2))


def feed_forward(dim: int, mult: int) -> nn.Sequential:
    """LayerNorm, widening by ``mult`` and exact GELU, without biases."""
    return nn.Sequential(
        nn.LayerNorm(dim),
        nn.Linear(dim, dim * mult, bias=False),
        nn.GELU(),
        nn.Linear(dim * mult, dim, bias=False),
    )


class PerceiverLayer(nn.Module):
    """One attention and one feed-forward step, both residual."""

    def __init__(self, dim: int, heads: int, head_dim: int, ff_mult: int) -> None:
        super().__init__()
        self.attention = PerceiverAttention(dim, heads, head_dim)
        self.ff = feed_forward(dim, ff_mult)

    def forward(self, latents: torch.Tensor, context: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Shapes as in :class:`PerceiverAttention`."""
        latents = latents + self.attention(latents, context, mask)
        return latents + self.ff(latents)


class Perceiver(nn.Module):
    """A stack of :class:`PerceiverLayer` and a final LayerNorm."""

    def __init__(self, dim: int, depth: int, heads: int, head_dim: int, ff_mult: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(PerceiverLayer(dim, heads, head_dim, ff_mult) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    def forward(
        self,
        latents: torch.Tensor,
        context: torch.Tensor,
        latent_mask: torch.Tensor | None = None,
        context_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Condenses the context into the latents.

        Args:
            latents: ``float[N, M, D]``.
            context: ``float[N, S, D]``.
            latent_mask: ``bool[N, M]``, false on padding; ``None`` for all real.
            context_mask: ``bool[N, S]``, likewise.

        Returns:
            ``float[N, M, D]``.
        """
        mask = None
        if latent_mask is not None or context_mask is not None:
            pairs = ((context, context_mask), (latents, latent_mask))
            mask = torch.cat([_real(tokens) if given is None else given for tokens, given in pairs], dim=1)
        for layer in self.layers:
            latents = layer(latents, context, mask)
        return self.norm(latents)


def _real(tokens: torch.Tensor) -> torch.Tensor:
    """The mask of ``float[N, S, D]`` without padding."""
    return torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
