"""Swin backbone of the mask branch: four maps of stride 4, 8, 16 and 32."""

from __future__ import annotations

import copy

import torch
from torch import nn
from transformers import SwinBackbone, SwinConfig

from instructseg.model.configuration import LEVELS


class Backbone(nn.Module):
    """transformers' Swin; each map has its own LayerNorm, the norm behind the last block is not used."""

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        config = copy.deepcopy(config)
        config.set_output_features_output_indices(["stage1", "stage2", "stage3", "stage4"], None)
        self.swin = SwinBackbone(config)
        self.swin.swin.add_module("layernorm", nn.Identity())
        self.dims = {level: config.embed_dim * 2**i for i, level in enumerate(LEVELS)}

    def forward(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        """``float[F, 3, H, W]`` to ``{"res2": float[F, C, H/4, W/4], .. "res5": float[F, 8C, H/32, W/32]}``."""
        return dict(zip(LEVELS, self.swin(pixels).feature_maps, strict=True))
