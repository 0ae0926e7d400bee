"""Size of a model's weights by dtype and quantization, and advice where they do not fit."""

from __future__ import annotations

from collections import Counter

import torch

from instructseg.model import InstructSeg, InstructSegConfig
from instructseg.model.config_file import built_on_meta
from instructseg.model.quantized import GROUP, is_block_weight, is_quantized
from instructseg.out_of_memory import gib

_CHOICES = (
    (torch.float32, None),
    (torch.bfloat16, None),
    (torch.float32, "int8"),
    (torch.bfloat16, "int8"),
    (torch.bfloat16, "int4"),
)
"""Settings from the most exact to the smallest."""


def choices(
    config: InstructSegConfig, cpu: bool, dtype: torch.dtype | None = None
) -> list[tuple[torch.dtype, str | None]]:
    """Types of the values with quantizations of the language model, from the most exact to the smallest.

    Args:
        config: of the model; one that is stored quantized stays so.
        cpu: whether float32 is included; otherwise only if ``dtype`` requests it.
        dtype: restricts the choice to one type.
    """
    sizes = (config.text_config.hidden_size, config.text_config.intermediate_size)
    found = []
    for kind, quantize in _CHOICES:
        if config.quantize not in (None, quantize) or (not cpu and dtype is None and kind is torch.float32):
            continue
        if quantize == "int4" and any(size % GROUP for size in sizes):
            continue
        found.append((dtype or kind, quantize))
    return list(dict.fromkeys(found))


def in_words(dtype: torch.dtype, quantize: str | None) -> str:
    """A setting, as ``"bfloat16 with int8"``."""
    return str(dtype).removeprefix("torch.") + (f" with {quantize}" if quantize else "")


def weight_bytes(config: InstructSegConfig, dtype: torch.dtype, quantize: str | None) -> dict[str, int]:
    """Bytes of the weights by part (``vision``, ``language``, ``pixel_decoder`` ..), without making them.

    Args:
        config: of the model, stored plainly or as ``quantize``.
        dtype: of the values; parts that always stay in float32 are counted so.
        quantize: ``int8``, ``int4`` or ``None``.
    """
    plain = InstructSegConfig(**{**config.to_dict(), "quantize": None, "lora": None})
    kept = tuple(f"{part}." for part in InstructSeg._keep_in_fp32_modules_strict)
    parts: Counter[str] = Counter()
    for name, tensor in built_on_meta(plain, "the model").items():
        size = 4 if name.startswith(kept) else dtype.itemsize
        nbytes = tensor.numel() * (size if tensor.is_floating_point() else tensor.itemsize)
        if quantize and is_quantized(name):
            outputs, inputs = tensor.shape
            four_bits = quantize == "int4" and is_block_weight(name)
            scales = outputs * inputs // GROUP if four_bits else outputs
            nbytes = tensor.numel() // (2 if four_bits else 1) + scales * size
        parts[name.partition(".")[0]] += nbytes
    return dict(parts)


def weights_advice(
    config: InstructSegConfig, dtype: torch.dtype, quantize: str | None, free: int | None
) -> tuple[int, str]:
    """Size of weights that do not fit, and a setting that does.

    Args:
        config: of the model.
        dtype: as requested.
        quantize: likewise.
        free: bytes; ``None`` if unknown.

    Returns:
        bytes requested; the most exact setting that is smaller and fits, in words.
    """

    def size(kind: torch.dtype, bits: str | None) -> int:
        return sum(weight_bytes(config, kind, bits).values())

    asked = size(dtype, quantize)
    sizes = {setting: size(*setting) for setting in choices(config, cpu=True)}
    smaller = {setting: needed for setting, needed in sizes.items() if needed < asked}
    if not smaller:
        return asked, "choose another device, or a smaller model"
    fitting = [setting for setting, needed in smaller.items() if free is None or needed < free]
    if fitting:
        return asked, f"as {in_words(*fitting[0])} they take {gib(smaller[fitting[0]])} and fit"
    least = min(smaller, key=lambda setting: smaller[setting])
    advice = f"as {in_words(*least)} they take {gib(smaller[least])} and still do not fit"
    return asked, f"{advice}: choose another device, or a smaller model"
