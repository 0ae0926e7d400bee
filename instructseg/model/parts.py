"""Build the parts of the model from its configuration."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from instructseg.model import backbones, language
from instructseg.model.backbones import Backbone
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.language import LanguageModel, add_lora
from instructseg.model.mask_decoder import MaskDecoder
from instructseg.model.ovp import ObjectAwareVideoPerceiver
from instructseg.model.perceiver import Perceiver
from instructseg.model.pixel_decoder import PixelDecoder
from instructseg.model.quantized import place_quantized
from instructseg.model.vision_towers import OpenClipTower, SharedTower, SiglipTower, build_projector
from instructseg.model.vmtf import TextFusion


@dataclass(frozen=True)
class ModelParts:
    """Parts of the model, one per box of the paper's figure; see the files of the same names.

    Attributes:
        vision: image tokens of the language side; ``SharedTower`` reads the backbone's coarsest map.
        projector: its tokens to the width of the language model.
        language: with adapters or quantized layers where the configuration has them.
        ovp: ``None`` for a model without reference frames.
        backbone: of the mask branch.
        vmtf: text to mask classifier.
        pixel_decoder: backbone maps to mask features.
        mask_decoder: mask tokens to masks and scores.
    """

    vision: nn.Module
    projector: nn.Module
    language: LanguageModel
    ovp: ObjectAwareVideoPerceiver | None
    backbone: Backbone
    vmtf: TextFusion
    pixel_decoder: PixelDecoder
    mask_decoder: MaskDecoder


def build_parts(config: InstructSegConfig) -> ModelParts:
    """Builds every part with random weights.

    Raises:
        ValueError: numbers that do not fit together, or a backbone without four maps.
        ImportError: an OpenCLIP tower without its package.
    """
    dim = config.text_config.hidden_size
    backbone = backbones.trunk_class(config.backbone_config.model_type)(config.backbone_config)
    vision = _vision(config, backbone)
    return ModelParts(
        vision=vision,
        projector=build_projector(vision.width, dim),
        language=_language(config),
        ovp=_ovp(config, dim),
        backbone=backbone,
        vmtf=_vmtf(config, dim, backbone),
        pixel_decoder=PixelDecoder(
            backbone.dims,
            config.conv_dim,
            config.mask_dim,
            config.pixel_decoder_layers,
            config.decoder_heads,
            config.pixel_decoder_ff,
            config.lateral,
        ),
        mask_decoder=MaskDecoder(
            dim,
            config.conv_dim,
            config.mask_dim,
            config.decoder_dim,
            config.decoder_heads,
            (config.decoder_layers, config.decoder_ff),
            config.num_queries,
            config.learned_queries,
        ),
    )


def _vision(config: InstructSegConfig, backbone: Backbone) -> SiglipTower | OpenClipTower | SharedTower:
    if config.vision_tower == "siglip":
        return SiglipTower(config.vision_config, config.vision_feature_layer)
    if config.vision_tower == "shared":
        return SharedTower(backbone.dims)
    return OpenClipTower(config.open_clip_model or "ViT-SO400M-14-SigLIP-384", config.vision_feature_layer)


def _language(config: InstructSegConfig) -> LanguageModel:
    kind = language.KINDS[config.text_config.model_type]
    model = kind(config.text_config, config.lm_head_size)
    if config.quantize:
        place_quantized(model, config.quantize)
    if config.lora:
        add_lora(model, **config.lora)
    return model


def _ovp(config: InstructSegConfig, dim: int) -> ObjectAwareVideoPerceiver | None:
    if not config.use_ovp:
        return None
    return ObjectAwareVideoPerceiver(
        dim, config.ovp_queries, config.ovp_depth, config.ovp_heads, config.ovp_head_dim, config.ovp_ff_mult
    )


def _vmtf(config: InstructSegConfig, dim: int, backbone: Backbone) -> TextFusion:
    perceiver = None
    if config.vmtf_mode != "off":
        perceiver = Perceiver(
            config.vmtf_dim, config.vmtf_depth, config.vmtf_heads, config.vmtf_head_dim, config.vmtf_ff_mult
        )
    return TextFusion(
        dim,
        backbone.dims,
        config.vmtf_levels,
        config.vmtf_dim,
        perceiver,
        config.decoder_dim,
        config.vmtf_mode,
    )
