"""The language model's linear layers with 8-bit or 4-bit weights; plain torch, on any device.

``int8``: one scale per output channel; the rows that come in are rounded to 8 bits with a scale each, and
multiplied as integers (the vector-wise scheme of LLM.int8(), arXiv 2208.07339, without its outliers).

``int4``: one scale per 32 weights, which are multiples -8 .. 7 of it (as ``Q4_0`` of ggml); they are unpacked
at each use, which saves memory but no time.

Only the linear layers of the language model's blocks are quantized, and the word table of an encoder, which
has no output table, always to 8 bits. Norms, other embeddings, mask queries and the vision side keep their
type. For inference: the weights have no gradient.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, cast, get_args

import torch
from torch import nn
from torch.nn import functional as F

from instructseg.model.language import KINDS, LanguageModel

Quantization = Literal["int8", "int4"]
"""Ways of storing the weights."""
GROUP = 32
"""Weights that share a scale in ``int4``."""
_ROWS_AT_ONCE = 512
_CHANNELS_AT_ONCE = 256
_SMALLEST = 1e-12


class Int8Linear(nn.Module):
    """A linear layer with 8-bit weights, ``int8[O, I]`` and a scale ``float[O]``."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        self.weight: torch.Tensor
        self.scale: torch.Tensor
        self.register_buffer("weight", torch.zeros(outputs, inputs, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(outputs))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    @staticmethod
    def quantize(weight: torch.Tensor) -> dict[str, torch.Tensor]:
        """``float[O, I]`` to weights and scales; the largest error is half the channel's scale."""
        stored = torch.empty(weight.shape, dtype=torch.int8, device=weight.device)
        scale = (weight.abs().amax(1).float() / 127).clamp_(min=_SMALLEST)
        # in pieces: large temporaries between the results leave holes in the heap while a model is read
        pieces = (tensor.split(_CHANNELS_AT_ONCE) for tensor in (weight, scale, stored))
        for part, unit, target in zip(*pieces, strict=True):
            target.copy_((part.float() / unit[:, None]).round_())
        return {"weight": stored, "scale": scale}

    def dequantize(self) -> torch.Tensor:
        """The weights as ``float[O, I]``, in the type of the scales."""
        return self.weight.to(self.scale.dtype) * self.scale[:, None]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``float[..., I]`` to ``float[..., O]``."""
        rows = x.reshape(-1, x.shape[-1])
        if not self._multiplies_integers(rows):
            bias = None if self.bias is None else self.bias.to(x.dtype)
            return F.linear(x, self.dequantize().to(x.dtype), bias)
        out = rows.new_empty(len(rows), len(self.weight))
        scale = self.scale.float()
        # in pieces that stay in the cache: the passes over the result cost as much as the product
        for part, target in zip(rows.split(_ROWS_AT_ONCE), out.split(_ROWS_AT_ONCE), strict=True):
            values = part.float()
            unit = (values.abs().amax(1, keepdim=True) / 127).clamp_(min=_SMALLEST)
            product = torch._int_mm((values / unit).round_().to(torch.int8), self.weight.t())
            result = torch.mul(product, unit).mul_(scale)
            target.copy_(result if self.bias is None else result.add_(self.bias))
        return out.view(*x.shape[:-1], -1)

    def _multiplies_integers(self, rows: torch.Tensor) -> bool:
        """Whether torch has a fast integer product for these sizes on this device."""
        if rows.device.type == "cpu":  # without such instructions it is a plain loop, far slower than floats
            return len(rows) > 0 and _has_vnni()
        # cuBLASLt: more than 16 rows, sides that are multiples of 8
        left = len(rows) % _ROWS_AT_ONCE or _ROWS_AT_ONCE
        return rows.device.type == "cuda" and left > 16 and not any(side % 8 for side in self.weight.shape)


class Int4Linear(nn.Module):
    """A linear layer with 4-bit weights: ``uint8[O, I/2]`` and scales ``float[O, I/32]``.

    The low half of a byte is a weight of the first ``I/2`` inputs, the high half one of the others.

    Raises:
        ValueError: ``inputs`` is no multiple of 32.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        _check_groups(inputs)
        self.weight: torch.Tensor
        self.scale: torch.Tensor
        self.register_buffer("weight", torch.zeros(outputs, inputs // 2, dtype=torch.uint8))
        self.register_buffer("scale", torch.ones(outputs, inputs // GROUP))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    @staticmethod
    def quantize(weight: torch.Tensor) -> dict[str, torch.Tensor]:
        """``float[O, I]`` to weights and scales; the weight farthest from zero in a group is exact."""
        outputs, inputs = weight.shape
        _check_groups(inputs)
        groups = weight.float().reshape(outputs, -1, GROUP)
        farthest = groups.gather(-1, groups.abs().argmax(-1, keepdim=True))
        scale = farthest / -8
        inverse = torch.where(scale == 0, 0, 1 / scale)
        steps = (groups * inverse).round_().clamp_(-8, 7).add_(8).to(torch.uint8).view(outputs, inputs)
        low, high = steps.chunk(2, dim=1)
        return {"weight": low | (high << 4), "scale": scale.squeeze(-1)}

    def dequantize(self, dtype: torch.dtype | None = None, channels: slice = slice(None)) -> torch.Tensor:
        """The weights of some output channels as ``dtype[o, I]``; ``None`` for the type of the scales."""
        packed, scale = self.weight[channels], self.scale[channels]
        dtype = dtype or scale.dtype
        steps = torch.cat((packed & 15, packed >> 4), dim=1).to(dtype).sub_(8)
        return (steps.unflatten(1, (-1, GROUP)) * scale.to(dtype).unsqueeze(-1)).flatten(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``float[..., I]`` to ``float[..., O]``."""
        # on a CPU with bfloat16 instructions the product takes half the time, for less than the 4 bits' error
        used = torch.bfloat16 if x.device.type == "cpu" and _has_bfloat16() else x.dtype
        given = x.to(used)
        out = x.new_empty(*x.shape[:-1], len(self.weight))
        for first in range(0, len(self.weight), _CHANNELS_AT_ONCE):
            channels = slice(first, first + _CHANNELS_AT_ONCE)
            out[..., channels] = F.linear(given, self.dequantize(used, channels))
        return out if self.bias is None else out.add_(self.bias)


class Int8Embedding(nn.Module):
    """An embedding table with 8-bit rows, ``int8[N, D]``, and a scale each, ``float[N]``."""

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = rows, width
        self.weight: torch.Tensor
        self.scale: torch.Tensor
        self.register_buffer("weight", torch.zeros(rows, width, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(rows))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """``int64[...]`` to ``float[..., D]``, in the type of the scales."""
        return self.weight[ids].to(self.scale.dtype) * self.scale[ids].unsqueeze(-1)


LAYERS: dict[str, type[Int8Linear] | type[Int4Linear]] = {"int8": Int8Linear, "int4": Int4Linear}
"""The layer of each :data:`Quantization`."""


def check_quantization(name: str) -> Quantization:
    """The name; raises ``ValueError`` for one that is not in :data:`Quantization`."""
    if name not in LAYERS:
        raise ValueError(f"unknown quantization '{name}': use {' or '.join(get_args(Quantization))}")
    return cast(Quantization, name)


def is_block_weight(name: str) -> bool:
    """Whether a tensor of the whole model (``language.model.layers.0.mlp.fc1.weight``) is one to quantize."""
    layer, _, part = name.rpartition(".")
    return part == "weight" and any(
        name.startswith(f"language.{kind.blocks}") and layer.rpartition(".")[2] in kind.block_linears
        for kind in KINDS.values()
    )


def is_quantized(name: str) -> bool:
    """Whether a tensor of the whole model is replaced by a quantized one: of a block, or of a word table."""
    return is_block_weight(name) or _is_table(name)


def _is_table(name: str) -> bool:
    tables = (table for kind in KINDS.values() for table in kind.quantized_tables)
    return any(name == f"language.{table}.weight" for table in tables)


def quantized_tensors(name: str, weight: torch.Tensor, quantization: str) -> dict[str, torch.Tensor]:
    """The tensors that take the place of one layer's ``weight``, under the names of the whole model.

    Raises:
        ValueError: the number of inputs does not suit ``int4``; the tensor is named.
    """
    layer = name.removesuffix(".weight")
    try:
        parts = (Int8Linear if _is_table(name) else LAYERS[quantization]).quantize(weight)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return {f"{layer}.{part}": value for part, value in parts.items()}


def place_quantized(language: LanguageModel, quantization: str) -> None:
    """Replaces the linear layers of the blocks by empty quantized layers, in place."""
    check_quantization(quantization)
    for name, linear in _block_linears(language):
        layer = LAYERS[quantization](linear.in_features, linear.out_features, linear.bias is not None)
        language.set_submodule(name, layer)
    for name in language.quantized_tables:
        table = language.get_submodule(name)
        assert isinstance(table, nn.Embedding)
        language.set_submodule(name, Int8Embedding(table.num_embeddings, table.embedding_dim))


@torch.no_grad()
def quantize_language(language: LanguageModel, quantization: str) -> None:
    """Quantizes the blocks of a language model in memory, one layer after the other, in place.

    Args:
        language: :class:`~instructseg.model.language.LanguageModel`, its LoRA adapters merged.
        quantization: ``int8`` or ``int4``.

    Raises:
        ValueError: there is no such quantization, adapters are not merged, it is quantized already, or a
            layer's inputs do not suit ``int4``.
    """
    check_quantization(quantization)
    linears = _block_linears(language)
    if not linears or hasattr(language, "peft_config"):
        raise ValueError("the language model's layers are not plain: merge its LoRA adapters first")
    for name, linear in linears:
        layer = LAYERS[quantization](linear.in_features, linear.out_features, linear.bias is not None)
        layer.bias = linear.bias
        for part, value in LAYERS[quantization].quantize(linear.weight).items():
            setattr(layer, part, value.to(linear.weight.dtype) if value.is_floating_point() else value)
        language.set_submodule(name, layer)
    for name in language.quantized_tables:
        table = language.get_submodule(name)
        assert isinstance(table, nn.Embedding)
        rows = Int8Embedding(table.num_embeddings, table.embedding_dim)
        for part, value in Int8Linear.quantize(table.weight).items():
            setattr(rows, part, value.to(table.weight.dtype) if value.is_floating_point() else value)
        language.set_submodule(name, rows)


def quantize_model(model: Any, quantization: str) -> None:
    """Merges a model's LoRA adapters and quantizes its language model in memory, in place.

    ``from_pretrained(.., quantize=..)`` needs less memory, as it quantizes while it reads.

    Args:
        model: :class:`~instructseg.model.InstructSeg`.
        quantization: ``int8`` or ``int4``.

    Raises:
        ValueError: as :func:`quantize_language`.
    """
    check_quantization(quantization)
    if model.config.quantize:
        raise ValueError(f"the model is quantized already ({model.config.quantize}): load full weights")
    quantize_language(model.merge_lora().language, quantization)
    model.config.quantize = quantization


@torch.no_grad()
def dequantize_model(model: Any) -> None:
    """Turns quantized layers into plain ones with the same values, in place, so that they can be trained.

    Args:
        model: :class:`~instructseg.model.InstructSeg`; one that is not quantized stays as it is.
    """
    for name, layer in list(model.language.named_modules()):
        plain: nn.Linear | nn.Embedding
        if isinstance(layer, (Int8Linear, Int4Linear)):
            weight = layer.dequantize()
            plain = nn.Linear(weight.shape[1], weight.shape[0], layer.bias is not None, dtype=weight.dtype)
            plain.register_parameter("bias", layer.bias)
        elif isinstance(layer, Int8Embedding):
            weight = layer.weight.to(layer.scale.dtype) * layer.scale.unsqueeze(-1)
            plain = nn.Embedding(weight.shape[0], weight.shape[1], dtype=weight.dtype)
        else:
            continue
        plain.weight = nn.Parameter(weight)
        model.language.set_submodule(name, plain)
    model.config.quantize = None


def _block_linears(language: LanguageModel) -> list[tuple[str, nn.Linear]]:
    """The layers to quantize, by their names in the language model."""
    return [
        (name, module)
        for name, module in language.named_modules()
        if name.startswith(language.blocks)
        and name.rpartition(".")[2] in language.block_linears
        and isinstance(module, nn.Linear)
    ]


def _check_groups(inputs: int) -> None:
    if inputs % GROUP:
        raise ValueError(f"int4 needs a multiple of {GROUP} inputs, not {inputs}: use int8")


@cache
def _has_vnni() -> bool:
    """Whether this CPU has instructions for integer products, as reported by torch."""
    return getattr(torch.cpu, "_is_vnni_supported", bool)()


@cache
def _has_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16, as reported by torch."""
    return getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()
