"""LoRA adapters of a language model, by peft."""

from __future__ import annotations

from typing import Any

from torch import nn

LORA_RELEASED = {"r": 8, "alpha": 16, "dropout": 0.05, "targets": ["q_proj", "v_proj"]}
"""Adapter of the released recipe."""


def add_lora(language: nn.Module, r: int, alpha: int, dropout: float, targets: list[str] | None = None) -> None:
    """Adds trainable adapters to linear layers, in place, and freezes the rest.

    Args:
        language: the language model.
        r: rank.
        alpha: the adapters' product is scaled by ``alpha / r``.
        dropout: of the adapters' inputs, 0..1.
        targets: names of the layers; ``None`` for those of the kind of language model.
    """
    from peft import LoraConfig, inject_adapter_in_model

    kind: Any = language
    names = list(kind.lora_targets if targets is None else targets)
    config = LoraConfig(r=r, lora_alpha=alpha, lora_dropout=dropout, target_modules=names, bias="none")
    inject_adapter_in_model(config, language)


def merge_lora(language: nn.Module) -> None:
    """Merges the adapters into their base weights (``W += alpha / r * B A``) and removes them, in place."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(language.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(language.get_submodule(parent), child, module.get_base_layer())
    if hasattr(language, "peft_config"):
        del language.peft_config
