"""Tables of the allowed values of a model's ``config.json``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, get_args

from transformers import PreTrainedConfig

from instructseg.model.backbones import LEVELS
from instructseg.model.configuration import FusionMode
from instructseg.model.quantized import Quantization


@dataclass(frozen=True)
class Allowed:
    """Rule of a value, in words and as a test; ``needed`` where there is no default."""

    words: str
    test: Callable[[Any], bool]
    needed: bool = True


def _whole(least: int, most: int, needed: bool = True) -> Allowed:
    def test(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    return Allowed(f"a whole number from {least} to {most}", test, needed)


def number(least: float, most: float, needed: bool = True) -> Allowed:
    """A number between two others, or one of them."""

    def test(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most

    return Allowed(f"a number from {least:g} to {most:g}", test, needed)


def _one_of(*values: Any, needed: bool = True) -> Allowed:
    words = ["null" if value is None else str(value) for value in values]
    # types too: 1 == True
    known = [(type(value), value) for value in values]
    return Allowed(f"one of {', '.join(words)}", lambda value: (type(value), value) in known, needed)


def _flag(needed: bool = True) -> Allowed:
    return Allowed("true or false", lambda value: isinstance(value, bool), needed)


def _text(needed: bool = True) -> Allowed:
    return Allowed("a text", lambda value: isinstance(value, str) and len(value) < 200, needed)


def _or_null(rule: Allowed) -> Allowed:
    return Allowed(f"{rule.words}, or null", lambda value: value is None or rule.test(value), rule.needed)


def _list_of(rule: Allowed, least: int, most: int, needed: bool = True) -> Allowed:
    def test(value: Any) -> bool:
        return isinstance(value, list | tuple) and least <= len(value) <= most and all(map(rule.test, value))

    return Allowed(f"a list of {least} to {most} values, each {rule.words}", test, needed)


def _is_lora(value: Any) -> bool:
    rules = {
        "r": _whole(1, 4096), "alpha": number(1e-6, 1e6), "dropout": number(0, 0.999),
        "targets": _list_of(_text(), 1, 100),
    }  # fmt: skip
    return isinstance(value, dict) and value.keys() == rules.keys() and all(
        rule.test(value[key]) for key, rule in rules.items()
    )  # fmt: skip


_SIDE, _WIDTH, _LAYERS, _HEADS = _whole(1, 65536), _whole(1, 262144), _whole(1, 1000), _whole(1, 4096)
_ROWS, _EPSILON, _RATE = _whole(1, 10_000_000), number(0, 1), number(0, 0.999, needed=False)

MODEL: dict[str, Allowed] = {
    "image_size": _whole(32, 65536),
    "vision_tower": _one_of("siglip", "open_clip", "shared"),
    "shared_clip_size": _whole(32, 65536, needed=False),
    "open_clip_model": Allowed("null, a text or an object", lambda v: v is None or isinstance(v, str | dict)),
    "vision_feature_layer": _whole(-1000, 1000),
    "lm_head_size": _ROWS,
    "use_ovp": _flag(),
    "ovp_queries": _whole(1, 65536),
    "ovp_depth": _LAYERS,
    "ovp_heads": _HEADS,
    "ovp_head_dim": _WIDTH,
    "ovp_ff_mult": _whole(1, 1000),
    "vmtf_mode": _one_of(*get_args(FusionMode)),
    "vmtf_levels": _list_of(_one_of(*LEVELS), 1, len(LEVELS)),
    "vmtf_dim": _WIDTH,
    "vmtf_depth": _LAYERS,
    "vmtf_heads": _HEADS,
    "vmtf_head_dim": _WIDTH,
    "vmtf_ff_mult": _whole(1, 1000),
    "conv_dim": _WIDTH,
    "mask_dim": _WIDTH,
    "pixel_decoder_layers": _LAYERS,
    "pixel_decoder_ff": _WIDTH,
    "lateral": _one_of("released", "plain"),
    "num_queries": _whole(1, 65536),
    "learned_queries": _flag(),
    "decoder_dim": _WIDTH,
    "decoder_heads": _HEADS,
    "decoder_layers": _LAYERS,
    "decoder_ff": _WIDTH,
    "lora": Allowed(
        "null, or an object with r, alpha, dropout and targets", lambda v: v is None or _is_lora(v)
    ),
    "quantize": _one_of(None, *get_args(Quantization)),
    "tie_word_embeddings": _one_of(False, needed=False),
}
"""Fields of :class:`InstructSegConfig`, but for the three parts below."""

PARTS: dict[str, dict[str, Allowed]] = {
    "siglip_vision_model": {
        "hidden_size": _WIDTH,
        "intermediate_size": _WIDTH,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": _HEADS,
        "num_channels": _one_of(3),
        "image_size": _SIDE,
        "patch_size": _SIDE,
        "hidden_act": _text(),
        "layer_norm_eps": _EPSILON,
        "attention_dropout": _RATE,
    },
    "phi": {
        "vocab_size": _ROWS,
        "hidden_size": _WIDTH,
        "intermediate_size": _WIDTH,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": _or_null(_HEADS),
        "max_position_embeddings": _whole(1, 10_000_000),
        "hidden_act": _text(),
        "layer_norm_eps": _EPSILON,
        "qk_layernorm": _flag(),
        "rope_parameters": Allowed("an object of numbers and a rope_type", lambda value: _is_rope(value)),
        "eos_token_id": _whole(0, 10_000_000),
        "bos_token_id": _or_null(_whole(0, 10_000_000)),
        "pad_token_id": _or_null(_whole(0, 10_000_000)),
        "tie_word_embeddings": _one_of(False, needed=False),
        "attention_dropout": _RATE,
        "resid_pdrop": _RATE,
        "embd_pdrop": _RATE,
        "initializer_range": number(0, 1, needed=False),
    },
    "swin": {
        "embed_dim": _WIDTH,
        "depths": _list_of(_LAYERS, 4, 4),
        "num_heads": _list_of(_HEADS, 4, 4),
        "window_size": _whole(1, 4096),
        "mlp_ratio": number(0.01, 1000),
        "qkv_bias": _flag(),
        "hidden_act": _text(),
        "layer_norm_eps": _EPSILON,
        "use_absolute_embeddings": _flag(),
        "image_size": _SIDE,
        "patch_size": _one_of(4),
        "num_channels": _one_of(3),
        "hidden_dropout_prob": _RATE,
        "attention_probs_dropout_prob": _RATE,
        "drop_path_rate": _RATE,
        "out_features": _list_of(_text(), 1, 16, needed=False),
        "initializer_range": number(0, 1, needed=False),
    },
}
"""Fields of transformers' configurations that make a difference, by ``model_type``."""

_ROPE_NEEDED = ("rope_theta", "rope_type", "partial_rotary_factor")


def _is_rope(value: Any) -> bool:
    """Rotary positions: a type, a base, the share of channels, and numbers (or lists of them) of that type."""
    if not isinstance(value, dict) or any(key not in value for key in _ROPE_NEEDED):
        return False
    share, base = (
        number(0.001, 1).test(value["partial_rotary_factor"]),
        number(1, 1e12).test(value["rope_theta"]),
    )
    any_number = number(-1e12, 1e12)
    others = [entry for key, entry in value.items() if key != "rope_type"]
    plain = all(any_number.test(entry) or _list_of(any_number, 1, 65536).test(entry) for entry in others)
    return share and base and plain and _text().test(value["rope_type"])


def check_values(
    values: Mapping[str, Any], rules: Mapping[str, Allowed], where: str, complete: bool = True
) -> None:
    """Checks the values of one object of a JSON file.

    Args:
        values: the object.
        rules: by key; other keys are ignored.
        where: file, and the place in it with a closing dot, for the error.
        complete: whether needed keys must be present.

    Raises:
        ValueError: a key is missing or its value is not allowed; names key, value and rule.
    """
    for key, rule in rules.items():
        if key not in values:
            if complete and rule.needed:
                raise ValueError(f"{where}{key} is missing: it must be {rule.words}")
        elif not rule.test(values[key]):
            raise ValueError(f"{where}{key} must be {rule.words}, not {shown(values[key])}")


def rules_of(kind: type[PreTrainedConfig]) -> dict[str, Allowed]:
    """Rules of a part's configuration: those of the table, or plain values of a plausible size."""
    if kind.model_type in PARTS:
        return PARTS[kind.model_type]
    general = {entry.name for entry in fields(PreTrainedConfig)}
    own = [entry.name for entry in fields(kind) if entry.name not in general and not entry.name.startswith("_")]
    return {name: _COUNT if "layers" in name or "depth" in name else _PLAIN for name in own}


def _is_plain(value: Any, most: float = 1e8, levels: int = 3) -> bool:
    """Whether numbers are finite and not huge, and texts, lists and objects are short."""
    if isinstance(value, dict):
        return (
            levels > 0
            and all(isinstance(key, str) for key in value)
            and _is_plain(list(value.values()), most, levels)
        )
    if isinstance(value, list | tuple):
        return levels > 0 and len(value) <= 4096 and all(_is_plain(entry, most, levels - 1) for entry in value)
    if isinstance(value, int | float):
        return math.isfinite(value) and abs(value) <= most
    return value is None or (isinstance(value, str) and len(value) < 1000)


_PLAIN = Allowed("a plain value of a plausible size", _is_plain)
_COUNT = Allowed("numbers up to 1000", lambda value: _is_plain(value, 1000))


def shown(value: Any) -> str:
    """A value for an error, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
