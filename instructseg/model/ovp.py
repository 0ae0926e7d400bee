"""Object-aware Video Perceiver (OVP), section 3.2 of the paper: a few tokens per reference frame."""

from __future__ import annotations

import torch
from torch import nn

from instructseg.model.perceiver import Perceiver


class ObjectAwareVideoPerceiver(nn.Module):
    """Learnable queries that attend to a reference frame and the instruction.

    The same queries serve every frame and there is no time embedding (as released): the order of the
    frames is the order of their tokens in the language sequence.
    """

    def __init__(self, dim: int, queries: int, depth: int, heads: int, head_dim: int, ff_mult: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(queries, dim))
        self.perceiver = Perceiver(dim, depth, heads, head_dim, ff_mult)

    def forward(self, frames: torch.Tensor, text: torch.Tensor, text_mask: torch.Tensor) -> torch.Tensor:
        """One pair of reference frame and instruction per row.

        Args:
            frames: ``float[N, P, D]`` projected SigLIP tokens.
            text: ``float[N, T, D]`` input embeddings of the instruction, its ``[SEG]`` included.
            text_mask: ``bool[N, T]``, false on padding.

        Returns:
            ``float[N, K, D]``.
        """
        queries = self.queries.expand(len(frames), -1, -1).to(frames.dtype)
        mask = None
        if not bool(text_mask.all()):
            real = torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device)
            mask = torch.cat((real, text_mask), dim=1)
        return self.perceiver(queries, torch.cat((frames, text), dim=1), context_mask=mask)
