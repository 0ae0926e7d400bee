"""Every preset at its real size, on the meta device: no memory is used."""

from __future__ import annotations

import pytest
import torch

from instructseg.model import PRESETS, InstructSeg, preset

PUBLISHED = {
    # parameters of the language model and of the backbone as their publications give them, in millions
    "instructseg-3b": (2777, 87),  # Phi-2 less the biases of its output table; Swin-B less its classifier
    "qwen3-0.6b": (596, 49.5),  # DINOv3 ConvNeXt-S
    "qwen3-1.7b": (1721, 57),  # Hiera-B less its classifier, positions at 1024 px
    "qwen3-4b": (4022, 87),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parts_have_the_published_sizes(name: str) -> None:
    with torch.device("meta"):
        model = InstructSeg(preset(name))
    found = [sum(p.numel() for p in part.parameters()) / 1e6 for part in (model.language, model.backbone)]
    assert found == pytest.approx(PUBLISHED[name], rel=0.005)


@pytest.mark.parametrize("name", [name for name in PRESETS if name not in PUBLISHED])
def test_other_presets_are_small(name: str) -> None:
    with torch.device("meta"):
        model = InstructSeg(preset(name))
    assert sum(p.numel() for p in model.parameters()) < 40e6


def test_an_unknown_preset_or_field_names_the_closest() -> None:
    with pytest.raises(ValueError, match=r"unknown preset 'qwen3-4'; did you mean 'qwen3-4b'\?"):
        preset("qwen3-4")
    with pytest.raises(ValueError, match=r"did you mean 'num_queries'\?"):
        preset("qwen3-4b", num_query=3)
