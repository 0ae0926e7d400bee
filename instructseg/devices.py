"""Devices and the number types of their values."""

from __future__ import annotations

import time

import torch

CPU_GAIN = 2.0
"""Speed-up of a layer in bfloat16 required to choose it on a CPU: the whole model gains less."""


def choose_device(name: torch.device | str | None = None) -> torch.device:
    """The device of that name; an accelerator where there is one for ``None`` and ``"auto"``.

    Raises:
        ValueError: torch does not know it or cannot reach it.
    """
    if name in (None, "auto"):
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    assert name is not None
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device '{name}' cannot be used ({reason}): try cpu or auto") from error
    if device.type == "meta":
        raise ValueError(f"device '{name}' cannot be used (it holds no values): try cpu or auto")
    return device


def choose_dtype(name: str) -> torch.dtype:
    """The floating-point type of that name, as in torch.

    Raises:
        ValueError: there is none.
    """
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in known:
        raise ValueError(f"unknown dtype '{name}': use {', '.join(known)} or auto")
    return known[name]


def fastest_dtype(device: torch.device, width: int = 2560) -> torch.dtype:
    """The fastest floating-point type of a device, at the accuracy of bfloat16 or better.

    bfloat16 on a GPU that has it, else float16 there. On a CPU bfloat16 only where the processor has
    instructions for it and a layer of the model's width, timed here, gains :data:`CPU_GAIN`.

    Args:
        device: where the model runs.
        width: of the language model.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type != "cpu" or not _native_bfloat16():
        return torch.float32
    gain = _layer_seconds(torch.float32, width) / _layer_seconds(torch.bfloat16, width)
    return torch.bfloat16 if gain >= CPU_GAIN else torch.float32


def _native_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself, as reported by torch."""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, check)() for check in checks if hasattr(torch.cpu, check))


@torch.inference_mode()
def _layer_seconds(dtype: torch.dtype, width: int) -> float:
    """Time of half a feed-forward layer on 256 tokens, the best of five."""
    tokens, weights = torch.ones(256, width, dtype=dtype), torch.ones(4 * width, width, dtype=dtype)
    functional = torch.nn.functional
    times = []
    for _ in range(5):
        start = time.perf_counter()
        functional.gelu(functional.linear(functional.layer_norm(tokens, (width,)), weights))
        times.append(time.perf_counter() - start)
    return min(times)
