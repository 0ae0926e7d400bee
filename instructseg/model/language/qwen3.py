"""Qwen3 of transformers (arXiv 2505.09388), in its chat format without reasoning text."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F
from transformers import Qwen3Config, Qwen3ForCausalLM

from instructseg.model.language.causal import (
    CausalLanguageModel,
    Rotary,
    gather_positions,
    rotary_at,
    rotate,
)
from instructseg.model.language.language_model import ChatFormat

CHAT = ChatFormat(
    human="<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    system="<|im_start|>system\n{}<|im_end|>\n",
    reply="{}",
    end="<|im_end|>",
)
"""The chat template of Qwen3 with thinking switched off."""


class Qwen3LanguageModel(CausalLanguageModel, Qwen3ForCausalLM):
    """Qwen3; its output table has the rows of its vocabulary."""

    config_class = Qwen3Config
    chat = CHAT
    block_class = "Qwen3DecoderLayer"
    block_linears = frozenset({"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"})
    final_norm = "norm"

    def __init__(self, config: Qwen3Config, lm_head_size: int | None = None) -> None:
        super().__init__(config)

    @staticmethod
    def widest(config: Any) -> int:
        """As of :class:`LanguageModel`; the feed-forward is gated, and heads may be wider than the states."""
        heads = config.num_attention_heads * config.head_dim
        return int(4 * config.hidden_size + 5 * heads + 3 * config.intermediate_size)

    def plain_attention(self) -> bool:
        """As of :class:`CausalLanguageModel`; no layer may attend to a sliding window alone."""
        return set(self.model.config.layer_types) == {"full_attention"}

    def last_block(
        self, hidden: torch.Tensor, index: torch.Tensor, rotary: Rotary, seen: torch.Tensor
    ) -> torch.Tensor:
        """As of :class:`CausalLanguageModel`; several heads of queries share one of keys and values."""
        block = self.model.layers[-1]
        attention = block.self_attn
        normed = block.input_layernorm(hidden)

        def heads(values: torch.Tensor) -> torch.Tensor:
            return values.unflatten(-1, (-1, attention.head_dim))  # norms are per head

        q = attention.q_norm(heads(attention.q_proj(gather_positions(normed, index)))).transpose(1, 2)
        k = attention.k_norm(heads(attention.k_proj(normed))).transpose(1, 2)
        v = heads(attention.v_proj(normed)).transpose(1, 2)
        q, k = rotate(q, *rotary_at(rotary, index)), rotate(k, *rotary)
        k, v = (shared.repeat_interleave(attention.num_key_value_groups, dim=1) for shared in (k, v))
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=attention.scaling)
        states = gather_positions(hidden, index) + attention.o_proj(found.transpose(1, 2).flatten(2))
        return states + block.mlp(block.post_attention_layernorm(states))
