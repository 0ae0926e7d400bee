"""Sine position embedding of feature maps, as in DETR (normalised, temperature 10,000)."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import nn


@lru_cache(maxsize=32)
def sine_positions(height: int, width: int, dim: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """``dtype[dim, height, width]``, rows before columns; computed in fp32 whatever ``dtype`` is."""
    half = dim // 2
    scale = 2 * math.pi
    y = torch.arange(1, height + 1, dtype=torch.float32, device=device) / (height + 1e-6) * scale
    x = torch.arange(1, width + 1, dtype=torch.float32, device=device) / (width + 1e-6) * scale
    steps = torch.arange(half, dtype=torch.float32, device=device)
    period = 10000 ** (2 * torch.div(steps, 2, rounding_mode="floor") / half)

    def waves(values: torch.Tensor) -> torch.Tensor:
        angle = values[:, None] / period
        return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=2).flatten(1)  # (n, half)

    rows = waves(y)[:, None].expand(-1, width, -1)
    columns = waves(x)[None].expand(height, -1, -1)
    return torch.cat((rows, columns), dim=-1).permute(2, 0, 1).to(dtype)


class SinePositions(nn.Module):
    """Sine positions as a module with the signature of transformers, whose own computes in the map's dtype."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(
        self, shape: torch.Size, device: torch.device, dtype: torch.dtype, mask: Any = None
    ) -> torch.Tensor:
        """``shape`` ``(N, C, h, w)`` to ``dtype[N, dim, h, w]``."""
        batch, _, height, width = shape
        return sine_positions(height, width, self.dim, device, dtype).expand(batch, -1, -1, -1)
