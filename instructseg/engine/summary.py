"""Logs trainable and frozen parameters and the expected memory.

Weights, gradients, moments and averages are counted. Activations are an estimate.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from instructseg.out_of_memory import gib
from instructseg.structures import ModelInputs

ADAM_MOMENTS = 2
_LAYER_BYTES = 34
"""Bytes per token and channel that a transformer layer keeps in 16 bit without attention weights: Korthikanti
et al., Reducing Activation Recomputation in Large Transformer Models, 2022, equation 1."""
_KEPT_BYTES = 2
"""With checkpointing: its input alone."""
_LOGIT_COPIES = 3
"""Logits, their log-softmax and its gradient, float32."""


@dataclass(frozen=True)
class Memory:
    """Memory of each process in bytes.

    Attributes:
        weights, gradients, optimizer, averages: counted.
        activations: estimated; 0 for unknown models.
    """

    weights: int
    gradients: int
    optimizer: int
    averages: int
    activations: int = 0

    @property
    def total(self) -> int:
        """Of all."""
        return self.weights + self.gradients + self.optimizer + self.averages + self.activations


@dataclass(frozen=True)
class ParameterCount:
    """Trainable and frozen parameters of a part."""

    trainable: int = 0
    frozen: int = 0


def count_parts(model: nn.Module) -> dict[str, ParameterCount]:
    """Counts parameters by first name level; adapters and tables of ``language`` separately."""
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for name, parameter in model.named_parameters():
        counts[_part(name)][not parameter.requires_grad] += parameter.numel()
    return {name: ParameterCount(*counted) for name, counted in counts.items()}


def _part(name: str) -> str:
    first, _, rest = name.partition(".")
    if ".lora_" in name:
        return f"{first} (LoRA)"
    table = next((table for table in ("embed_tokens", "lm_head") if table in rest.split(".")), None)
    return f"{first} ({table})" if table else first


def count_memory(model: nn.Module, ema: bool, shards: int = 1) -> Memory:
    """Memory of everything but activations.

    Args:
        model: with ``requires_grad`` as it is trained; values are not read, so it may be on the meta device.
        ema: whether averages are kept.
        shards: processes that weights, gradients and moments are spread over.
    """
    weights = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
    learning = sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)
    parts = (weights, learning, ADAM_MOMENTS * learning, learning * ema)
    return Memory(*(part // shards for part in parts))


def estimate_activations(model: nn.Module, inputs: ModelInputs, half: bool, checkpointing: bool) -> int:
    """Estimates the bytes kept for the backward; 0 for an unknown kind of model.

    Counted are the language model's layers, the logits of learned tokens, and the mask branch: its deformable
    attention and the masks of every decoder layer, kept three times for the losses. Frozen encoders keep
    nothing.

    Args:
        half: whether the forward runs in 16 bit.
        checkpointing: whether blocks are computed again.
    """
    config: Any = getattr(model, "config", None)
    if getattr(config, "text_config", None) is None:
        return 0
    text, width = config.text_config, 1 if half else 2
    tokens = inputs.input_ids.numel() * text.hidden_size * width
    kept = text.num_hidden_layers * _KEPT_BYTES + _LAYER_BYTES
    total = tokens * (kept if checkpointing else text.num_hidden_layers * _LAYER_BYTES)
    if inputs.labels is not None:
        learned = int((inputs.labels >= 0).sum())
        total += learned * config.output_rows * 4 * _LOGIT_COPIES
    if inputs.seg_pixels is not None:
        images, _, height, width_pixels = inputs.seg_pixels.shape
        pixels = images * height * width_pixels
        cells = sum(pixels // stride**2 for stride in (8, 16, 32))
        total += cells * config.conv_dim * config.pixel_decoder_layers * _LAYER_BYTES * width
        layers = config.decoder_layers + 1
        total += len(inputs.input_ids) * (pixels // images // 16) * layers * config.num_queries * 4 * 3
    return total


def describe(model: nn.Module, memory: Memory) -> list[str]:
    """Describes parameters and memory, line by line."""
    parts = count_parts(model)
    learning, frozen = sum(p.trainable for p in parts.values()), sum(p.frozen for p in parts.values())
    lines = [f"{learning:,} of {learning + frozen:,} parameters are trained"]
    learn = [f"{name} {part.trainable:,}" for name, part in parts.items() if part.trainable]
    rest = [f"{name} {part.frozen:,}" for name, part in parts.items() if part.frozen]
    lines.append("trained: " + ", ".join(learn))
    lines.append("frozen: " + (", ".join(rest) or "nothing"))
    counted = (("weights", memory.weights), ("gradients", memory.gradients), ("optimizer", memory.optimizer))
    words = [f"{name} {gib(size)}" for name, size in (*counted, ("averages", memory.averages))]
    guess = f"activations about {gib(memory.activations)} (an estimate)" if memory.activations else ""
    shown = ", ".join([*words, *filter(None, [guess])])
    lines.append(f"memory of each process: {shown}; together {gib(memory.total)}")
    return lines


def prepare_memory(model: nn.Module, frozen_dtype: torch.dtype | None, checkpointing: bool, where: str) -> None:
    """Casts frozen weights to ``frozen_dtype`` and enables gradient checkpointing, in place.

    Modules that the model keeps in float32 stay so.

    Raises:
        ValueError: the model has no gradient checkpointing; ``where`` names the setting.
    """
    if frozen_dtype is not None:
        kept = tuple(getattr(model, "_keep_in_fp32_modules_strict", None) or ())
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad and parameter.is_floating_point() and not name.startswith(kept):
                parameter.data = parameter.data.to(frozen_dtype)
    if checkpointing:
        enable = getattr(model, "activation_checkpointing_enable", None)
        enable = enable or getattr(model, "gradient_checkpointing_enable", None)
        if enable is None:
            raise ValueError(f"{where}: this model has no gradient checkpointing")
        enable()
