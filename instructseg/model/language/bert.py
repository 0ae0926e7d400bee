"""Bidirectional encoder (BERT, MiniLM) as language model, without text generation.

Its sequence holds mask tokens and image tokens as that of a decoder, but every position attends to all
others, so the states of an instruction depend on the image in any order.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional as F
from transformers import BertConfig, BertModel
from transformers.models.bert.modeling_bert import BertPreTrainedModel

from instructseg.model.language.causal import gather_positions
from instructseg.model.language.language_model import ChatFormat, LanguageModel, Placement, wanted_positions

CHAT = ChatFormat(human="[CLS] {}", system="{} ", reply=" {} ", end="[SEP]")
"""One sequence between BERT's own special tokens, without turns."""


class BertLanguageModel(LanguageModel, BertPreTrainedModel):
    """BERT without its pooler; input embeddings get positions and the embedding norm inside."""

    config_class = BertConfig
    chat = CHAT
    generates = False
    lora_targets = ("query", "value")
    blocks = "model.encoder.layer."
    block_class = "BertLayer"
    block_linears = frozenset({"query", "key", "value", "dense"})
    quantized_tables = frozenset({"model.embeddings.word_embeddings"})
    base_model_prefix = "model"
    published_names = {r"^bert\.": "model."}  # noqa: RUF012
    """Patterns of names in published files -> names here."""

    def __init__(self, config: BertConfig, lm_head_size: int | None = None) -> None:
        super().__init__(config)
        self.model = BertModel(config, add_pooling_layer=False)
        self.post_init()

    def word_table(self) -> nn.Embedding:
        """As of :class:`LanguageModel`."""
        return cast(nn.Embedding, self.model.embeddings.word_embeddings)

    def hidden_states(
        self,
        embeds: torch.Tensor,
        attention_mask: torch.Tensor,
        read: torch.Tensor | None = None,
        placement: Placement | None = None,
    ) -> torch.Tensor:
        """As of :class:`LanguageModel`."""
        plain = self.model.config._attn_implementation == "sdpa" and self.model._compiled_call_impl is None
        ids, mask, seen = None, attention_mask, attention_mask[:, None, None, :]  # seen: (B, 1, 1, L)
        if placement is not None:
            ids, seen = placement.ids, placement.seen(seen, embeds.dtype)
            mask = seen.expand(-1, -1, embeds.shape[1], -1)
        if read is None or torch.is_grad_enabled() or not plain:
            states = self.model(inputs_embeds=embeds, attention_mask=mask, position_ids=ids)
            return cast(torch.Tensor, states.last_hidden_state)
        every = placement is None and bool(attention_mask.all())
        hidden = self.model.embeddings(inputs_embeds=embeds, position_ids=ids)
        *layers, last = self.model.encoder.layer
        for layer in layers:
            hidden = layer(hidden, None if every else seen)
        index = wanted_positions(read)
        states = _last_block(last, hidden, index, None if every else seen)
        return embeds.new_zeros(embeds.shape).scatter(1, index.unsqueeze(-1).expand_as(states), states)


def _last_block(
    block: Any, hidden: torch.Tensor, index: torch.Tensor, seen: torch.Tensor | None
) -> torch.Tensor:
    """A block in inference, at some positions alone; keys and values are those of all.

    Args:
        block: a ``BertLayer``.
        hidden: ``float[B, L, D]``, its input.
        index: ``int64[B, N]``, the positions.
        seen: ``bool[B, 1, 1, L]``, false on padding, or ``float`` to be added to attention scores; ``None``
            where all read all alike.

    Returns:
        ``float[B, N, D]``.
    """
    attention = block.attention.self
    asking = gather_positions(hidden, index)

    def heads(values: torch.Tensor) -> torch.Tensor:
        return values.unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2)

    q, k, v = heads(attention.query(asking)), heads(attention.key(hidden)), heads(attention.value(hidden))
    found = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=attention.scaling)
    return block.feed_forward_chunk(block.attention.output(found.transpose(1, 2).flatten(2), asking))
