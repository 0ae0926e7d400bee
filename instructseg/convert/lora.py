"""Official tensors under their plain names: prefixes of training wrappers removed, LoRA adapters merged."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from instructseg.convert.keymap import raise_listed
from instructseg.convert.readers import Entry, Weights, read_json

RELEASED_ALPHA = 16
"""``lora_alpha`` of the released recipe, where no adapter_config.json says otherwise."""

_PREFIXES = ("module.", "base_model.model.")
_ADAPTER = re.compile(r"(.+)\.lora_([AB])(?:\.default)?\.weight")


def plain_names(weights: Weights, folder: Path, alpha: float | None = None) -> Weights:
    """The same tensors under the names of the model without peft or DeepSpeed around it.

    An adapter beside a weight is added to it while it is read: ``W + alpha / r * B A``, computed in fp32.
    Where ``alpha`` is not given it comes from ``adapter_config.json`` in ``folder``, else it is
    :data:`RELEASED_ALPHA`; ``r`` comes from the shapes.

    Raises:
        ValueError: an adapter lacks its other half or the weight that it belongs to.
    """
    entries: dict[str, Entry] = {}
    halves: dict[str, dict[str, tuple[str, Entry]]] = {}
    for name, entry in weights.entries.items():
        plain = _plain(name)
        match = _ADAPTER.fullmatch(plain)
        if match:
            halves.setdefault(f"{match.group(1)}.weight", {})[match.group(2)] = (name, entry)
        else:
            entries[plain] = entry
    if not halves:
        return Weights(entries)
    problems = [f"{name} has an adapter but no weight" for name in halves if name not in entries]
    problems += [f"{name} has half an adapter" for name, found in halves.items() if len(found) < 2]
    raise_listed("incomplete LoRA adapters", problems)
    adapters = dict(Weights({name: entry for found in halves.values() for name, entry in found.values()}))
    pairs = {base: (adapters[found["A"][0]], adapters[found["B"][0]]) for base, found in halves.items()}
    scale = _alpha(folder) if alpha is None else alpha

    def merge(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if name not in pairs:
            return tensor
        down, up = (half.float() for half in pairs[name])
        return (tensor.float() + scale / len(down) * (up @ down)).to(tensor.dtype)

    return Weights(entries, merge)


def _plain(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name.replace(".base_layer.", ".")


def _alpha(folder: Path) -> float:
    file = folder / "adapter_config.json"
    return float(read_json(file).get("lora_alpha", RELEASED_ALPHA)) if file.is_file() else RELEASED_ALPHA
