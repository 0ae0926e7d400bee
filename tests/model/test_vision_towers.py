"""The vision towers: the selected hidden state, with the layers behind it left out."""

from typing import Any

import pytest
import torch
from transformers import SiglipVisionConfig, SiglipVisionModel

from instructseg.model.vision_towers import OpenClipTower, SiglipTower, build_projector, selected_depth
from tests.model.conftest import batch, tiny_model

CONFIG = SiglipVisionConfig(
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=4,
    num_attention_heads=2,
    image_size=30,
    patch_size=14,
)


@torch.no_grad()
@pytest.mark.parametrize("layer", [-2, -1, 1, 3])
def test_the_tower_gives_the_hidden_state_of_the_whole_model(layer: int) -> None:
    torch.manual_seed(0)
    whole = SiglipVisionModel(CONFIG).eval()
    tower = SiglipTower(CONFIG, layer).eval()
    missing, unexpected = tower.model.load_state_dict(whole.state_dict(), strict=False)
    assert not missing
    assert all(name.startswith(("encoder", "post_layernorm", "head")) for name in unexpected)
    pixels = torch.randn(2, 3, 30, 30)  # 30 / 14 is floored to a grid of 2
    expected = whole(pixels, output_hidden_states=True).hidden_states[layer]
    assert expected.shape == (2, 4, 32)
    torch.testing.assert_close(tower(pixels), expected)


def test_the_depth_is_counted_as_transformers_does() -> None:
    assert [selected_depth(27, layer) for layer in (-2, -1, 5)] == [26, 27, 5]
    for layer in (0, 28, -28):
        with pytest.raises(ValueError, match="outside a tower of 27 layers"):
            selected_depth(27, layer)


def test_the_projector_is_mlp2x_gelu() -> None:
    projector = build_projector(32, 48)
    assert [type(part).__name__ for part in projector] == ["Linear", "GELU", "Linear"]
    assert projector(torch.zeros(1, 4, 32)).shape == (1, 4, 48)


OWN = {"image_size": 28, "layers": 3, "width": 32, "head_width": 16, "patch_size": 14}


def timm(name: str) -> dict[str, Any]:
    return {"image_size": 224, "timm_model_name": name, "timm_model_pretrained": False}


@torch.no_grad()
@pytest.mark.parametrize(
    ("vision", "tokens", "width", "class_tokens"),
    [
        pytest.param(OWN, 4, 32, 1, id="vit"),
        pytest.param(timm("vit_tiny_patch16_224") | {"timm_pool": ""}, 196, 192, 1, id="timm"),
        pytest.param(timm("vit_base_patch16_siglip_224") | {"timm_proj": "none"}, 196, 768, 0, id="siglip"),
    ],
)
def test_an_open_clip_model_has_the_same_interface(
    vision: dict[str, Any], tokens: int, width: int, class_tokens: int
) -> None:
    open_clip = pytest.importorskip("open_clip", exc_type=ImportError)
    text = {"context_length": 8, "vocab_size": 32, "width": 32, "heads": 2, "layers": 1}
    model = {"embed_dim": width, "vision_cfg": vision, "text_cfg": text}
    torch.manual_seed(0)
    tower = OpenClipTower(model, -2).eval()
    torch.manual_seed(0)
    whole = open_clip.CustomTextCLIP(**model).eval().visual
    blocks = whole.trunk.blocks if hasattr(whole, "trunk") else whole.transformer.resblocks
    seen = []
    blocks[-2].register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    pixels = torch.randn(2, 3, vision["image_size"], vision["image_size"])
    whole(pixels)
    assert tower.width == width
    assert tower(pixels).shape == (2, tokens, width)
    torch.testing.assert_close(tower(pixels), seen[0][:, class_tokens:])


def test_without_open_clip_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "open_clip", None)
    with pytest.raises(ImportError, match="pip install open_clip_torch"):
        OpenClipTower("ViT-B-16-SigLIP", -2)


@torch.no_grad()
def test_a_shared_tower_reads_the_coarsest_map_of_the_mask_backbone() -> None:
    model = tiny_model(vision_tower="shared", shared_clip_size=64)
    assert model.config.num_image_tokens == 4
    assert model.config.clip_size == 64
    assert not list(model.vision.parameters())
    pixels = torch.randn(2, 3, 64, 64)
    tokens = model.encode_frame(pixels).tokens
    coarsest = model.backbone(pixels)["res5"]
    expected = torch.stack([coarsest[:, :, i, j] for i in range(2) for j in range(2)], dim=1)
    torch.testing.assert_close(tokens, model.projector(expected))
    with pytest.raises(ValueError, match="multiples of 32"):
        model.encode_frame(torch.randn(1, 3, 60, 64))


def test_a_shared_tower_needs_a_size_that_fits_its_stride() -> None:
    with pytest.raises(ValueError, match="shared_clip_size must be a multiple of 32"):
        tiny_model(vision_tower="shared", shared_clip_size=100)


@torch.no_grad()
def test_the_whole_model_runs_on_a_shared_tower() -> None:
    model = tiny_model(vision_tower="shared", shared_clip_size=64)
    output = model(batch(model.config, [(0, 4), (2, 3)]))
    assert output.mask_logits is not None
    assert output.mask_logits.shape[0] == 2
