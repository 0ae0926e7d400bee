"""Interface of a mask backbone: four maps of stride 4, 8, 16 and 32."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

LEVELS = ("res2", "res3", "res4", "res5")
"""Levels by stride 4, 8, 16, 32."""


class Backbone(nn.Module):
    """Image trunk of the mask branch.

    A kind is one file: a class that is built from a configuration of transformers, and a row in
    ``backbones.KINDS``.

    Attributes:
        dims: channels of each level.
    """

    dims: dict[str, int]

    def __init__(self, config: Any) -> None:
        super().__init__()

    def init_positions(self) -> None:
        """Initialises position tables that random weights do not suit; none by default."""

    def forward(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        """``float[F, 3, H, W]`` to ``{"res2": float[F, C, H/4, W/4], .. "res5": float[F, C, H/32, W/32]}``."""
        raise NotImplementedError

    @staticmethod
    def widest(config: Any, size: int) -> int:
        """Values held at once by the widest step for an image of ``size`` x ``size`` pixels (memory plan)."""
        raise NotImplementedError
