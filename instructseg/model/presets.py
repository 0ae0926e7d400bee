"""Named architectures: released, bundled, and Qwen3 with newer towers and backbones."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from instructseg.model.configuration import STAGES, ConfigFields, InstructSegConfig

if TYPE_CHECKING:
    from typing_extensions import Unpack

PRESETS: dict[str, dict[str, Any]] = {
    # The published weights: Mipha-3B (SigLIP-so400m, Phi-2), Swin-B and Mask2Former with 100 queries.
    "instructseg-3b": {},
    # As the bundled nano: every part of the architecture, small enough to learn and run on one CPU core.
    "nano": {
        "vision_config": {
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_hidden_layers": 6,
            "num_attention_heads": 4,
            "image_size": 96,
            "patch_size": 12,
        },
        "text_config": {
            "vocab_size": 1536,
            "hidden_size": 128,
            "intermediate_size": 512,
            "num_hidden_layers": 8,
            "num_attention_heads": 4,
            "partial_rotary_factor": 0.5,
            "max_position_embeddings": 512,
            "hidden_act": "gelu_pytorch_tanh",
            "bos_token_id": 0,
            "eos_token_id": 0,
            "pad_token_id": 0,
        },
        "backbone_config": {
            "image_size": 128,
            "embed_dim": 32,
            "depths": [2, 2, 2, 2],
            "num_heads": [1, 2, 4, 8],
            "window_size": 4,
            "drop_path_rate": 0.0,
            # the masks are chosen by place, too
            "use_absolute_embeddings": True,
            "out_features": STAGES,
        },
        "image_size": 128,
        "lm_head_size": 1536,
        "ovp_queries": 8,
        "ovp_depth": 2,
        "ovp_heads": 4,
        "ovp_head_dim": 32,
        "vmtf_mode": "paper",
        "vmtf_levels": ["res4", "res5"],
        "vmtf_dim": 96,
        "vmtf_depth": 2,
        "vmtf_heads": 4,
        "vmtf_head_dim": 24,
        "conv_dim": 64,
        "mask_dim": 64,
        "pixel_decoder_layers": 1,
        "pixel_decoder_ff": 128,
        "lateral": "plain",
        "num_queries": 10,
        "learned_queries": True,
        "decoder_dim": 64,
        "decoder_heads": 4,
        "decoder_layers": 3,
        "decoder_ff": 256,
    },
}

# Qwen3 (arXiv 2505.09388) with SigLIP 2 (2502.14786) and a mask backbone; random weights until trained, see
# configs/qwen3/. The fixed-size SigLIP 2 models are SigLIP networks of other sizes.
_SIGLIP2_BASE = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 384,
    "patch_size": 16,
}
_SIGLIP2_SO400M = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 384,
    "patch_size": 16,
}
_DINOV3_CONVNEXT_SMALL = {
    "model_type": "dinov3_convnext",
    "hidden_sizes": [96, 192, 384, 768],
    "depths": [3, 3, 27, 3],
}
_HIERA_BASE = {
    "model_type": "hiera",
    "image_size": [1024, 1024],
    "embed_dim": 96,
    "depths": [2, 3, 16, 3],
    "num_heads": [1, 2, 4, 8],
}


def _qwen3(hidden: int, intermediate: int, layers: int, heads: int) -> dict[str, Any]:
    """A dense Qwen3 with tied tables, at the numbers of its published configuration."""
    return {
        "model_type": "qwen3",
        "vocab_size": 151936,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 40960,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
        "tie_word_embeddings": True,
        "bos_token_id": 151643,
        "eos_token_id": 151645,
        "pad_token_id": 151643,
    }


PRESETS |= {
    "qwen3-0.6b": {
        "text_config": _qwen3(1024, 3072, 28, 16),
        "vision_config": _SIGLIP2_BASE,
        "backbone_config": _DINOV3_CONVNEXT_SMALL,
        "vmtf_mode": "paper",
        "lateral": "plain",
    },
    "qwen3-1.7b": {
        "text_config": _qwen3(2048, 6144, 28, 16),
        "vision_config": _SIGLIP2_SO400M,
        "backbone_config": _HIERA_BASE,
        "vmtf_mode": "paper",
        "lateral": "plain",
    },
    "qwen3-4b": {
        "text_config": _qwen3(2560, 9728, 36, 32),
        "vision_config": _SIGLIP2_SO400M,
        "vmtf_mode": "paper",
        "lateral": "plain",
    },
}


def preset(name: str, **overrides: Unpack[ConfigFields]) -> InstructSegConfig:
    """The configuration ``name`` of :data:`PRESETS`, with fields replaced by ``overrides``.

    Raises:
        ValueError: unknown preset or field; the closest existing name is given.
    """
    _known(name, list(PRESETS), "preset")
    for key in overrides:
        _known(key, list(InstructSegConfig.__annotations__), "model field")
    return InstructSegConfig(**{**PRESETS[name], **overrides})


def _known(name: str, names: list[str], what: str) -> None:
    if name not in names:
        close = difflib.get_close_matches(name, names, 1, 0.0)[0]
        raise ValueError(f"unknown {what} {name!r}; did you mean {close!r}?")
