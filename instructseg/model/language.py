"""The Phi language model, its LoRA adapters and greedy generation from embeddings."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional as F
from transformers import LogitsProcessor, LogitsProcessorList, PhiConfig, PhiForCausalLM
from transformers.models.phi.modeling_phi import rotate_half

LORA_RELEASED = {"r": 8, "alpha": 16, "dropout": 0.05, "targets": ["q_proj", "v_proj"]}
"""Adapter of the released recipe."""


class _KnownTokens(LogitsProcessor):
    """The output table may have more rows than there are tokens; those are never chosen."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores[:, self.tokens :] = -torch.inf
        return scores


class LanguageModel(PhiForCausalLM):
    """Phi as Mipha ships it: the output table has no bias and its own number of rows."""

    def __init__(self, config: PhiConfig, lm_head_size: int) -> None:
        super().__init__(config)
        self.lm_head = nn.Linear(config.hidden_size, lm_head_size, bias=False)
        self.vocab_size = lm_head_size

    def hidden_states(
        self, embeds: torch.Tensor, attention_mask: torch.Tensor, read: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Last hidden states.

        Args:
            embeds: ``float[B, L, D]`` input embeddings.
            attention_mask: ``bool[B, L]``, false on padding.
            read: ``bool[B, L]``, the positions whose states are wanted, at least one; ``None`` for all. The
                numbers are the same (without gradients), and what only others would read is not computed.

        Returns:
            ``float[B, L, D]``; without meaning at positions that are not wanted.
        """
        if read is None or not self._may_skip(attention_mask):
            return self.model(
                inputs_embeds=embeds, attention_mask=attention_mask, use_cache=False
            ).last_hidden_state
        length = int(read.any(0).nonzero().max()) + 1
        states, index = self._read(embeds[:, :length], read[:, :length])
        return embeds.new_zeros(embeds.shape).scatter(1, index, states)

    def _may_skip(self, attention_mask: torch.Tensor) -> bool:
        """Whether the layers can be called one by one with plain causal attention.

        Padding behind the real positions needs no mask: no real position looks at what comes later.
        """
        config = self.model.config
        plain = config._attn_implementation == "sdpa" and self.model._compiled_call_impl is None
        if torch.is_grad_enabled() or not plain or config.num_key_value_heads != config.num_attention_heads:
            return False
        return bool((attention_mask[:, 1:] <= attention_mask[:, :-1]).all())

    def _read(self, embeds: torch.Tensor, read: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """States of the wanted positions, ``float[B, N, D]``, and where they stand, ``int64[B, N, D]``.

        ``N`` is the largest number of a row; shorter rows are filled with other positions of theirs.
        """
        model = self.model
        positions = torch.arange(embeds.shape[1], device=embeds.device)[None]
        rotary = model.rotary_emb(embeds, position_ids=positions)
        hidden = embeds
        for layer in model.layers[:-1]:
            hidden = layer(
                hidden, attention_mask=None, position_ids=positions, position_embeddings=rotary, use_cache=False
            )
        count = int(read.sum(1).max())
        index = read.int().sort(dim=1, descending=True, stable=True).indices[:, :count]  # (B, N)
        states = _last_layer(model.layers[-1], hidden, index, rotary)
        return model.final_layernorm(states), index.unsqueeze(-1).expand_as(states)

    def continue_text(
        self, embeds: torch.Tensor, max_new_tokens: int, stop: tuple[int, ...], **sampling: Any
    ) -> list[int]:
        """Token ids that follow ``float[1, L, D]``, greedy unless ``sampling`` says otherwise, with a KV cache.

        Ends behind ``max_new_tokens`` or at a token of ``stop``, which is not returned.
        """
        mask = torch.ones(embeds.shape[:2], dtype=torch.long, device=embeds.device)
        arguments = {"do_sample": False, "pad_token_id": stop[0], **sampling}
        ids = cast(Any, self).generate(
            inputs_embeds=embeds,
            attention_mask=mask,
            max_new_tokens=max_new_tokens,
            eos_token_id=list(stop),
            logits_processor=LogitsProcessorList([_KnownTokens(self.model.embed_tokens.num_embeddings)]),
            **arguments,
        )
        tokens = ids[0].tolist()
        return next((tokens[:i] for i, token in enumerate(tokens) if token in stop), tokens)


def _last_layer(
    layer: nn.Module, hidden: torch.Tensor, index: torch.Tensor, rotary: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """A Phi block in inference, for some positions alone; keys and values are those of all.

    Args:
        layer: the block.
        hidden: ``float[B, L, D]``, what it takes.
        index: ``int64[B, N]``, the positions.
        rotary: cosines and sines, ``float[1, L, R]`` each.

    Returns:
        ``float[B, N, D]``.
    """
    block = cast(Any, layer)
    attention = block.self_attn
    where = index.unsqueeze(-1).expand(-1, -1, hidden.shape[-1])
    normed = block.input_layernorm(hidden)
    asking = normed.gather(1, where)

    def heads(values: torch.Tensor) -> torch.Tensor:
        return values.unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)

    q, k, v = heads(attention.q_proj(asking)), heads(attention.k_proj(normed)), heads(attention.v_proj(normed))
    if attention.qk_layernorm:
        q, k = attention.q_layernorm(q), attention.k_layernorm(k)
    cos, sin = rotary
    q, k = rotate(q, cos[0][index], sin[0][index]), rotate(k, cos, sin)
    places = torch.arange(hidden.shape[1], device=hidden.device)
    earlier = (places <= index.unsqueeze(-1)).unsqueeze(1)  # (B, 1, N, L)
    seen = F.scaled_dot_product_attention(q, k, v, attn_mask=earlier, scale=attention.scaling)
    return attention.dense(seen.transpose(1, 2).flatten(2)) + block.mlp(asking) + hidden.gather(1, where)


def rotate(values: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions on the first ``R`` channels of ``float[B, heads, N, head_dim]``; ``cos`` and ``sin`` are
    ``float[B, N, R]``."""
    turned, rest = values[..., : cos.shape[-1]], values[..., cos.shape[-1] :]
    turned = turned * cos.unsqueeze(1) + rotate_half(turned) * sin.unsqueeze(1)
    return torch.cat((turned, rest), dim=-1)


def add_lora(language: nn.Module, r: int, alpha: int, dropout: float, targets: list[str]) -> None:
    """Puts trainable adapters on the linear layers named ``targets``, in place; the rest is frozen."""
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=r, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(targets), bias="none")
    inject_adapter_in_model(config, language)


def merge_lora(language: nn.Module) -> None:
    """Adds the adapters to the weights they stand on (``W += alpha / r * B A``) and removes them, in place."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(language.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(language.get_submodule(parent), child, module.get_base_layer())
    if hasattr(language, "peft_config"):
        del language.peft_config
