"""Out-of-memory errors that state requested and free memory and a setting that fits."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

# torch on a CPU (Linux and macOS, Windows) and on accelerators without an error class
_SIGNS = ("can't allocate memory", "not enough memory: you tried to allocate", "out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """True for out-of-memory errors of any device."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def out_of_memory_error(
    error: BaseException, doing: str, fits: str, device: torch.device
) -> torch.cuda.OutOfMemoryError:
    """An explained error in place of torch's.

    Args:
        error: of torch, accepted by :func:`is_out_of_memory`.
        doing: the operation, after "out of memory".
        fits: a setting to try instead.
        device: device of the operation.
    """
    wanted = re.search(r"tried to allocate (\d+(?:\.\d+)? ?\w+)", str(error), re.IGNORECASE)
    free = free_memory(device)
    parts = [
        _size(wanted.group(1)) + " more requested" if wanted else "",
        f"{gib(free)} free on {device}" if free is not None else "",
    ]
    figures = ", ".join(part for part in parts if part)
    return torch.cuda.OutOfMemoryError(f"out of memory {doing}{f' ({figures})' if figures else ''}: {fits}")


@contextmanager
def explain_out_of_memory(doing: str, fits: str, device: torch.device) -> Iterator[None]:
    """Lets errors of memory say more; arguments as of :func:`out_of_memory`.

    Raises:
        torch.cuda.OutOfMemoryError: memory ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise out_of_memory_error(error, doing, fits, device) from error


def free_memory(device: torch.device) -> int | None:
    """Free memory in bytes; ``None`` if unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu":
        return None
    try:  # Linux; file caches count as free
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        return int(text.partition("MemAvailable:")[2].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        pass
    names = getattr(os, "sysconf_names", {})
    if {"SC_AVPHYS_PAGES", "SC_PAGE_SIZE"} <= set(names):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def gib(number: int) -> str:
    """Bytes in a readable unit."""
    for unit in ("bytes", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number = number / 1024  # type: ignore[assignment]
    return f"{number:.2f} GiB"


def _size(text: str) -> str:
    """``"4000000 bytes"`` in a readable unit; other units unchanged."""
    number, _, unit = text.partition(" ")
    return gib(int(number)) if unit == "bytes" else text
