"""``config.json`` of the official checkpoint and :class:`InstructSegConfig`, both ways.

The official file holds few sizes of the mask branch, which are constants of the official code. They are
read from the shapes of the tensors here, so checkpoints of any size load. Only numbers of attention heads
leave no trace in a shape; they are the official constants unless the file has ``o_ovp_heads``,
``o_vmtf_heads`` or ``o_decoder_heads``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from transformers import SiglipVisionConfig, SiglipVisionModel, SwinConfig

from instructseg.convert.keymap import Shape, Shapes, raise_listed
from instructseg.model import InstructSegConfig
from instructseg.model.backbones import LEVELS
from instructseg.model.config_rules import MODEL, PARTS, Allowed, check_values, number

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from instructseg.model.configuration import ConfigFields

MODEL_TYPE = "mipha_phi"
"""``model_type`` in the official ``config.json``."""

_HEADS = 8
_SIGLIP = "model.vision_tower.vision_model"
_SWIN = "model.vision_tower_mask"
_TEXT_FIELDS = (
    "num_attention_heads", "num_key_value_heads", "hidden_act", "layer_norm_eps", "partial_rotary_factor",
    "rope_theta", "rope_scaling", "max_position_embeddings", "resid_pdrop", "embd_pdrop", "attention_dropout",
    "qk_layernorm", "initializer_range", "bos_token_id", "eos_token_id", "pad_token_id",
)  # fmt: skip
_PHI_WIDTH, _SIGLIP_WIDTH, _HEAD_DIM = 2560, 1152, 128
"""Widths of the published models, whose other numbers are known."""
_PHI_CONSTANTS = {
    "num_attention_heads": 32, "partial_rotary_factor": 0.4, "bos_token_id": 50256, "eos_token_id": 50256,
}  # fmt: skip
_NEEDED: dict[str, tuple[str, ...]] = {
    "text_config": (
        "num_attention_heads", "partial_rotary_factor", "rope_theta", "layer_norm_eps", "eos_token_id",
        "max_position_embeddings",
    ),
    "vision_config": ("num_attention_heads", "layer_norm_eps"),
}  # fmt: skip
_OFFICIAL: dict[str, dict[str, Allowed]] = {
    "vision_config": PARTS["siglip_vision_model"],
    "text_config": {
        **PARTS["phi"],
        "rope_theta": number(1, 1e12),
        "partial_rotary_factor": number(0.001, 1),
        "rope_scaling": Allowed("null or an object", lambda v: v is None or isinstance(v, dict)),
    },
}
_HEADS_GIVEN = {f"o_{name}_heads": MODEL[f"{name}_heads"] for name in ("ovp", "vmtf", "decoder")}
_VISION_FIELDS = ("num_attention_heads", "image_size", "hidden_act", "layer_norm_eps", "attention_dropout")


def config_from_official(
    config: Mapping[str, Any], shapes: Shapes, where: str = "", **overrides: Unpack[ConfigFields]
) -> InstructSegConfig:
    """Our configuration for an official checkpoint.

    Args:
        config: content of its ``config.json``.
        shapes: official names and shapes of its tensors.
        where: that file with a colon, for errors.
        overrides: fields of :class:`InstructSegConfig` to replace.

    Raises:
        ValueError: tensors that determine a size are missing (the first few are named), or a value of the file
            is not allowed, or missing without being one of the published constants.
    """
    needed = ("model.embed_tokens.weight", "lm_head.weight", "seg_query", "seg_query_projector.weight",
              f"{_SIGLIP}.embeddings.patch_embedding.weight", f"{_SWIN}.patch_embed.proj.weight",
              "predictor.mask_embed.layers.0.weight", "pixel_decoder.mask_features.weight",
              "SEG_token_projector.weight")  # fmt: skip
    raise_listed(
        "this is not a whole InstructSeg checkpoint (an adapter file or Mipha alone is not enough)",
        [f"{name} is missing" for name in needed if name not in shapes],
    )
    given = {**config, **{f"o_{name}": value for name, value in overrides.items() if name.endswith("_heads")}}
    check_values(given, _HEADS_GIVEN, where, complete=False)

    def fields() -> dict[str, Any]:
        return {
            "vision_config": vision_fields(config, shapes, where),
            "text_config": text_fields(config, shapes, where),
            "backbone_config": backbone_fields(shapes),
            "vision_feature_layer": _tower(config).get("mm_vision_select_layer", -2),
            "lm_head_size": shapes["lm_head.weight"][0],
            **_perceivers(given, shapes, where),
            **_masks(given, shapes),
        }

    found = {**read_shapes(fields, shapes), **overrides}
    check_values(found, MODEL, where, complete=False)
    return InstructSegConfig(**found)


def read_shapes(read: Callable[[], dict[str, Any]], shapes: Shapes) -> dict[str, Any]:
    """The result of ``read``, with clear errors for missing or malformed shapes.

    Raises:
        ValueError: a tensor that determines a size is missing, or has a wrong number of axes.
    """
    try:
        return read()
    except KeyError as error:
        raise ValueError(f"the checkpoint lacks the tensor {error}, which determines a size") from error
    except (IndexError, ZeroDivisionError, TypeError) as error:
        raise ValueError(f"{len(shapes)} tensors, whose shapes are not those of a model ({error})") from error


def _tower(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The section on SigLIP; empty where the file has none."""
    found: Any = config
    for key in ("vision_config", "vision_tower"):
        found = found.get(key) or {}
        if not isinstance(found, Mapping):
            raise ValueError(f"config.json: {key} must be an object, not {found!r:.60}")
    return found


def _picked(source: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: source[name] for name in names if source.get(name) is not None}


def _depth(shapes: Shapes, prefix: str) -> int:
    """Number of numbered modules below ``prefix``."""
    pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.")
    found = [int(match.group(1)) for match in map(pattern.match, shapes) if match]
    return max(found, default=-1) + 1


def _given(
    config: Mapping[str, Any], names: tuple[str, ...], part: str, published: bool, where: str
) -> dict[str, Any]:
    """The fields ``names`` that a file has; of a model that is not the published one some must be there."""
    found = _picked(config, names)
    missing = [name for name in _NEEDED[part] if name not in found]
    if missing and not published:
        raise ValueError(
            f"{where}{missing[0]} is missing, and only for the published sizes is it known: copy it from the "
            "model's own config.json"
        )
    check_values(found, _OFFICIAL[part], where, complete=False)
    return found


def text_fields(config: Mapping[str, Any], shapes: Shapes, where: str = "") -> dict[str, Any]:
    """Fields of ``PhiConfig`` from the official configuration and the shapes of the language model."""
    rows, dim = shapes["model.embed_tokens.weight"]
    published = dim == _PHI_WIDTH
    return {
        "hidden_act": "gelu_new",
        **(_PHI_CONSTANTS if published else {}),
        **_given(config, _TEXT_FIELDS, "text_config", published, where),
        "vocab_size": rows,
        "hidden_size": dim,
        "intermediate_size": shapes["model.layers.0.mlp.fc1.weight"][0],
        "num_hidden_layers": _depth(shapes, "model.layers"),
        "tie_word_embeddings": False,
    }


def vision_fields(config: Mapping[str, Any], shapes: Shapes, where: str = "") -> dict[str, Any]:
    """Fields of ``SiglipVisionConfig`` from the official configuration and the shapes of the tower."""
    width, channels, patch, _ = shapes[f"{_SIGLIP}.embeddings.patch_embedding.weight"]
    side = math.isqrt(shapes[f"{_SIGLIP}.embeddings.position_embedding.weight"][0])
    found = _given(_tower(config), _VISION_FIELDS, "vision_config", width == _SIGLIP_WIDTH, where)
    given = {"num_attention_heads": 16, **found}
    if given.get("image_size", 384) // patch != side:
        given["image_size"] = side * patch
    return {
        "image_size": 384,
        **given,
        "hidden_size": width,
        "num_channels": channels,
        "patch_size": patch,
        "intermediate_size": shapes[f"{_SIGLIP}.encoder.layers.0.mlp.fc1.weight"][0],
        "num_hidden_layers": _depth(shapes, f"{_SIGLIP}.encoder.layers"),
    }


def backbone_fields(shapes: Shapes) -> dict[str, Any]:
    """Fields of ``SwinConfig`` from the shapes of ``model.vision_tower_mask.*``."""
    dim, _, patch, _ = shapes[f"{_SWIN}.patch_embed.proj.weight"]
    stages = range(_depth(shapes, f"{_SWIN}.layers"))
    tables = [shapes[f"{_SWIN}.layers.{i}.blocks.0.attn.relative_position_bias_table"] for i in stages]
    return {
        "embed_dim": dim,
        "patch_size": patch,
        "depths": [_depth(shapes, f"{_SWIN}.layers.{i}.blocks") for i in stages],
        "num_heads": [heads for _, heads in tables],
        "window_size": (math.isqrt(tables[0][0]) + 1) // 2,
        "mlp_ratio": shapes[f"{_SWIN}.layers.0.blocks.0.mlp.fc1.weight"][0] / dim,
        "qkv_bias": f"{_SWIN}.layers.0.blocks.0.attn.qkv.bias" in shapes,
        "image_size": 384,
        "drop_path_rate": 0.3,
    }


def _perceivers(config: Mapping[str, Any], shapes: Shapes, where: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"use_ovp": "temporal_query" in shapes}
    if fields["use_ovp"]:
        fields["ovp_queries"] = shapes["temporal_query"][0]
        fields.update(_perceiver(config, shapes, "ovp", where))
    if "local_project.weight" not in shapes:
        return {**fields, "vmtf_mode": "off"}
    fields["vmtf_dim"] = shapes["local_project.weight"][0]
    return {**fields, **_perceiver(config, shapes, "vmtf", where)}


def _perceiver(config: Mapping[str, Any], shapes: Shapes, name: str, where: str) -> dict[str, Any]:
    layers = f"{name}_layers.layers"
    inner, dim = shapes[f"{layers}.0.0.to_q.weight"]
    heads = config.get(f"o_{name}_heads", _HEADS)
    if f"o_{name}_heads" not in config and inner != _HEADS * _HEAD_DIM:
        raise ValueError(
            f"{where}o_{name}_heads is missing: the number of heads is known only where they have {_HEAD_DIM} "
            f"channels each, {_HEADS * _HEAD_DIM} in all, not {inner}"
        )
    return {
        f"{name}_depth": _depth(shapes, layers),
        f"{name}_heads": heads,
        f"{name}_head_dim": inner // heads,
        f"{name}_ff_mult": shapes[f"{layers}.0.1.1.weight"][0] // dim,
    }


def _masks(config: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    return {
        "num_queries": shapes["seg_query"][0],
        "decoder_dim": shapes["seg_query_projector.weight"][0],
        "decoder_heads": config.get("o_decoder_heads", _HEADS),
        **decoder_fields(shapes),
    }


def decoder_fields(shapes: Shapes) -> dict[str, Any]:
    """Fields of :class:`InstructSegConfig` from the shapes of ``pixel_decoder.*`` and ``predictor.*``."""
    mask_dim, conv_dim = shapes["pixel_decoder.mask_features.weight"][:2]
    encoder = "pixel_decoder.transformer.encoder.layers"
    return {
        "conv_dim": conv_dim,
        "mask_dim": mask_dim,
        "pixel_decoder_layers": _depth(shapes, encoder),
        "pixel_decoder_ff": shapes[f"{encoder}.0.linear1.weight"][0],
        "decoder_layers": _depth(shapes, "predictor.transformer_ffn_layers"),
        "decoder_ff": shapes["predictor.transformer_ffn_layers.0.linear1.weight"][0],
    }


# --------------------------------------------------------------------------------------- ours to official


def official_config(config: InstructSegConfig) -> dict[str, Any]:
    """Content of the official ``config.json`` for a model of ours.

    Raises:
        ValueError: the model does something that the official code cannot do; it is named.
    """
    raise_listed("the official code cannot run this model", _extensions(config))
    text: Any = config.text_config
    vision: Any = config.vision_config
    rope = text.rope_parameters
    tower = {name: getattr(vision, name) for name in _VISION_FIELDS}
    sizes = ("hidden_size", "intermediate_size", "num_hidden_layers")
    result = {
        "architectures": ["InstructSeg"],
        "model_type": MODEL_TYPE,
        "mask_decode_train": True,
        "mm_vision_tower": "siglip",
        "swin_type": "base",
        "tie_word_embeddings": False,
        "vocab_size": text.vocab_size,
        "rope_theta": rope["rope_theta"],
        "partial_rotary_factor": rope["partial_rotary_factor"],
        **{name: getattr(text, name) for name in (*_TEXT_FIELDS, *sizes) if hasattr(text, name)},
        "vision_config": {
            "mm_projector": {
                "mm_projector_type": "mlp2x_gelu",
                "mm_hidden_size": vision.hidden_size,
                "hidden_size": text.hidden_size,
            },
            "vision_tower": {
                **tower,
                **{name: getattr(vision, name) for name in (*sizes, "num_channels", "patch_size")},
                "model_type": "mipha_vision_model",
                "mm_vision_select_feature": "patch",
                "mm_vision_select_layer": config.vision_feature_layer,
            },
        },
    }
    heads = {"ovp": config.ovp_heads, "vmtf": config.vmtf_heads, "decoder": config.decoder_heads}
    widths = {"ovp": config.ovp_head_dim, "vmtf": config.vmtf_head_dim, "decoder": _HEAD_DIM}
    return result | {
        f"o_{name}_heads": number
        for name, number in heads.items()
        if (number, widths[name]) != (_HEADS, _HEAD_DIM)  # implied where the key is missing
    }


def _extensions(config: InstructSegConfig) -> list[str]:
    wanted = {
        "vision_tower": "siglip",
        "use_ovp": True,
        "vmtf_mode": "released",
        "vmtf_levels": [LEVELS[-1]],
        "lateral": "released",
        "learned_queries": False,
        "quantize": None,
    }
    found = {name: getattr(config, name) for name in wanted}
    return [
        f"{name} is {found[name]!r}, not {value!r}" for name, value in wanted.items() if found[name] != value
    ]


def unused_shapes(config: InstructSegConfig, used: Shapes) -> dict[str, Shape]:
    """Official tensors that the official file has and nothing reads, beside the ``used`` ones."""
    vision, swin = cast(SiglipVisionConfig, config.vision_config), cast(SwinConfig, config.backbone_config)
    with torch.device("meta"):
        tower = SiglipVisionModel(SiglipVisionConfig(**vision.to_dict()))
    every = {f"{_SIGLIP}.{name}": tuple(t.shape) for name, t in tower.state_dict().items()}
    every["predictor.query_feat.weight"] = (config.num_queries, config.decoder_dim)
    every["predictor.SEG_query_embed.weight"] = (config.num_queries + 1, config.decoder_dim)
    area = swin.window_size**2
    for stage, depth in enumerate(swin.depths):
        for block in range(depth):
            every[f"{_SWIN}.layers.{stage}.blocks.{block}.attn.relative_position_index"] = (area, area)
    return {name: shape for name, shape in every.items() if name not in used}
