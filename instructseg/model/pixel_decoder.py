"""Mask2Former's multi-scale deformable pixel decoder, with the released lateral convolution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
from instructseg.model.blocks import ROWS, in_blocks, uses_blocks
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

        When rows are read, no weights are returned, and masks are ignored: the pixel decoder's are false
        everywhere.
        """
        x = hidden_states
        if not self._reads_rows(x):
            return super().forward(
                x, encoder_hidden_states=encoder_hidden_states, position_embeddings=position_embeddings,
                reference_points=reference_points, spatial_shapes_list=spatial_shapes_list, **others,
            )  # fmt: skip
        assert encoder_hidden_states is not None and reference_points is not None and spatial_shapes_list
        values = self.value_proj(encoder_hidden_states)
        asking = x if position_embeddings is None else x + position_embeddings
        points = (self.n_heads, self.n_levels, self.n_points)
        sampled = []
        for cells, frame, places in zip(values, asking, reference_points, strict=True):
            for rows, at in zip(frame.split(ROWS), places.split(ROWS), strict=True):
                offsets = self.sampling_offsets(rows).unflatten(-1, (*points, 2))
                scores = self.attention_weights(rows).unflatten(-1, points)
                sampled.append(sample_rows(cells, spatial_shapes_list, at, offsets, scores))
        return self.output_proj(torch.cat(sampled).view_as(x)), None

    def _reads_rows(self, x: torch.Tensor) -> bool:
        return self.by_rows and x.dtype == torch.float32 and uses_blocks(x)


def sample_rows(
    values: torch.Tensor,
    shapes: list[tuple[int, int]],
    reference: torch.Tensor,
    offsets: torch.Tensor,
    scores: torch.Tensor,
) -> torch.Tensor:
    """Multi-scale deformable attention of one image (arXiv 2010.04159, section 4.1), bilinear, zeros outside.

    Positions are the last axis of all that is computed on the way: a processor takes long inner loops faster.

    Args:
        values: ``float[S, C]``, cells of all levels.
        shapes: ``(h, w)`` of each of the J levels, ``S`` cells in all.
        reference: ``float[N, J, 2]``, x and y in 0..1.
        offsets: ``float[N, heads, J, P, 2]``, in cells of the level.
        scores: ``float[N, heads, J, P]``, weights before the softmax.

    Returns:
        ``float[N, C]``.
    """
    count, heads, levels, points, _ = offsets.shape
    sizes = torch.tensor(shapes, dtype=torch.int32)
    height, width = sizes.view(levels, 2, 1, 1).unbind(1)  # (J, 1, 1)
    # a point at x in 0..1 lies at x * width - 0.5 cells
    at = (reference.permute(1, 2, 0) * sizes.flip(1)[..., None] - 0.5).unsqueeze(1)  # (J, 1, 2, N)
    x, y = (_turned(offsets).view(heads, levels, points, 2, count) + at).unbind(3)  # (heads, J, P, N)
    weights = _turned(scores).view(heads, levels * points, count).softmax(1).view_as(x)
    # cells of a head are rows of a table: row = cell * heads + head
    area = (height * width) * heads
    first = area.cumsum(0, dtype=torch.int32) - area + torch.arange(heads, dtype=torch.int32).view(-1, 1, 1, 1)
    corners = (heads, 4, levels, points, count)
    places, parts = torch.empty(corners, dtype=torch.int32), torch.empty(corners)
    columns = [(cells.mul_(heads), share) for cells, share in _two_cells(x, width)]
    for down, (row, part) in enumerate(_two_cells(y, height)):
        start, part = row.mul_(width * heads).add_(first), part * weights
        for across, (column, share) in enumerate(columns):
            torch.add(start, column, out=places[:, 2 * down + across])
            torch.mul(part, share, out=parts[:, 2 * down + across])
    bags = count * heads
    found = F.embedding_bag(
        _turned_back(places).view(bags, -1),
        values.reshape(-1, values.shape[1] // heads),
        mode="sum",
        per_sample_weights=_turned_back(parts).view(bags, -1),
    )  # (N * heads, C / heads)
    return found.view(count, -1)


def _turned(values: torch.Tensor) -> torch.Tensor:
    """``float[N, ..]`` to ``float[K, N]``."""
    return values.flatten(1).t().contiguous()


def _turned_back(values: torch.Tensor) -> torch.Tensor:
    """``[.., N]`` to ``[N, K]``."""
    return values.flatten(0, -2).t().contiguous()


def _two_cells(x: torch.Tensor, size: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The cells on both sides of ``float[heads, J, P, N]`` and their bilinear shares.

    Outside ``0 .. size - 1`` (``int32[J, 1, 1]``) the share is 0 and the cell the last one inside.
    """
    low, found = x.floor(), []
    for cells in (low, low + 1):
        kept = cells.clamp(min=0).minimum(size - 1.0)
        share = torch.rsub((cells - x).abs_(), 1).masked_fill_(kept != cells, 0)
        found.append((kept.to(torch.int32), share))
    return found


class EncoderLayer(Mask2FormerPixelDecoderEncoderLayer):
    """A layer of the pixel decoder's encoder; what computes each cell by itself runs in blocks."""

    def forward(  # type: ignore[override]
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor, **given: Any
    ) -> tuple[torch.Tensor | None, ...]:
        """``float[F, S, C]`` cells of all levels to the same shape; keyword arguments as in transformers."""
        if not uses_blocks(hidden_states):
            return super().forward(hidden_states, attention_mask, **given)
        attended, weights = self.self_attn(
            hidden_states, attention_mask=attention_mask, encoder_hidden_states=hidden_states, **given
        )
        return in_blocks(self._feed_forward, hidden_states + attended), weights

    def _feed_forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.self_attn_layer_norm(x)
        return self.final_layer_norm(x + self.fc2(self.activation_fn(self.fc1(x))))


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
        encoder_layers = [EncoderLayer(config) for _ in range(layers)]
        for layer in encoder_layers:
            layer.self_attn = DeformableAttention(dim, heads, LEVELS_READ, POINTS)
        self.decoder.encoder.layers = nn.ModuleList(encoder_layers)
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
