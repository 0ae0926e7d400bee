"""Backbones of transformers as mask backbones."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from instructseg.model import preset
from instructseg.model.backbones import LEVELS, TransformersTrunk, trunk_class
from tests.model.conftest import batch, tiny_model

SMALL: dict[str, dict[str, Any]] = {
    "dinov3_convnext": {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]},
    "convnextv2": {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]},
    "hiera": {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "image_size": [64, 64]},
}


def config(kind: str) -> Any:
    return preset("instructseg-3b", backbone_config={"model_type": kind, **SMALL[kind]}).backbone_config


@torch.no_grad()
@pytest.mark.parametrize("kind", SMALL)
def test_maps_are_those_of_transformers(kind: str) -> None:
    torch.manual_seed(0)
    trunk = trunk_class(kind)(config(kind)).eval()
    assert isinstance(trunk, TransformersTrunk)
    pixels = torch.randn(1, 3, 64, 64)
    maps = trunk(pixels)
    for number, (level, values) in enumerate(maps.items()):
        assert values.shape == (1, trunk.dims[level], 64 // 2 ** (2 + number), 64 // 2 ** (2 + number))
    expected = trunk.trunk(pixels).feature_maps
    assert all(torch.equal(a, b) for a, b in zip(maps.values(), expected, strict=True))


@torch.no_grad()
@pytest.mark.parametrize("kind", [*SMALL, "efficientnet_lite"])
def test_the_whole_model_runs_on_it(kind: str) -> None:
    model = tiny_model(backbone_config={"model_type": kind, **SMALL.get(kind, {})})
    output = model(batch(model.config, [(0, 4), (2, 3)], size=(64, 64)))
    assert output.mask_logits is not None
    assert output.mask_logits.shape == (2, 4, 16, 16)
    assert model.config.backbone_config.model_type == kind


def test_a_backbone_without_four_maps_is_refused() -> None:
    flat = preset(
        "instructseg-3b", backbone_config={"model_type": "resnet", "depths": [1, 1], "hidden_sizes": [8, 8]}
    )
    with pytest.raises(ValueError, match="'resnet' has 2 stages, not 4"):
        TransformersTrunk(flat.backbone_config)


def test_maps_at_other_strides_are_refused() -> None:
    given = {"model_type": "dinov2", "hidden_size": 8, "num_hidden_layers": 4, "num_attention_heads": 1}
    plain = preset("instructseg-3b", backbone_config=given)
    with pytest.raises(ValueError, match=r"res2 of the backbone is .* stride 4"):
        TransformersTrunk(plain.backbone_config)(torch.randn(1, 3, 56, 56))


def test_an_unknown_backbone_is_named() -> None:
    with pytest.raises(ValueError, match="no backbone 'swim'"):
        preset("instructseg-3b", backbone_config={"model_type": "swim"})


@pytest.mark.parametrize("kind", [*SMALL, "swin", "efficientnet_lite"])
def test_memory_is_estimated_for_each_kind(kind: str) -> None:
    """At least the largest map that stays, and growing with the image."""
    given = {"model_type": kind, **SMALL.get(kind, {})}
    built = preset("instructseg-3b", backbone_config=given).backbone_config
    trunk = trunk_class(kind)
    small, large = (trunk.widest(built, size) for size in (256, 512))
    assert large == 4 * small
    assert small >= 64 * 64 * (24 if kind == "efficientnet_lite" else 8)
    assert tuple(LEVELS) == ("res2", "res3", "res4", "res5")
