"""Plain names of official tensors: wrapper prefixes removed, LoRA adapters merged."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from instructseg.convert.keymap import raise_listed
from instructseg.convert.readers import StoredTensor, Weights
from instructseg.files import read_object

RELEASED_ALPHA = 16
"""``lora_alpha`` of the released recipe, without an adapter_config.json."""
CONFIG_FILE = "adapter_config.json"
"""Where peft keeps the settings of an adapter."""

_PREFIXES = ("module.", "base_model.model.")
_ADAPTER = re.compile(r"(.+)\.lora_([AB])(?:\.default)?\.weight")
_SAVED = re.compile(r"(.+)\.modules_to_save(?:\.default)?\.([^.]+)")
_ORIGINAL = re.compile(r"(.+)\.original_module\.([^.]+)")

_READ = frozenset({"lora_alpha", "r", "use_rslora", "alpha_pattern", "rank_pattern", "peft_type", "bias"})
_WITHOUT_EFFECT = frozenset(
    # implied by the names of the tensors
    {"target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "modules_to_save"}
    # the start of training, dropout, and notes
    | {"init_lora_weights", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "lora_dropout"}
    | {"task_type", "auto_mapping", "base_model_name_or_path", "revision", "inference_mode", "peft_version"}
    | {"runtime_config", "qalora_group_size", "ensure_weight_tying", "megatron_core"}
    # peft itself sets it to false for linear layers, which store their weight as rows of outputs
    | {"fan_in_fan_out"}
)


@dataclass(frozen=True)
class Scaling:
    """Scale of an adapter, as in peft: ``alpha / r``, or ``alpha / sqrt(r)`` with rsLoRA.

    Attributes:
        alpha: of every layer that ``alphas`` does not name.
        rslora: divides by the root of the rank.
        rank: of every layer that ``ranks`` does not name; ``None``: by the shapes.
        alphas, ranks: patterns of layer names and what holds for them; the first that fits counts.
    """

    alpha: float = RELEASED_ALPHA
    rslora: bool = False
    rank: int | None = None
    alphas: Mapping[str, float] = field(default_factory=dict)
    ranks: Mapping[str, int] = field(default_factory=dict)

    def of(self, layer: str, rank: int) -> float:
        """The factor of ``B A`` for a layer whose adapter has that rank.

        Raises:
            ValueError: the settings name another rank.
        """
        expected = _first(self.ranks, layer, self.rank)
        if expected is not None and expected != rank:
            raise ValueError(f"{layer}: {CONFIG_FILE} says rank {expected}, but its adapter has rank {rank}")
        alpha = _first(self.alphas, layer, self.alpha)
        return alpha / (math.sqrt(rank) if self.rslora else rank)


def read_scaling(file: Path) -> Scaling:
    """The scaling of an ``adapter_config.json``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a setting is of a wrong type, or is not supported; it is named.
    """
    values = read_object(file)
    for key, value in values.items():
        if key not in _READ and key not in _WITHOUT_EFFECT and value not in (None, False, {}, []):
            raise ValueError(
                f"{file}: '{key}' changes what an adapter does and is not supported: "
                "merge the adapters with peft"
            )
    kind = values.get("peft_type", "LORA")
    if kind != "LORA":
        raise ValueError(f"{file}: peft_type {kind!r:.60} is no LoRA: merge the adapters with peft")
    if values.get("bias", "none") not in ("none", "all", "lora_only"):
        raise ValueError(f"{file}: bias must be none, all or lora_only, not {values['bias']!r:.60}")
    if not isinstance(values.get("use_rslora", False), bool):
        raise ValueError(f"{file}: use_rslora must be true or false, not {values['use_rslora']!r:.60}")
    if "lora_alpha" not in values:
        raise ValueError(f"{file} has no 'lora_alpha': the adapters cannot be scaled without it")
    alphas, ranks = (_pattern(values, key, file) for key in ("alpha_pattern", "rank_pattern"))
    rank = values.get("r")
    return Scaling(
        alpha=_positive(values["lora_alpha"], "lora_alpha", file),
        rslora=values.get("use_rslora", False),
        rank=None if rank is None else int(_positive(rank, "r", file)),
        alphas=alphas,
        ranks={pattern: int(value) for pattern, value in ranks.items()},
    )


def plain_names(weights: Weights, folder: Path, alpha: float | None = None) -> Weights:
    """The same tensors under the names of the model without peft or DeepSpeed around it.

    An adapter beside a weight is added to it while it is read: ``W + scale * B A``, computed in fp32, with the
    scale of :class:`Scaling` by ``adapter_config.json`` in ``folder``. Modules that were trained as a whole
    (``modules_to_save``) take the place of the original ones.

    Args:
        folder: where ``adapter_config.json`` may be; without it ``alpha`` is :data:`RELEASED_ALPHA`.
        alpha: replaces that file.

    Raises:
        ValueError: an adapter lacks its other half or the weight that it belongs to, two tensors have one plain
            name, or as :func:`read_scaling`.
    """
    entries, halves = _sorted(weights.entries)
    if not halves:
        return Weights(entries)
    problems = [f"{name} has an adapter but no weight" for name in halves if name not in entries]
    problems += [f"{name} has half an adapter" for name, found in halves.items() if len(found) < 2]
    raise_listed("incomplete LoRA adapters", problems)
    _check_shapes(entries, halves)
    file = folder / CONFIG_FILE
    scaling = Scaling(alpha) if alpha is not None else read_scaling(file) if file.is_file() else Scaling()
    # before a value is read, so that a wrong setting costs nothing
    scales = {
        base: scaling.of(base.removesuffix(".weight"), found["A"].shape[0]) for base, found in halves.items()
    }
    adapters = dict(
        Weights({f"{base} {half}": e for base, found in halves.items() for half, e in found.items()})
    )

    def merge(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if name not in scales:
            return tensor
        down, up = (adapters[f"{name} {half}"].float() for half in "AB")
        return (tensor.float() + scales[name] * (up @ down)).to(tensor.dtype)

    return Weights(entries, merge)


def _sorted(
    given: Mapping[str, StoredTensor],
) -> tuple[dict[str, StoredTensor], dict[str, dict[str, StoredTensor]]]:
    """Plain names and tensors, and for each weight the halves ``A`` and ``B`` of its adapter."""
    entries: dict[str, StoredTensor] = {}
    originals: dict[str, StoredTensor] = {}
    halves: dict[str, dict[str, StoredTensor]] = {}
    for name, entry in given.items():
        plain = _plain(name)
        adapter, saved, original = (rule.fullmatch(plain) for rule in (_ADAPTER, _SAVED, _ORIGINAL))
        if adapter:
            place, key = halves.setdefault(f"{adapter[1]}.weight", {}), adapter[2]
        elif original:
            place, key = originals, f"{original[1]}.{original[2]}"
        else:
            place, key = entries, f"{saved[1]}.{saved[2]}" if saved else plain
        if key in place:
            raise ValueError(
                f"{name} and {place[key].key} are both {plain}: remove the one that is out of date"
            )
        place[key] = entry
    return {**originals, **entries}, halves


def _check_shapes(
    entries: Mapping[str, StoredTensor], halves: Mapping[str, Mapping[str, StoredTensor]]
) -> None:
    """Checks that every ``B A`` has the shape of its weight."""
    problems = []
    for name, found in halves.items():
        down, up, weight = found["A"], found["B"], entries[name]
        shapes = [list(entry.shape) for entry in (up, down, weight)]
        if [len(shape) for shape in shapes] != [2, 2, 2] or shapes[0][1] != shapes[1][0] or not shapes[1][0]:
            problems.append(f"{name}: {shapes[0]} times {shapes[1]} is no adapter")
        elif [shapes[0][0], shapes[1][1]] != shapes[2]:
            problems.append(f"{name}: {shapes[0]} times {shapes[1]} does not fit a weight {shapes[2]}")
        elif not all(entry.dtype.is_floating_point for entry in (down, up, weight)):
            problems.append(f"{name}: adapter and weight must be floats")
    raise_listed("adapters that do not fit", problems)


def _plain(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name.replace(".base_layer.", ".")


def _positive(value: Any, key: str, file: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise ValueError(f"{file}: {key} must be a number above 0, not {value!r:.60}")
    return float(value)


def _pattern(values: Mapping[str, Any], key: str, file: Path) -> dict[str, float]:
    """A mapping of patterns of layer names to positive numbers, in their order."""
    given = values.get(key) or {}
    if not isinstance(given, dict):
        raise ValueError(f"{file}: {key} must map layer names to numbers, not be {given!r:.60}")
    for pattern in given:
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"{file}: {key} names {pattern!r:.60}, which is no pattern ({error})") from error
        if re.search(r"\)[*+{]", pattern):  # repeated groups can take for ever to match
            raise ValueError(f"{file}: {key} names {pattern!r:.60}: repeated groups are not supported")
    return {pattern: _positive(value, f"{key}.{pattern:.60}", file) for pattern, value in given.items()}


def _first(patterns: Mapping[str, Any], layer: str, default: Any) -> Any:
    """Value of the first pattern that a layer's name ends with, as in peft."""
    return next(
        (value for pattern, value in patterns.items() if re.match(rf"(.*\.)?({pattern})$", layer)), default
    )
