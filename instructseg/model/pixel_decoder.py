"""Mask2Former's multi-scale deformable pixel decoder, with the released lateral convolution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional as F
from transformers import Mask2FormerConfig
from transformers import initialization as init
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoder,
    Mask2FormerPixelDecoderEncoderLayer,
    Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention,
    Mask2FormerPreTrainedModel,
)

from instructseg.model.backbones import LEVELS
from instructseg.model.positions import SinePositions

LEVELS_READ, POINTS = 3, 4
"""Levels that a position samples, and points on each."""


class DeformableAttention(Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention):
    """Deformable attention; on a CPU without gradients, sampled cells are read as rows.

    ``grid_sample`` reads one channel at a time. Here each of the four cells around a point is one row of all
    channels of a head, and a weighted sum of rows is what ``embedding_bag`` computes.
    """

    by_rows = True
    """Whether rows are read where possible."""

    def forward(  # type: ignore[override]
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        position_embeddings: torch.Tensor | None = None,
        reference_points: torch.Tensor | None = None,
        spatial_shapes_list: list[tuple[int, int]] | None = None,
        **others: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """``float[F, S, C]`` cells of all levels to the same shape; keyword arguments as in transformers.

        Masks are ignored when rows are read: the pixel decoder's are false everywhere.
        """
        x = hidden_states
        if not self._reads_rows(x):
            return super().forward(
                x, encoder_hidden_states=encoder_hidden_states, position_embeddings=position_embeddings,
                reference_points=reference_points, spatial_shapes_list=spatial_shapes_list, **others,
            )  # fmt: skip
        assert encoder_hidden_states is not None and reference_points is not None and spatial_shapes_list
        value = self.value_proj(encoder_hidden_states)
        asking = x if position_embeddings is None else x + position_embeddings
        points = (self.n_heads, self.n_levels, self.n_points)
        offsets = self.sampling_offsets(asking).unflatten(-1, (*points, 2))
        weights = self.attention_weights(asking).unflatten(-1, (self.n_heads, -1)).softmax(-1)
        weights = weights.unflatten(-1, points[1:])
        sampled = [
            sample_rows(value[f], spatial_shapes_list, reference_points[f], offsets[f], weights[f])
            for f in range(len(x))
        ]
        return self.output_proj(torch.stack(sampled)), weights

    def _reads_rows(self, x: torch.Tensor) -> bool:
        """False where gradients are kept, and in graphs for a compiler or another runtime."""
        if torch.is_grad_enabled() or torch.jit.is_tracing() or torch.compiler.is_compiling():
            return False
        return self.by_rows and x.device.type == "cpu" and x.dtype == torch.float32


def sample_rows(
    value: torch.Tensor,
    shapes: list[tuple[int, int]],
    reference: torch.Tensor,
    offsets: torch.Tensor,
    weights: torch.Tensor,
) -> torch.Tensor:
    """Multi-scale deformable attention of one image (arXiv 2010.04159, section 4.1), bilinear, zeros outside.

    Args:
        value: ``float[S, C]``, cells of all levels.
        shapes: ``(h, w)`` of each of the J levels, ``S`` cells in all.
        reference: ``float[N, J, 2]``, x and y in 0..1.
        offsets: ``float[N, heads, J, P, 2]``, in cells of the level.
        weights: ``float[N, heads, J, P]``.

    Returns:
        ``float[N, C]``.
    """
    queries, heads, levels, _, _ = offsets.shape
    sizes = torch.tensor(shapes, dtype=torch.int32).view(levels, 2, 1)
    height, width = sizes[:, 0], sizes[:, 1]  # (J, 1)
    # a point at x in 0..1 lies at x * width - 0.5 cells
    columns, shares = _two_cells(offsets[..., 0] + (reference[..., 0, None] * width - 0.5).unsqueeze(1), width)
    rows, parts = _two_cells(offsets[..., 1] + (reference[..., 1, None] * height - 0.5).unsqueeze(1), height)
    start = (height * width).cumsum(0, dtype=torch.int32) - height * width
    rows = start.unsqueeze(-1) + rows * width.unsqueeze(-1)
    places = rows.unsqueeze(-1) + columns.unsqueeze(-2)  # (N, heads, J, P, 2, 2)
    # cells of a head are rows of a table: row = cell * heads + head
    places = places.mul_(heads).add_(torch.arange(heads, dtype=torch.int32).view(heads, 1, 1, 1, 1))
    parts = (parts * weights.unsqueeze(-1)).unsqueeze(-1) * shares.unsqueeze(-2)
    table = value.reshape(-1, value.shape[1] // heads)
    bags = queries * heads
    out = F.embedding_bag(
        places.view(bags, -1), table, mode="sum", per_sample_weights=parts.view(bags, -1)
    )  # (N * heads, C / heads)
    return out.view(queries, -1)


def _two_cells(x: torch.Tensor, size: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The cells on both sides of ``float[N, heads, J, P]`` and their bilinear shares, ``[N, heads, J, P, 2]``.

    Outside ``0 .. size - 1`` (``int32[J, 1]``) the share is 0 and the cell the last one inside.
    """
    low = x.floor()
    cells = torch.stack((low, low + 1), dim=-1)
    kept = cells.clamp(min=0).minimum(size.unsqueeze(-1) - 1.0)
    shares = (1 - (cells - x.unsqueeze(-1)).abs()).mul_(cells == kept)
    return kept.to(torch.int32), shares


class PixelDecoder(Mask2FormerPreTrainedModel):
    """Backbone maps to three levels for attention and one map for masks.

    ``lateral="released"``: the res2 lateral convolution has a bias, and a ReLU after its GroupNorm, as in
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
        # transformers leaves it uninitialised; a whole model initialises it later
        nn.init.zeros_(self.decoder.level_embed)
        self.decoder.add_module("position_embedding", SinePositions(dim))
        for layer in self.decoder.encoder.layers:
            encoder_layer = cast(Mask2FormerPixelDecoderEncoderLayer, layer)
            encoder_layer.self_attn = DeformableAttention(dim, heads, LEVELS_READ, POINTS)
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
