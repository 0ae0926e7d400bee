"""Table of official and own tensor names, read both ways.

In a pattern ``#`` is a number, ``@`` for ``weight`` or ``bias`` and a closing ``*`` for the rest of
the name. The rows of an official tensor are the rows of its targets one below the other, so a fused
projection has three targets and everything else one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import torch

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]


@dataclass(frozen=True)
class Rule:
    """One line of the table.

    Attributes:
        theirs: pattern of the official name.
        ours: patterns of our names; empty for a tensor that has no place here.
        unused: why a tensor may have no place in a model; empty where it always has one.
    """

    theirs: str
    ours: tuple[str, ...] = ()
    unused: str = ""


_SIGLIP = "model.vision_tower.vision_model"
_SWIN = "model.vision_tower_mask"
_BLOCK = f"{_SWIN}.layers.#.blocks.#"
_OUR_SWIN = "backbone.swin.swin"
_OUR_BLOCK = f"{_OUR_SWIN}.encoder.layers.#.blocks.#"
_ENCODER = "pixel_decoder.transformer.encoder.layers.#"
_OUR_ENCODER = "pixel_decoder.decoder.encoder.layers.#"
_CROSS = "predictor.transformer_cross_attention_layers.#"
_SELF = "predictor.transformer_self_attention_layers.#"
_FFN = "predictor.transformer_ffn_layers.#"
_LAYER = "mask_decoder.layers.#"


def _qkv(prefix: str) -> tuple[str, ...]:
    return tuple(f"{prefix}.{letter}_proj.@" for letter in "qkv")


def _perceiver(theirs: str, ours: str, unused: str = "") -> list[Rule]:
    layer, our_layer = f"{theirs}.layers.#", f"{ours}.layers.#"
    return [
        Rule(f"{layer}.0.norm_media.@", (f"{our_layer}.attention.norm_context.@",), unused),
        Rule(f"{layer}.0.*", (f"{our_layer}.attention.*",), unused),
        Rule(f"{layer}.1.*", (f"{our_layer}.ff.*",), unused),
        Rule(f"{theirs}.norm.@", (f"{ours}.norm.@",), unused),
    ]


_NO_OVP = "use_ovp is false"
TABLE: tuple[Rule, ...] = (
    # language model
    Rule("model.embed_tokens.weight", ("language.model.embed_tokens.weight",)),
    Rule("model.layers.#.self_attn.rotary_emb.inv_freq", unused="computed"),
    Rule("model.layers.*", ("language.model.layers.*",)),
    Rule("model.final_layernorm.@", ("language.model.final_layernorm.@",)),
    Rule("lm_head.weight", ("language.lm_head.weight",)),
    Rule("lm_head.bias", unused="Mipha's; InstructSeg replaces the head by one without bias"),
    Rule("seg_query", ("mask_queries",)),
    # language side's vision tower
    Rule(f"{_SIGLIP}.embeddings.position_ids", unused="computed"),
    Rule(f"{_SIGLIP}.embeddings.*", ("vision.model.embeddings.*",)),
    Rule(f"{_SIGLIP}.encoder.layers.*", ("vision.model.encoder.layers.*",), "after the selected layer"),
    Rule(f"{_SIGLIP}.post_layernorm.@", unused="after the selected layer"),
    Rule(f"{_SIGLIP}.head.*", unused="after the selected layer"),
    Rule("model.mm_projector.*", ("projector.*",)),
    # perceivers
    Rule("temporal_query", ("ovp.queries",), _NO_OVP),
    *_perceiver("ovp_layers", "ovp.perceiver", _NO_OVP),
    *_perceiver("vmtf_layers", "vmtf.perceiver"),
    Rule("local_project.@", ("vmtf.visual_proj.res5.@",)),
    Rule("text_vmtf_projector.@", ("vmtf.text_proj.@",)),
    Rule("origin_SEG_token_projector.@", ("vmtf.pooled_proj.@",)),
    Rule("SEG_token_projector.@", ("vmtf.classifier.@",)),
    # Swin
    Rule(f"{_SWIN}.patch_embed.proj.@", (f"{_OUR_SWIN}.embeddings.patch_embeddings.projection.@",)),
    Rule(f"{_SWIN}.patch_embed.norm.@", (f"{_OUR_SWIN}.embeddings.norm.@",)),
    Rule(f"{_BLOCK}.norm1.@", (f"{_OUR_BLOCK}.layernorm_before.@",)),
    Rule(f"{_BLOCK}.norm2.@", (f"{_OUR_BLOCK}.layernorm_after.@",)),
    Rule(f"{_BLOCK}.attn.qkv.@", _qkv(f"{_OUR_BLOCK}.attention")),
    Rule(f"{_BLOCK}.attn.proj.@", (f"{_OUR_BLOCK}.attention.o_proj.@",)),
    Rule(
        f"{_BLOCK}.attn.relative_position_bias_table",
        (f"{_OUR_BLOCK}.attention.relative_position_bias.relative_position_bias_table",),
    ),
    Rule(f"{_BLOCK}.attn.relative_position_index", unused="computed"),
    Rule(f"{_BLOCK}.mlp.*", (f"{_OUR_BLOCK}.mlp.*",)),
    Rule(f"{_SWIN}.layers.#.downsample.*", (f"{_OUR_SWIN}.encoder.layers.#.downsample.*",)),
    *(Rule(f"{_SWIN}.norm{i}.@", (f"backbone.swin.hidden_states_norms.stage{i + 1}.@",)) for i in range(4)),
    # pixel decoder
    Rule("pixel_decoder.transformer.level_embed", ("pixel_decoder.decoder.level_embed",)),
    Rule("pixel_decoder.input_proj.*", ("pixel_decoder.decoder.input_projections.*",)),
    Rule(f"{_ENCODER}.self_attn.*", (f"{_OUR_ENCODER}.self_attn.*",)),
    Rule(f"{_ENCODER}.norm1.@", (f"{_OUR_ENCODER}.self_attn_layer_norm.@",)),
    Rule(f"{_ENCODER}.linear1.@", (f"{_OUR_ENCODER}.fc1.@",)),
    Rule(f"{_ENCODER}.linear2.@", (f"{_OUR_ENCODER}.fc2.@",)),
    Rule(f"{_ENCODER}.norm2.@", (f"{_OUR_ENCODER}.final_layer_norm.@",)),
    Rule("pixel_decoder.mask_features.@", ("pixel_decoder.decoder.mask_projection.@",)),
    Rule("pixel_decoder.adapter_1.*", ("pixel_decoder.decoder.adapter_1.*",)),
    Rule("pixel_decoder.layer_1.*", ("pixel_decoder.decoder.layer_1.*",)),
    # mask decoder
    Rule("seg_query_projector.@", ("mask_decoder.query_proj.@",)),
    Rule("predictor.query_embed.weight", ("mask_decoder.query_position.weight",)),
    Rule(
        "predictor.query_feat.weight",
        ("mask_decoder.query_content.weight",),
        "the queries' content is the language model's (learned_queries is false)",
    ),
    Rule("predictor.SEG_query_embed.weight", unused="never read"),
    Rule("predictor.level_embed.weight", ("mask_decoder.level_embed.weight",)),
    Rule("predictor.input_proj.*", ("mask_decoder.input_proj.*",)),
    Rule(f"{_CROSS}.multihead_attn.in_proj_@", _qkv(f"{_LAYER}.cross")),
    Rule(f"{_CROSS}.multihead_attn.out_proj.@", (f"{_LAYER}.cross.out_proj.@",)),
    Rule(f"{_CROSS}.norm.@", (f"{_LAYER}.cross_norm.@",)),
    Rule(f"{_SELF}.self_attn.in_proj_@", _qkv(f"{_LAYER}.self_attention")),
    Rule(f"{_SELF}.self_attn.out_proj.@", (f"{_LAYER}.self_attention.out_proj.@",)),
    Rule(f"{_SELF}.norm.@", (f"{_LAYER}.self_norm.@",)),
    Rule(f"{_FFN}.linear1.@", (f"{_LAYER}.ff.0.@",)),
    Rule(f"{_FFN}.linear2.@", (f"{_LAYER}.ff.2.@",)),
    Rule(f"{_FFN}.norm.@", (f"{_LAYER}.ff_norm.@",)),
    Rule("predictor.decoder_norm.@", ("mask_decoder.norm.@",)),
    *(Rule(f"predictor.mask_embed.layers.{i}.@", (f"mask_decoder.mask_embed.{2 * i}.@",)) for i in range(3)),
    *(Rule(f"predictor.SEG_proj.layers.{i}.@", (f"mask_decoder.score_proj.{2 * i}.@",)) for i in range(2)),
)

_WILD = {"#": r"(\d+)", "@": "(weight|bias)", "*": "(.+)"}


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile("".join(_WILD.get(part, re.escape(part)) for part in re.split(r"([#@*])", pattern)))


def _fill(pattern: str, values: Iterable[str]) -> str:
    found = iter(values)
    return re.sub(r"[#@*]", lambda _: next(found), pattern)


def our_names(name: str) -> tuple[Rule, tuple[str, ...]] | None:
    """The table's line for an official name and our names of its rows; ``None`` for an unknown name."""
    for rule in TABLE:
        match = _compiled(rule.theirs).fullmatch(name)
        if match:
            return rule, tuple(_fill(ours, match.groups()) for ours in rule.ours)
    return None


def official_name(name: str) -> tuple[str, int, int] | None:
    """The official tensor that holds ours: its name, which part of its rows, of how many; ``None``: nowhere."""
    for rule in TABLE:
        for part, pattern in enumerate(rule.ours):
            match = _compiled(pattern).fullmatch(name)
            if match:
                return _fill(rule.theirs, match.groups()), part, len(rule.ours)
    return None


@dataclass(frozen=True)
class ConversionPlan:
    """Targets of every official tensor.

    Attributes:
        targets: official name to our names.
        dropped: official name to the reason.
    """

    targets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)

    def split(self, name: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
        """Our names and tensors (views) of one official tensor; none for a dropped one."""
        targets = self.targets.get(name, ())
        if targets:
            yield from zip(targets, tensor.chunk(len(targets)), strict=True)


def plan(source: Shapes, target: Shapes, partial: bool = False) -> ConversionPlan:
    """Plans the conversion of a checkpoint and proves it complete before a value is read.

    Args:
        source: official names and shapes.
        target: our names and shapes.
        partial: whether targets may stay unfilled (a part of a model is loaded).

    Raises:
        ValueError: a source is unknown, a shape differs or a target is not filled; the first few are named.
    """
    result = ConversionPlan()
    problems: list[str] = []
    filled: set[str] = set()
    for name, shape in source.items():
        found = our_names(name)
        if found is None:
            problems.append(f"{name} {list(shape)}: not a name of the official model")
            continue
        rule, names = found
        if not any(ours in target for ours in names) and rule.unused:
            result.dropped[name] = rule.unused
            continue
        part = _part(shape, len(names))
        for ours in names:
            if ours not in target:
                problems.append(f"{name} {list(shape)}: the model has no {ours}")
            elif target[ours] != part:
                problems.append(f"{name} {list(shape)}: {ours} is {list(target[ours])}, not {list(part)}")
        result.targets[name] = names
        filled.update(names)
    if not partial:
        problems += [
            f"{ours} {list(shape)}: nothing in the checkpoint fills it ({_origin(ours)})"
            for ours, shape in target.items()
            if ours not in filled
        ]
    raise_listed("the checkpoint does not fit the model", problems)
    return result


def _part(shape: Shape, parts: int) -> Shape:
    return shape if parts == 1 else (shape[0] // parts, *shape[1:])


def _origin(ours: str) -> str:
    found = official_name(ours)
    return f"{found[0]} is missing" if found else "it has no official name"


def raise_listed(what: str, problems: Sequence[str], shown: int = 5) -> None:
    """Raises ``ValueError`` with the first few problems and their number, if there are any."""
    if problems:
        more = f"; and {len(problems) - shown} more" if len(problems) > shown else ""
        raise ValueError(f"{what} ({len(problems)} problems): " + "; ".join(problems[:shown]) + more)


def official_shapes(ours: Shapes) -> dict[str, Shape]:
    """Names and shapes of the official tensors that hold ours.

    Raises:
        ValueError: one of ours has no official name; the first few are named.
    """
    parts: dict[str, list[Shape]] = {}
    problems = []
    for name, shape in ours.items():
        found = official_name(name)
        if found is None:
            problems.append(f"{name} {list(shape)}")
        else:
            parts.setdefault(found[0], []).append(shape)
    raise_listed("these tensors have no place in the official layout", problems)
    return {
        name: shapes[0] if len(shapes) == 1 else (sum(s[0] for s in shapes), *shapes[0][1:])
        for name, shapes in parts.items()
    }


class Joiner:
    """Collects own tensors and returns an official one as soon as all its rows are there."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[int, torch.Tensor]] = {}

    def add(self, name: str, tensor: torch.Tensor) -> tuple[str, torch.Tensor] | None:
        """The official name and tensor that ``tensor`` completes, or ``None``."""
        found = official_name(name)
        assert found is not None, name
        theirs, part, parts = found
        if parts == 1:
            return theirs, tensor
        rows = self._waiting.setdefault(theirs, {})
        rows[part] = tensor
        if len(rows) < parts:
            return None
        del self._waiting[theirs]
        return theirs, torch.cat([rows[i] for i in range(parts)])
