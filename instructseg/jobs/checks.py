"""Checks of command-line options before torch is imported."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path

DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")
DTYPES = ("float32", "bfloat16", "float16", "auto")
QUANTIZATIONS = ("int8", "int4")
SPEEDS = ("exact", "balanced", "fast")
FPS = (0.001, 1000.0)
"""Frame rates of written videos."""
MAX_FRAMES = 100_000
"""Limit of ``--llm-stride`` and ``--spacing``; more is a typing error."""

_DEVICE_SLIPS = {"gpu": "cuda", "nvidia": "cuda", "rocm": "cuda", "amd": "cuda", "hip": "cuda", "metal": "mps"}
_DTYPE_SLIPS = {
    "fp32": "float32", "f32": "float32", "float": "float32", "single": "float32", "32": "float32",
    "fp16": "float16", "f16": "float16", "half": "float16", "16": "float16", "bf16": "bfloat16",
}  # fmt: skip
_QUANTIZATION_SLIPS = {"8": "int8", "8bit": "int8", "4": "int4", "4bit": "int4", "nf4": "int4", "fp8": "int8"}


def check_device(name: str | None) -> None:
    """Checks the name of a device; torch checks its existence later.

    Raises:
        ValueError: an unknown or unsupported kind of device.
    """
    if name is None or re.fullmatch(rf"({'|'.join(DEVICES[1:])})(:[0-9]{{1,3}})?|auto", name):
        return
    kind, _, number = name.partition(":")
    meant = _meant(kind.lower(), DEVICES, _DEVICE_SLIPS)
    meant = (
        f": did you mean {meant}{':' + number if re.fullmatch('[0-9]{1,3}', number) else ''}?" if meant else ""
    )
    raise ValueError(f"device '{name}' cannot be used{meant or ':'} use {', '.join(DEVICES)}, or one as cuda:1")


def check_choice(option: str, name: str | None, known: tuple[str, ...], slips: Mapping[str, str]) -> None:
    """Checks that a name is known.

    Raises:
        ValueError: unknown; the message names the closest one.
    """
    if name is None or name in known:
        return
    meant = _meant(name.lower(), known, slips)
    asked = f" (did you mean {meant}?)" if meant else ""
    raise ValueError(f"unknown {option} '{name}'{asked}: use {', '.join(known)}")


def check_dtype(name: str | None) -> None:
    """Checks the type of the weights; see :func:`check_choice`."""
    check_choice("dtype", name, DTYPES, _DTYPE_SLIPS)


def check_quantization(name: str | None) -> None:
    """Checks the quantization; see :func:`check_choice`."""
    check_choice("quantization", name, QUANTIZATIONS, _QUANTIZATION_SLIPS)


def check_memory(size: str | None) -> None:
    """Checks a size of memory, as :func:`instructseg.inference.memory.parse_size` does.

    Raises:
        ValueError: unreadable, or zero.
    """
    if size is None:
        return
    match = re.fullmatch(r"\s*(\d{1,18}(?:\.\d{1,18})?)\s*([KMG]?I?)B?\s*", size.upper(), re.ASCII)
    if match is None or match[2] == "I" or not float(match[1]):
        raise ValueError(f"'{size}' is no size of memory: write 6GB, 6GiB or a number of bytes")


def check_stride(value: int | str) -> None:
    """Checks that ``--llm-stride`` is a number of frames, or auto.

    Raises:
        ValueError: neither, or out of range.
    """
    text = str(value).strip()
    if text == "auto":
        return
    if not re.fullmatch(r"[+-]?\d+", text, re.ASCII):
        raise ValueError(f"llm_stride is a number of frames or 'auto', got '{value}'")
    if len(text) > 9 or not 1 <= int(text) <= MAX_FRAMES:
        raise ValueError(f"llm_stride must be at least 1 and at most {MAX_FRAMES}, got {value}")


def check_fps(fps: float | None) -> None:
    """Checks a frame rate.

    Raises:
        ValueError: out of range.
    """
    if fps is not None and not FPS[0] <= fps <= FPS[1]:
        raise ValueError(f"fps must be positive, from {FPS[0]:g} to {FPS[1]:g}, got {fps}")


def check_share(option: str, value: float | None) -> None:
    """Checks that a value lies in 0..1 (NaN does not).

    Raises:
        ValueError: it does not.
    """
    if value is not None and not 0 <= value <= 1:
        raise ValueError(f"{option} must lie within 0..1, got {value}")


def check_count(option: str, value: int | None, most: int) -> None:
    """Checks that a value lies in 1..``most``.

    Raises:
        ValueError: it does not.
    """
    if value is not None and not 1 <= value <= most:
        raise ValueError(f"{option} must be at least 1 and at most {most}, got {value}")


def max_threads() -> int:
    """Largest number of CPU threads: more than cores gain nothing, and very many crash."""
    return max(64, 4 * (os.cpu_count() or 1))


def check_text(what: str, texts: Iterable[str | Path]) -> None:
    """Checks that texts can be written in UTF-8.

    Bytes from a terminal or file system in another encoding become halves of surrogate pairs in Python, invalid
    in JSON, fonts and tokenizers.

    Raises:
        ValueError: one cannot.
    """
    for text in texts:
        try:
            str(text).encode("utf-8")
        except UnicodeEncodeError:
            shown = str(text).encode("utf-8", "backslashreplace").decode()
            raise ValueError(f"{what} '{shown}' is not encoded in UTF-8: write or name it in UTF-8") from None


def finite(value: float) -> float | None:
    """The value, or ``None`` for NaN and infinity, which JSON lacks."""
    return value if math.isfinite(value) else None


def _meant(name: str, known: tuple[str, ...], slips: Mapping[str, str]) -> str | None:
    """The closest known name, if any."""
    close = get_close_matches(name, known, 1, 0.75)
    return slips.get(name) or (close[0] if close else None)
