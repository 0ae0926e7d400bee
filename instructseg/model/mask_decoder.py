"""Masked-attention decoder (Mask2Former) with queries from the language model and a text-based score.

Two differences from Mask2Former: the content of the queries is the LLM's mask tokens, and the class
head is the similarity of a query with the text classifier of VMTF (section 3.4).

Attention masks of the inner layers are computed at the resolution of each level: bilinear resampling is
linear, so the mask features are resampled once to each level and projected there, instead of projecting at full
size and resampling Q masks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from instructseg.model.positions import sine_positions

# B rows, F images, Q queries, C decoder width, S = h*w cells of a level


class Attention(nn.Module):
    """Multi-head attention with separate inputs for queries, keys and values."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)

    def split(self, values: torch.Tensor) -> torch.Tensor:
        """``float[B, S, C]`` to ``float[B, heads, S, C/heads]``."""
        return values.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(
        self, queries: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """``float[B, Q, C]`` over projected, split keys and values; ``mask`` ``bool[B, 1, Q, S]``."""
        out = F.scaled_dot_product_attention(self.split(self.q_proj(queries)), k, v, attn_mask=mask)
        return self.out_proj(out.transpose(1, 2).flatten(2))


class DecoderLayer(nn.Module):
    """Masked cross-attention, self-attention, feed-forward; norm after each residual."""

    def __init__(self, dim: int, heads: int, ff: int) -> None:
        super().__init__()
        self.cross = Attention(dim, heads)
        self.cross_norm = nn.LayerNorm(dim)
        self.self_attention = Attention(dim, heads)
        self.self_norm = nn.LayerNorm(dim)
        self.ff = nn.Sequential(nn.Linear(dim, ff), nn.ReLU(), nn.Linear(ff, dim))
        self.ff_norm = nn.LayerNorm(dim)

    def keys_values(self, memory: torch.Tensor, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of ``float[F, S, C]`` cells; they depend on the image alone."""
        cross = self.cross
        return cross.split(cross.k_proj(memory + positions)), cross.split(cross.v_proj(memory))

    def forward(
        self, x: torch.Tensor, positions: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """``float[B, Q, C]`` contents, ``float[Q, C]`` query positions; keys, values and mask of the level."""
        x = self.cross_norm(x + self.cross(x + positions, k, v, mask))
        own = self.self_attention
        placed = x + positions
        attended = own(placed, own.split(own.k_proj(placed)), own.split(own.v_proj(x)))
        x = self.self_norm(x + attended)
        return self.ff_norm(x + self.ff(x))


def mlp(dim: int, out_dim: int, layers: int) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    steps: list[nn.Module] = []
    for i in range(layers):
        steps += [nn.Linear(dim, out_dim if i == layers - 1 else dim), nn.ReLU()]
    return nn.Sequential(*steps[:-1])


class MaskDecoder(nn.Module):
    """Mask tokens and a text classifier to masks and their scores."""

    def __init__(
        self,
        text_dim: int,
        conv_dim: int,
        mask_dim: int,
        dim: int,
        heads: int,
        layers: tuple[int, int],
        num_queries: int,
        learned_queries: bool,
    ) -> None:
        """``layers`` is the number of layers and the width of their feed-forward."""
        super().__init__()
        depth, ff = layers
        self.query_proj = nn.Linear(text_dim, dim)
        self.query_content = nn.Embedding(num_queries, dim) if learned_queries else None
        self.query_position = nn.Embedding(num_queries, dim)
        self.level_embed = nn.Embedding(3, dim)
        self.input_proj = nn.ModuleList(
            nn.Identity() if conv_dim == dim else nn.Conv2d(conv_dim, dim, 1) for _ in range(3)
        )
        self.layers = nn.ModuleList(DecoderLayer(dim, heads, ff) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.mask_embed = mlp(dim, mask_dim, 3)
        self.score_proj = mlp(dim, dim, 2)

    def forward(
        self,
        mask_tokens: torch.Tensor,
        classifier: torch.Tensor,
        levels: Sequence[torch.Tensor],
        mask_features: torch.Tensor,
        image_index: torch.Tensor | None = None,
        aux: bool = False,
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Decodes every row.

        Args:
            mask_tokens: ``float[B, Q, D]`` last hidden states of the LLM at its mask tokens.
            classifier: ``float[B, C]`` of VMTF.
            levels: three maps ``float[F, conv_dim, h, w]``, stride 32, 16, 8.
            mask_features: ``float[F, mask_dim, H/4, W/4]``.
            image_index: ``int64[B]``, the map of each row; ``None`` when ``B == F``.
            aux: whether the predictions of earlier layers are returned too.

        Returns:
            ``(mask_logits float[B, Q, H/4, W/4], seg_logits float[B, Q])`` of each layer, the one before
            the first layer included, the last alone without ``aux``.
        """
        x = self.query_proj(mask_tokens)
        if self.query_content is not None:
            x = x + self.query_content.weight
        memory = [self._memory(i, level) for i, level in enumerate(levels)]
        resampled = [
            F.interpolate(mask_features.float(), size=level.shape[-2:], mode="bilinear", align_corners=False)
            for level in levels
        ]
        rows = _Rows(image_index, len(mask_features))
        full = rows(mask_features)
        predictions = [self._predict(x, classifier, full)] if aux else []
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, DecoderLayer)
            level = i % 3
            cells, positions = memory[level]
            k, v = layer.keys_values(cells, positions)
            mask = self._attention_mask(x, rows(resampled[level]))
            x = layer(x, self.query_position.weight, rows(k), rows(v), mask)
            if aux and i < len(self.layers) - 1:
                predictions.append(self._predict(x, classifier, full))
        return [*predictions, self._predict(x, classifier, full)]

    def _memory(self, i: int, level: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Level ``i`` as cells ``(F, S, C)`` with its embedding, and their positions ``(S, C)``."""
        cells = self.input_proj[i](level.to(self.level_embed.weight.dtype))
        height, width = cells.shape[-2:]
        positions = sine_positions(height, width, cells.shape[1], cells.device, cells.dtype)
        return (
            cells.flatten(2).transpose(1, 2) + self.level_embed.weight[i],
            positions.flatten(1).transpose(0, 1),
        )

    @torch.no_grad()
    def _attention_mask(self, x: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """``bool[B, 1, Q, S]``: true inside a query's current mask, or everywhere if that mask is empty."""
        embed = self.mask_embed(self.norm(x)).float()
        inside = torch.einsum("bqc,bchw->bqhw", embed, features).flatten(2) >= 0
        return (inside | ~inside.any(-1, keepdim=True)).unsqueeze(1)

    def _predict(
        self, x: torch.Tensor, classifier: torch.Tensor, features: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.norm(x)
        scores = torch.einsum("bqc,bc->bq", self.score_proj(x), classifier)
        masks = torch.einsum("bqc,bchw->bqhw", self.mask_embed(x).to(features.dtype), features)
        return masks, scores


class _Rows:
    """Selects the tensor of each row's image; a single image is broadcast, not copied."""

    def __init__(self, image_index: torch.Tensor | None, images: int) -> None:
        self.image_index = image_index
        self.single = images == 1

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        if self.image_index is None:
            return values
        if self.single:
            return values.expand(self.image_index.shape[0], *values.shape[1:])
        return values[self.image_index]
