"""Configuration of the architecture; the defaults are the released numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig, SiglipVisionConfig

from instructseg.model import backbones, language
from instructseg.model.backbones import LEVELS
from instructseg.model.quantized import Quantization, check_quantization

FusionMode = Literal["released", "paper", "detailed", "off"]


class ConfigFields(TypedDict, total=False):
    """Fields of :class:`InstructSegConfig` that calls may override; ``quantize`` is an argument of its own."""

    vision_config: Any
    text_config: Any
    backbone_config: Any
    image_size: int
    vision_tower: Literal["siglip", "open_clip", "shared"]
    shared_clip_size: int
    open_clip_model: str | dict | None
    vision_feature_layer: int
    lm_head_size: int
    use_ovp: bool
    ovp_queries: int
    ovp_depth: int
    ovp_heads: int
    ovp_head_dim: int
    ovp_ff_mult: int
    vmtf_mode: FusionMode
    vmtf_levels: list[str] | tuple[str, ...]
    vmtf_dim: int
    vmtf_depth: int
    vmtf_heads: int
    vmtf_head_dim: int
    vmtf_ff_mult: int
    conv_dim: int
    mask_dim: int
    pixel_decoder_layers: int
    pixel_decoder_ff: int
    lateral: Literal["released", "plain"]
    num_queries: int
    learned_queries: bool
    decoder_dim: int
    decoder_heads: int
    decoder_layers: int
    decoder_ff: int
    lora: dict | None
    tie_word_embeddings: bool


@strict
class InstructSegConfig(PreTrainedConfig):
    """Configuration of :class:`instructseg.model.InstructSeg`; the defaults are the released numbers.

    Attributes:
        vision_config: the SigLIP tower (depth as published; layers after the selected one are not built).
        text_config: the language model, of a ``model_type`` in ``language.KINDS`` (``phi`` where none is
            named); ``vocab_size`` is the number of embedding rows.
        backbone_config: the backbone of the mask branch, of a ``model_type`` in ``backbones.KINDS`` (``swin``
            where none is named) or of a backbone of transformers.
        image_size: side of the padded square that the mask branch was trained on, in pixels.
        vision_tower: ``siglip`` (transformers; SigLIP 2 of fixed size is the same network), ``open_clip``
            (extra ``openclip``), or ``shared``: the cells of the mask backbone's coarsest map, so that one
            trunk serves both branches.
        shared_clip_size: side of the input square of a ``shared`` tower, in pixels; a multiple of 32.
        open_clip_model: name or JSON configuration of the OpenCLIP model, for ``vision_tower="open_clip"``.
        vision_feature_layer: which hidden state of the tower is used, counted as transformers does
            (0 the embeddings, -2 the output of the last layer but one).
        lm_head_size: rows of Phi's output table (51,200 as published, more than there are tokens).
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
        quantize: how the language model's blocks are stored: ``int8``, ``int4``, or ``None`` for plain weights.
    """

    model_type = "instructseg"
    sub_configs = {  # noqa: RUF012  (the base class's protocol)
        "vision_config": SiglipVisionConfig,
        "text_config": AutoConfig,
        "backbone_config": AutoConfig,
    }

    vision_config: Any = None
    text_config: Any = None
    backbone_config: Any = None
    image_size: int = 1024
    vision_tower: Literal["siglip", "open_clip", "shared"] = "siglip"
    shared_clip_size: int = 384
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
    quantize: Quantization | None = None
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        former = kwargs.pop("quantise", None)  # the old spelling, in files and calls
        self.quantize = self.quantize or (former and check_quantization(former))
        self.vision_config = _sub_config(SiglipVisionConfig, self.vision_config, _SIGLIP_SO400M)
        self.text_config = _sub_config(_text_class(self.text_config), self.text_config, _PHI_2)
        self.backbone_config = _sub_config(_backbone_class(self.backbone_config), self.backbone_config, _SWIN_B)
        self.vmtf_levels = list(self.vmtf_levels)
        unknown = set(self.vmtf_levels) - set(LEVELS)
        if unknown:
            raise ValueError(
                f"vmtf_levels: unknown level {sorted(unknown)[0]!r}; choose from {', '.join(LEVELS)}"
            )
        if self.shared_clip_size % _COARSEST:
            raise ValueError(
                f"shared_clip_size must be a multiple of {_COARSEST}, which {self.shared_clip_size} is not"
            )
        super().__post_init__(**kwargs)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As in transformers, but refuses files of other models, whose sizes would be defaults.

        Raises:
            ValueError: the file is of another model or layout.
        """
        kind = config_dict.get("model_type", cls.model_type)
        if kind != cls.model_type:
            raise ValueError(
                f"a configuration of type {kind!r:.60} is none of this layout: other layouts are read by "
                "instructseg.from_pretrained"
            )
        return super().from_dict(config_dict, **kwargs)

    @property
    def clip_size(self) -> int:
        """Side of the vision tower's input square, in pixels."""
        return self.shared_clip_size if self.vision_tower == "shared" else self.vision_config.image_size

    @property
    def output_rows(self) -> int:
        """Rows of the language model's output table."""
        return self.lm_head_size if self.text_config.model_type == "phi" else self.text_config.vocab_size

    @property
    def num_image_tokens(self) -> int:
        """Tokens of one frame on the language side (P)."""
        patch = _COARSEST if self.vision_tower == "shared" else self.vision_config.patch_size
        return (self.clip_size // patch) ** 2


_COARSEST = 32
"""Stride of a backbone's coarsest map."""
STAGES = ["stage1", "stage2", "stage3", "stage4"]
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
    "out_features": STAGES,
}


def part_classes(values: Mapping[str, Any]) -> dict[str, type[PreTrainedConfig]]:
    """The classes of the three parts, by the ``model_type`` that each names.

    Raises:
        ValueError: there is no part of that kind.
    """
    return {
        "vision_config": SiglipVisionConfig,
        "text_config": _text_class(values.get("text_config")),
        "backbone_config": _backbone_class(values.get("backbone_config")),
    }


def _text_class(given: Any) -> type[PreTrainedConfig]:
    """The configuration of the kind of language model that is named."""
    kind = _kind(given, "phi")
    if kind not in language.KINDS:
        raise ValueError(f"text_config: no language model '{kind}'; there are {', '.join(language.KINDS)}")
    return language.KINDS[kind].config_class


def _backbone_class(given: Any) -> type[PreTrainedConfig]:
    """The configuration of the backbone that is named."""
    kind = _kind(given, "swin")
    if kind in backbones.KINDS:
        return backbones.KINDS[kind][0]
    try:
        return type(AutoConfig.for_model(kind))
    except ValueError as error:
        raise ValueError(
            f"backbone_config: no backbone '{kind}'; there are {', '.join(backbones.KINDS)}, "
            "and those of transformers"
        ) from error


def _kind(given: Any, default: str) -> str:
    """The ``model_type`` of a configuration or of its fields."""
    if isinstance(given, PreTrainedConfig):
        return given.model_type
    return str((given or {}).get("model_type", default))


def _sub_config(kind: type[PreTrainedConfig], given: dict | PreTrainedConfig | None, default: dict) -> Any:
    """``given`` as a configuration object; ``default`` where nothing is given."""
    if isinstance(given, PreTrainedConfig):
        return given
    values = dict(default if given is None else given)
    values.pop("model_type", None)
    return kind(**values)
