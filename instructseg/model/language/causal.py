"""Base of decoder-only language models: last block at requested positions, and generation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import nn
from transformers import LogitsProcessor, LogitsProcessorList
from transformers.models.phi.modeling_phi import rotate_half

from instructseg.model.language.language_model import LanguageModel, Placement, Sampling, wanted_positions

if TYPE_CHECKING:
    from typing_extensions import Unpack

Rotary = tuple[torch.Tensor, torch.Tensor]
"""Cosines and sines of rotary positions, ``float[B, L, R]`` each; ``B`` is 1 where rows share them."""


class CausalLanguageModel(LanguageModel):
    """A decoder of transformers: ``model.layers`` with rotary positions, and a final norm.

    Attributes:
        final_norm: name of that norm in ``model``.
    """

    generates = True
    lora_targets = ("q_proj", "v_proj")
    blocks = "model.layers."
    final_norm: ClassVar[str]
    lm_head: nn.Module

    def word_table(self) -> nn.Embedding:
        """As of :class:`LanguageModel`."""
        return cast(nn.Embedding, self.model.embed_tokens)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """As of :class:`LanguageModel`."""
        return self.lm_head(hidden)

    def hidden_states(
        self,
        embeds: torch.Tensor,
        attention_mask: torch.Tensor,
        read: torch.Tensor | None = None,
        placement: Placement | None = None,
    ) -> torch.Tensor:
        """As of :class:`LanguageModel`."""
        if read is None or not self._may_skip(attention_mask):
            ids, mask = None, attention_mask
            if placement is not None:
                places = torch.arange(embeds.shape[1], device=embeds.device)[None]
                earlier = earlier_positions(places, embeds.shape[1]) & attention_mask[:, None, None, :]
                ids, mask = placement.ids, placement.seen(earlier, embeds.dtype)
            states = self.model(inputs_embeds=embeds, attention_mask=mask, position_ids=ids, use_cache=False)
            return cast(torch.Tensor, states.last_hidden_state)
        length = int(read.any(0).nonzero().max()) + 1
        if placement is not None:
            placement = Placement(placement.ids[:, :length], placement.sizes[:, :length])
        states, index = self._read(embeds[:, :length], read[:, :length], placement)
        return embeds.new_zeros(embeds.shape).scatter(1, index, states)

    def last_block(
        self, hidden: torch.Tensor, index: torch.Tensor, rotary: Rotary, seen: torch.Tensor
    ) -> torch.Tensor:
        """The last block in inference, at some positions alone; keys and values are those of all.

        Args:
            hidden: ``float[B, L, D]``, its input.
            index: ``int64[B, N]``, the positions.
            rotary: of all positions.
            seen: what the positions read, ``bool[B, 1, N, L]``, or ``float`` to be added to attention scores.

        Returns:
            ``float[B, N, D]``.
        """
        raise NotImplementedError

    def plain_attention(self) -> bool:
        """Whether each position attends to all before it, so that :meth:`last_block` may replace the block."""
        raise NotImplementedError

    def _may_skip(self, attention_mask: torch.Tensor) -> bool:
        """Whether the layers can be called one by one with plain causal attention.

        Padding after the real positions needs no mask: no real position attends to later ones.
        """
        plain = self.model.config._attn_implementation == "sdpa" and self.model._compiled_call_impl is None
        if torch.is_grad_enabled() or not plain or not self.plain_attention():
            return False
        return bool((attention_mask[:, 1:] <= attention_mask[:, :-1]).all())

    def _read(
        self, embeds: torch.Tensor, read: torch.Tensor, placement: Placement | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """States of the requested positions, ``float[B, N, D]``, and their places, ``int64[B, N, D]``."""
        model, mask, length = self.model, None, embeds.shape[1]
        places = positions = torch.arange(length, device=embeds.device)[None]
        index = wanted_positions(read)
        seen = earlier_positions(index, length)
        if placement is not None:
            positions = placement.ids
            mask = placement.seen(earlier_positions(places, length), embeds.dtype)
            seen = placement.seen(seen, embeds.dtype)
        rotary = model.rotary_emb(embeds, position_ids=positions)
        hidden = embeds
        for layer in model.layers[:-1]:
            hidden = layer(
                hidden, attention_mask=mask, position_ids=positions, position_embeddings=rotary, use_cache=False
            )
        states = getattr(model, self.final_norm)(self.last_block(hidden, index, rotary, seen))
        return states, index.unsqueeze(-1).expand_as(states)

    def continue_text(
        self, embeds: torch.Tensor, max_new_tokens: int, stop: tuple[int, ...], **sampling: Unpack[Sampling]
    ) -> list[int]:
        """As of :class:`LanguageModel`, with a KV cache."""
        mask = torch.ones(embeds.shape[:2], dtype=torch.long, device=embeds.device)
        arguments = {"do_sample": False, "pad_token_id": stop[0], **sampling}
        ids = cast(Any, self).generate(
            inputs_embeds=embeds,
            attention_mask=mask,
            max_new_tokens=max_new_tokens,
            eos_token_id=list(stop),
            logits_processor=LogitsProcessorList([_KnownTokens(self.word_table().num_embeddings)]),
            **arguments,
        )
        tokens = ids[0].tolist()
        return next((tokens[:i] for i, token in enumerate(tokens) if token in stop), tokens)


class _KnownTokens(LogitsProcessor):
    """Excludes rows of the output table that belong to no token."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores[:, self.tokens :] = -torch.inf
        return scores


def gather_positions(hidden: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """``float[B, L, D]`` at ``int64[B, N]``: ``float[B, N, D]``."""
    return hidden.gather(1, index.unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))


def earlier_positions(index: torch.Tensor, length: int) -> torch.Tensor:
    """The causal mask of ``int64[B, N]`` positions over ``length`` keys, ``bool[B, 1, N, L]``."""
    places = torch.arange(length, device=index.device)
    return (places <= index.unsqueeze(-1)).unsqueeze(1)


def rotary_at(rotary: Rotary, index: torch.Tensor) -> Rotary:
    """Rotary positions at the places ``int64[B, N]`` of each row, ``float[B, N, R]``."""
    cos, sin = (each.expand(len(index), -1, -1) for each in rotary)
    return gather_positions(cos, index), gather_positions(sin, index)


def rotate(values: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions on the first ``R`` channels of ``float[B, heads, N, head_dim]``; ``cos`` and ``sin`` are
    ``float[B, N, R]``."""
    turned, rest = values[..., : cos.shape[-1]], values[..., cos.shape[-1] :]
    turned = turned * cos.unsqueeze(1) + rotate_half(turned) * sin.unsqueeze(1)
    return torch.cat((turned, rest), dim=-1)
