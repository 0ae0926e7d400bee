"""Swin layer by groups of windows, whose values stay in the processor's cache.

Letters: ``F`` frames, ``H, W`` cells of the map, ``S`` cells of a window's side, ``C`` channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypedDict, cast

import torch
from torch.nn import functional as F
from transformers.models.swin.modeling_swin import SwinAttention, SwinLayer

from instructseg.model.blocks import ROWS, in_blocks, uses_blocks

if TYPE_CHECKING:
    from typing_extensions import Unpack


class SwinLayerKeywords(TypedDict, total=False):
    """What transformers hands on from a model to its layers (its own type is unknown to who has it not)."""

    output_attentions: bool | None
    output_hidden_states: bool | None


class WindowLayer(SwinLayer):
    """A layer of transformers' Swin, with the same weights and results.

    On a CPU without gradients a group of windows goes through the whole attention before the next one. Only
    windows of the last row and column hold cells that do not see each other: the mask of a shifted map is made
    for four windows, one of each kind, instead of for all of them.
    """

    def forward(  # type: ignore[override]  # its annotation leaves out the attention weights
        self,
        hidden_states: torch.Tensor,
        input_dimensions: tuple[int, int],
        always_partition: bool = False,
        **given: Unpack[SwinLayerKeywords],
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """``float[F, H * W, C]`` to the same shape, and attention weights or ``None``; arguments as there."""
        if not uses_blocks(hidden_states) or not always_partition:
            whole: Any = super().forward(hidden_states, input_dimensions, always_partition, **given)
            return whole  # type: ignore[no-any-return]
        height, width = input_dimensions
        x = in_blocks(self.layernorm_before, hidden_states).unflatten(1, (height, width))
        x, _ = self.maybe_pad(x, height, width)
        x = self.cyclic_shift(self._attend(self.cyclic_shift(x)), reverse=True)[:, :height, :width]
        x = hidden_states + x.flatten(1, 2)
        return in_blocks(self._feed_forward, x), None

    def _feed_forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.mlp(self.layernorm_after(x))

    def _attend(self, x: torch.Tensor) -> torch.Tensor:
        """Attention within the windows of a shifted map, ``float[F, H, W, C]`` to the same shape."""
        side, (_, height, width, channels) = self.window_size, x.shape
        grid = x.unflatten(2, (-1, side)).unflatten(1, (-1, side))  # (F, H/S, S, W/S, S, C)
        found = torch.empty_like(grid)
        for rows, columns, bias in self._regions(height // side, width // side, x):
            for frame, into in zip(grid[:, rows, :, columns], found[:, rows, :, columns], strict=True):
                together = max(1, ROWS // (side * side * frame.shape[2]))  # rows of windows
                for part, out in zip(frame.split(together), into.split(together), strict=True):
                    windows = part.transpose(1, 2)
                    attended = attend(self.attention, windows.reshape(-1, side * side, channels), bias)
                    out.transpose(1, 2).copy_(attended.view(windows.shape))
        return found.flatten(3, 4).flatten(1, 2)

    def _regions(self, down: int, across: int, x: torch.Tensor) -> Iterator[tuple[slice, slice, torch.Tensor]]:
        """Rows and columns of windows with one attention bias, ``float[1, heads, S * S, S * S]``."""
        bias = self.attention.relative_position_bias()
        side = self.window_size
        masks = self.get_attn_mask(2 * side, 2 * side, x.dtype, x.device)  # (4, S * S, S * S) if shifted
        if masks is None:
            yield slice(None), slice(None), bias
            return
        parts = [slice(0, -1), slice(-1, None)]
        for number, mask in enumerate(masks):
            rows, columns = parts[number // 2], parts[number % 2]
            if (down > 1 or number > 1) and (across > 1 or number % 2):
                yield rows, columns, bias + mask if number else bias


def attend(attention: SwinAttention, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Attention within windows ``float[N, S * S, C]``, with one bias for all, to the same shape."""
    heads = attention.num_attention_heads
    query, key, value = (
        part(x).unflatten(-1, (heads, -1)).transpose(1, 2)
        for part in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    seen = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=attention.scaling)
    return cast(torch.Tensor, attention.o_proj(seen.transpose(1, 2).flatten(2)))
