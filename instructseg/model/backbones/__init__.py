"""Mask backbones with one interface: a file and a row of :data:`KINDS` for each kind."""

from transformers import SwinConfig

from instructseg.model.backbones.auto import TransformersTrunk
from instructseg.model.backbones.backbone import LEVELS, Backbone
from instructseg.model.backbones.efficientnet_lite import EfficientNetLiteConfig, EfficientNetLiteTrunk
from instructseg.model.backbones.swin import SwinTrunk

KINDS: dict[str, tuple[type, type[Backbone]]] = {
    "swin": (SwinConfig, SwinTrunk),
    "efficientnet_lite": (EfficientNetLiteConfig, EfficientNetLiteTrunk),
}
"""``model_type`` of ``backbone_config`` -> its configuration and the trunk; other types are of transformers."""


def trunk_class(kind: str) -> type[Backbone]:
    """The trunk for a ``model_type``."""
    return KINDS[kind][1] if kind in KINDS else TransformersTrunk


__all__ = [
    "KINDS",
    "LEVELS",
    "Backbone",
    "EfficientNetLiteConfig",
    "EfficientNetLiteTrunk",
    "SwinTrunk",
    "TransformersTrunk",
    "trunk_class",
]
