"""The Phi language model, its LoRA adapters and greedy generation from embeddings."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn
from transformers import LogitsProcessor, LogitsProcessorList, PhiConfig, PhiForCausalLM

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

    def hidden_states(self, embeds: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """``float[B, L, D]`` input embeddings, ``bool[B, L]`` to last hidden states ``float[B, L, D]``."""
        return self.model(
            inputs_embeds=embeds, attention_mask=attention_mask, use_cache=False
        ).last_hidden_state

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
