"""Swin (arXiv 2103.14030), the mask backbone of the released weights."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import SwinBackbone, SwinConfig
from transformers import initialization as init
from transformers.models.swin.modeling_swin import SwinLayer

from instructseg.model.backbones.backbone import LEVELS, Backbone
from instructseg.model.backbones.swin_layer import WindowLayer


class SwinTrunk(Backbone):
    """Swin of transformers; each map has its own LayerNorm, the norm after the last block is not used."""

    def __init__(self, config: SwinConfig) -> None:
        super().__init__(config)
        config = copy.deepcopy(config)
        config.set_output_features_output_indices(["stage1", "stage2", "stage3", "stage4"], None)
        self.swin = SwinBackbone(config)
        self.swin.swin.add_module("layernorm", nn.Identity())
        for layer in self.swin.modules():
            if isinstance(layer, SwinLayer):
                layer.__class__ = WindowLayer  # its parts stay, with their names and values
        self.dims = {level: config.embed_dim * 2**i for i, level in enumerate(LEVELS)}

    def init_positions(self) -> None:
        """Initialises a table of absolute positions, where there is one, with sine waves."""
        table = self.swin.swin.embeddings.position_embeddings
        if table is not None:
            side, dim = round(table.shape[1] ** 0.5), table.shape[2]
            waves = torch.arange(1, dim // 4 + 1) * math.pi
            down, across = torch.meshgrid(torch.arange(side) / side, torch.arange(side) / side, indexing="ij")
            angles = [line.reshape(-1, 1) * waves for line in (across, down)]
            parts = [wave(angle) for angle in angles for wave in (torch.sin, torch.cos)]
            placed = 0.5 * torch.cat(parts, dim=1)
            init.copy_(table, F.pad(placed, (0, dim - placed.shape[1]))[None].to(table))

    def forward(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        """``float[F, 3, H, W]`` to ``{"res2": float[F, C, H/4, W/4], .. "res5": float[F, 8C, H/32, W/32]}``."""
        return dict(zip(LEVELS, self.swin(pixels).feature_maps, strict=True))

    @staticmethod
    def widest(config: Any, size: int) -> int:
        """As of :class:`Backbone`: scores before and after the softmax, or the feed-forward, of a stage."""
        largest = 0
        for stage, heads in enumerate(config.num_heads):
            cells = (size // 2 ** (stage + 2)) ** 2
            width = config.embed_dim * 2**stage
            scores = 3 * heads * config.window_size**2
            largest = max(largest, cells * (4 * width + max(scores, int(2 * config.mlp_ratio * width))))
        return largest
