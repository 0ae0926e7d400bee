"""Every number of the architecture, and the presets in which the released ones stand together."""

from __future__ import annotations

import difflib
from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import PhiConfig, PreTrainedConfig, SiglipVisionConfig, SwinConfig

from instructseg.model.quantised import Quantisation

FusionMode = Literal["released", "paper", "detailed", "off"]


@strict
class InstructSegConfig(PreTrainedConfig):
    """Configuration of :class:`instructseg.model.InstructSeg`; the defaults are the released numbers.

    Attributes:
        vision_config: the SigLIP tower (depth as published; layers behind the selected one are not built).
        text_config: the Phi language model; ``vocab_size`` is the number of embedding rows.
        backbone_config: the Swin backbone of the mask branch.
        image_size: side of the padded square that the mask branch was trained on, in pixels.
        vision_tower: ``siglip`` (transformers) or ``open_clip`` (extra ``openclip``).
        open_clip_model: name or JSON configuration of the OpenCLIP model, for ``vision_tower="open_clip"``.
        vision_feature_layer: which hidden state of the tower is used, counted as transformers does
            (0 the embeddings, -2 the output of the last layer but one).
        lm_head_size: rows of the output table (51,200 as published, more than there are tokens).
        use_ovp, ovp_*: Object-aware Video Perceiver (section 3.2): learnable queries per reference
            frame, layers, attention heads, channels per head, width of the feed-forward relative to D.
        vmtf_mode: which text tokens are fused (section 3.3). ``released``: the global one, as the
            published weights (equal to the paper's global-only variant); ``paper``: global and detailed
            tokens; ``detailed``: the detailed ones alone; ``off``: the pooled text is the classifier.
        vmtf_levels: backbone levels that give the fine-grained visual features.
        vmtf_*: width, layers, heads, channels per head, feed-forward factor.
        conv_dim, mask_dim: channels of the pixel decoder and of its mask features.
        pixel_decoder_layers, pixel_decoder_ff: deformable-attention layers and their feed-forward width.
        lateral: the res2 lateral convolution: ``released`` (bias, GroupNorm, ReLU) or ``plain`` (Mask2Former).
        num_queries: LLM mask tokens, which are the decoder's object queries.
        learned_queries: adds a learned content vector to each projected mask token, so that small models
            can start as proposal generators; the published weights carry the table but do not use it.
        decoder_dim, decoder_heads, decoder_layers, decoder_ff: masked-attention decoder.
        lora: ``None``, or ``{"r", "alpha", "dropout", "targets"}`` of unmerged adapters.
        quantise: how the language model's blocks are stored: ``int8``, ``int4``, or ``None`` for plain weights.
    """

    model_type = "instructseg"
    sub_configs = {  # noqa: RUF012  (the base class's protocol)
        "vision_config": SiglipVisionConfig,
        "text_config": PhiConfig,
        "backbone_config": SwinConfig,
    }

    vision_config: Any = None
    text_config: Any = None
    backbone_config: Any = None
    image_size: int = 1024
    vision_tower: Literal["siglip", "open_clip"] = "siglip"
    open_clip_model: str | dict | None = None
    vision_feature_layer: int = -2
    lm_head_size: int = 51200

    use_ovp: bool = True
    ovp_queries: int = 128
    ovp_depth: int = 3
    ovp_heads: int = 8
    ovp_head_dim: int = 128
    ovp_ff_mult: int = 2

    vmtf_mode: FusionMode = "released"
    vmtf_levels: list[str] | tuple[str, ...] = ("res5",)
    vmtf_dim: int = 1024
    vmtf_depth: int = 3
    vmtf_heads: int = 8
    vmtf_head_dim: int = 128
    vmtf_ff_mult: int = 2

    conv_dim: int = 256
    mask_dim: int = 256
    pixel_decoder_layers: int = 6
    pixel_decoder_ff: int = 1024
    lateral: Literal["released", "plain"] = "released"

    num_queries: int = 100
    learned_queries: bool = False
    decoder_dim: int = 256
    decoder_heads: int = 8
    decoder_layers: int = 9
    decoder_ff: int = 2048

    lora: dict | None = None
    quantise: Quantisation | None = None
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        self.vision_config = _sub_config(SiglipVisionConfig, self.vision_config, _SIGLIP_SO400M)
        self.text_config = _sub_config(PhiConfig, self.text_config, _PHI_2)
        self.backbone_config = _sub_config(SwinConfig, self.backbone_config, _SWIN_B)
        self.vmtf_levels = list(self.vmtf_levels)
        unknown = set(self.vmtf_levels) - set(LEVELS)
        if unknown:
            raise ValueError(
                f"vmtf_levels: unknown level {sorted(unknown)[0]!r}; choose from {', '.join(LEVELS)}"
            )
        super().__post_init__(**kwargs)

    @property
    def num_image_tokens(self) -> int:
        """SigLIP tokens of one frame (P)."""
        side = self.vision_config.image_size // self.vision_config.patch_size
        return side * side


LEVELS = ("res2", "res3", "res4", "res5")
"""Backbone levels by stride 4, 8, 16, 32."""

_STAGES = ["stage1", "stage2", "stage3", "stage4"]
_SIGLIP_SO400M = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 384,
    "patch_size": 14,
}
_PHI_2 = {
    "vocab_size": 50296,
    "hidden_size": 2560,
    "intermediate_size": 10240,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "partial_rotary_factor": 0.4,
    "max_position_embeddings": 2048,
    "bos_token_id": 50256,
    "eos_token_id": 50256,
    "pad_token_id": 50256,
}
_SWIN_B = {
    "image_size": 384,
    "embed_dim": 128,
    "depths": [2, 2, 18, 2],
    "num_heads": [4, 8, 16, 32],
    "window_size": 12,
    "drop_path_rate": 0.3,
    "out_features": _STAGES,
}

PRESETS: dict[str, dict[str, Any]] = {
    # The published weights: Mipha-3B (SigLIP-so400m, Phi-2), Swin-B and Mask2Former with 100 queries.
    "instructseg-3b": {},
    # The bundled model: every part of the architecture, small enough to learn and run on one CPU core.
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
            "out_features": _STAGES,
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


def preset(name: str, **overrides: Any) -> InstructSegConfig:
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


def _sub_config(kind: type[PreTrainedConfig], given: dict | PreTrainedConfig | None, default: dict) -> Any:
    """``given`` as a configuration object; ``default`` where nothing is given."""
    if isinstance(given, PreTrainedConfig):
        return given
    values = dict(default if given is None else given)
    values.pop("model_type", None)
    return kind(**values)
