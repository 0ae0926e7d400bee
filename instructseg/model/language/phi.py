"""Phi, the language model of the released weights."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PhiConfig, PhiForCausalLM

from instructseg.model.language.causal import (
    CausalLanguageModel,
    Rotary,
    gather_positions,
    rotary_at,
    rotate,
)
from instructseg.model.language.language_model import ChatFormat

CHAT = ChatFormat(human="USER: {} ASSISTANT:", system="{} ", reply=" {}", end="<|endoftext|>")
"""As released (LLaVA's "v1" conversation, ended by Phi's end of text)."""


class PhiLanguageModel(CausalLanguageModel, PhiForCausalLM):
    """Phi as Mipha ships it: the output table has no bias and its own number of rows."""

    config_class = PhiConfig
    chat = CHAT
    block_class = "PhiDecoderLayer"
    block_linears = frozenset({"q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"})
    final_norm = "final_layernorm"

    def __init__(self, config: PhiConfig, lm_head_size: int) -> None:
        super().__init__(config)
        self.lm_head = nn.Linear(config.hidden_size, lm_head_size, bias=False)
        self.vocab_size = lm_head_size

    def plain_attention(self) -> bool:
        """As of :class:`CausalLanguageModel`; keys and values must have as many heads as queries."""
        config = self.model.config
        return bool(config.num_key_value_heads == config.num_attention_heads)

    def last_block(
        self, hidden: torch.Tensor, index: torch.Tensor, rotary: Rotary, seen: torch.Tensor
    ) -> torch.Tensor:
        """As of :class:`CausalLanguageModel`; attention and feed-forward run in parallel."""
        block = self.model.layers[-1]
        attention = block.self_attn
        normed = block.input_layernorm(hidden)
        asking = gather_positions(normed, index)

        def heads(values: torch.Tensor) -> torch.Tensor:
            return values.unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)

        q, k = heads(attention.q_proj(asking)), heads(attention.k_proj(normed))
        v = heads(attention.v_proj(normed))
        if attention.qk_layernorm:
            q, k = attention.q_layernorm(q), attention.k_layernorm(k)
        q, k = rotate(q, *rotary_at(rotary, index)), rotate(k, *rotary)
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=attention.scaling)
        attended = attention.dense(found.transpose(1, 2).flatten(2))
        return attended + block.mlp(asking) + gather_positions(hidden, index)
