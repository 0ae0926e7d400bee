"""Safe reader of ``state.pt``: tensors and plain values, no code."""

from __future__ import annotations

import math
import pickletools
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

_GLOBALS = {"torch._utils _rebuild_tensor_v2", "collections OrderedDict"}
_MOST_PICKLED = 256 << 20
"""Bytes of names and numbers; tensors are beside them."""


def read_state(path: Path) -> dict[str, Any]:
    """Reads the state of a training run, tensors on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, no state of a run, or holds more than tensors and plain values.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        _check_archive(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's reader raises whatever damaged bytes lead it to
        reason = " ".join(str(error).split())
        if "weights_only" in reason:  # its advice is to run what the file asks for
            reason = "it asks for more than tensors and plain values"
        raise ValueError(f"{path} is damaged or cut short ({reason[:200] or type(error).__name__})") from error
    wrong = _wrong_entry(state)
    if wrong:
        raise ValueError(f"{path} is damaged: it has no proper {wrong}")
    return dict(state)


def _check_archive(path: Path) -> None:
    """Raises on a compressed entry, or a pickle that names unknown globals.

    PyTorch lets a pickle call ``bytearray``: forty bytes could ask for all memory.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("an entry is compressed")
        (pickled,) = (entry for entry in entries if entry.filename.endswith("/data.pkl"))
        if pickled.file_size > min(path.stat().st_size, _MOST_PICKLED):
            raise ValueError("its index is larger than it can be")
        for code, argument, _ in pickletools.genops(archive.read(pickled)):
            named = str(argument)
            is_storage = named.startswith("torch ") and named.endswith("Storage")
            if code.name in ("STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4", "OBJ", "NEWOBJ", "NEWOBJ_EX") or (
                code.name == "GLOBAL" and named not in _GLOBALS and not is_storage
            ):
                raise ValueError(f"it asks for {named or code.name}")


def _wrong_entry(state: Any) -> str:
    """Name of the first invalid entry; empty if there is none."""
    if not isinstance(state, dict):
        return "mapping of names"
    checks = {
        "step": type(state.get("step")) is int and state["step"] >= 0,
        "seconds": _is_number(state.get("seconds", 0.0)) and state.get("seconds", 0.0) >= 0,
        "best": _is_best(state.get("best", {})),
        "levels": _is_levels(state.get("levels", {})),
        "scale": _is_scale(state.get("scale", {"scale": 1.0, "good": 0})),
        "optimizer": _is_optimizer(state.get("optimizer", {})),
    }
    return next((name for name, right in checks.items() if not right), "")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_best(best: Any) -> bool:
    if not isinstance(best, Mapping) or (best and not {"value", "step", "waited"} <= best.keys()):
        return False
    numbers = [best.get(name) for name in ("value", "first")]
    counts = [best.get(name) for name in ("step", "waited")]
    return all(value is None or type(value) in (int, float) for value in numbers) and all(
        count is None or (type(count) is int and count >= 0) for count in counts
    )


def _is_levels(levels: Any) -> bool:
    return isinstance(levels, Mapping) and all(
        isinstance(name, str)
        and isinstance(pair, list | tuple)
        and len(pair) == 2
        and all(_is_number(number) for number in pair)
        for name, pair in levels.items()
    )


def _is_scale(scale: Any) -> bool:
    return (
        isinstance(scale, Mapping)
        and _is_number(scale.get("scale"))
        and scale["scale"] > 0
        and type(scale.get("good")) is int
    )


def _is_optimizer(optimizer: Any) -> bool:
    if not isinstance(optimizer, Mapping):
        return False
    if not optimizer:  # of DeepSpeed, which keeps it elsewhere
        return True
    moments, groups = optimizer.get("state"), optimizer.get("param_groups")
    return (
        isinstance(moments, Mapping)
        and all(type(key) is int and isinstance(entry, Mapping) for key, entry in moments.items())
        and isinstance(groups, list)
        and all(isinstance(group, Mapping) for group in groups)
    )
