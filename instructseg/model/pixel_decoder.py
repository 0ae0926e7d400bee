"""Mask2Former's multi-scale deformable pixel decoder, with the released lateral convolution."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from transformers import Mask2FormerConfig
from transformers import initialization as init
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoder,
    Mask2FormerPreTrainedModel,
)

from instructseg.model.configuration import LEVELS
from instructseg.model.positions import SinePositions


class PixelDecoder(Mask2FormerPreTrainedModel):
    """Backbone maps to three levels for attention and one map for masks.

    ``lateral="released"``: the res2 lateral convolution has a bias and a ReLU behind its GroupNorm, as in
    the code that the published weights were trained with; ``"plain"`` is Mask2Former's own.
    """

    def __init__(
        self, dims: Mapping[str, int], dim: int, mask_dim: int, layers: int, heads: int, ff: int, lateral: str
    ) -> None:
        config = Mask2FormerConfig(
            feature_size=dim,
            mask_feature_size=mask_dim,
            encoder_layers=layers,
            num_attention_heads=heads,
            encoder_feedforward_dim=ff,
        )
        super().__init__(config)
        self.decoder = Mask2FormerPixelDecoder(config, [dims[level] for level in LEVELS])
        self.decoder.add_module("position_embedding", SinePositions(dim))
        if lateral == "released":
            conv = nn.Sequential(nn.Conv2d(dims["res2"], dim, 1), nn.GroupNorm(32, dim), nn.ReLU())
            self.decoder.add_module("adapter_1", conv)
            self.decoder.lateral_convolutions = [conv]
            self.decoder.get_submodule("layer_1").add_module("0", nn.Conv2d(dim, dim, 3, padding=1))

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d):  # transformers' normal(0, 0.02) does not learn from scratch
            init.kaiming_uniform_(module.weight, a=1)
            if module.bias is not None:
                init.zeros_(module.bias)
        else:
            super()._init_weights(module)

    def forward(self, maps: Mapping[str, torch.Tensor]) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """Refines the backbone's maps.

        Args:
            maps: ``float[F, C_l, h_l, w_l]`` for each of res2 .. res5.

        Returns:
            three maps ``float[F, C, h, w]`` of stride 32, 16 and 8, and the mask features
            ``float[F, mask_dim, H/4, W/4]``.
        """
        dtype = self.decoder.mask_projection.weight.dtype
        output = self.decoder([maps[level].to(dtype) for level in LEVELS])
        return output.multi_scale_features, output.mask_features
