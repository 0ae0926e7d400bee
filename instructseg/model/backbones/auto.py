"""Backbones of transformers with four maps of stride 4 to 32: Hiera, ConvNeXt, DINOv3-ConvNeXt, ..."""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers import AutoBackbone

from instructseg.model.backbones.backbone import LEVELS, Backbone


class TransformersTrunk(Backbone):
    """A backbone by its configuration; maps that are not at the strides of :data:`LEVELS` are refused.

    Raises:
        ValueError: transformers has no backbone of that kind, or it has fewer than four stages.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        config = copy.deepcopy(config)
        stages = [name for name in getattr(config, "stage_names", ()) if name.startswith("stage")]
        if len(stages) < len(LEVELS):
            raise ValueError(
                f"backbone '{config.model_type}' has {len(stages)} stages, not {len(LEVELS)}: "
                "take a hierarchical one"
            )
        config.set_output_features_output_indices(stages[-len(LEVELS) :], None)
        self.trunk = AutoBackbone.from_config(config)
        self.dims = dict(zip(LEVELS, self.trunk.channels, strict=True))

    def forward(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        """As of :class:`Backbone`."""
        maps = dict(zip(LEVELS, self.trunk(pixels).feature_maps, strict=True))
        for stride, (level, values) in zip((4, 8, 16, 32), maps.items(), strict=True):
            wanted = (pixels.shape[-2] // stride, pixels.shape[-1] // stride)
            if tuple(values.shape[-2:]) != wanted:
                raise ValueError(
                    f"{level} of the backbone is {tuple(values.shape[-2:])}, expected {wanted}: stride {stride}"
                )
        return maps

    @staticmethod
    def widest(config: Any, size: int) -> int:
        """As of :class:`Backbone`: the finest map, widened by four in its feed-forward, and its copies."""
        width = next(
            value[0] if isinstance(value, list | tuple) else value
            for value in (getattr(config, name, None) for name in ("hidden_sizes", "embed_dim", "hidden_size"))
            if value
        )
        return int((size // 4) ** 2 * 12 * width)
