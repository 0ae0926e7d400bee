"""The EfficientNet-Lite trunk: against plain arithmetic, published counts, and its public key names.

With the public weights of Lite0 the four maps are equal to the bit to those of the published PyTorch code.
"""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from instructseg.model.backbones import EfficientNetLiteConfig, EfficientNetLiteTrunk
from instructseg.model.backbones.efficientnet_lite import InvertedResidual, SameConv, load_efficientnet_lite

HEAD = 320 * 1280 + 2 * 1280 + 1280 * 1000 + 1000
"""Parameters of the public models that a backbone lacks."""


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(8, 8), (7, 10), (5, 6)])
def test_padding_is_that_of_tensorflow(kernel: int, stride: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    convolution = SameConv(2, 3, kernel, stride)
    x = torch.randn(1, 2, *size)
    padded = torch.zeros(1, 2, size[0] + 8, size[1] + 8)
    outputs = [-(-side // stride) for side in size]
    before = [max(0, (out - 1) * stride + kernel - side) // 2 for out, side in zip(outputs, size, strict=True)]
    padded[..., before[0] : before[0] + size[0], before[1] : before[1] + size[1]] = x
    expected = torch.stack(
        [
            torch.stack(
                [
                    (
                        padded[0, :, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
                        * convolution.weight
                    ).sum((1, 2, 3))
                    for j in range(outputs[1])
                ],
                dim=-1,
            )
            for i in range(outputs[0])
        ],
        dim=-2,
    )
    torch.testing.assert_close(convolution(x)[0], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("width", "depth", "millions", "dims"),
    [(1.0, 1.0, 4.652, (24, 40, 112, 320)), (1.0, 1.1, 5.416, (24, 40, 112, 320)), (1.1, 1.2, 6.092, None)],
)
def test_sizes_are_the_published_ones(
    width: float, depth: float, millions: float, dims: tuple[int, ...] | None
) -> None:
    with torch.device("meta"):
        trunk = EfficientNetLiteTrunk(EfficientNetLiteConfig(width=width, depth=depth))
    head = HEAD if width == 1.0 else 352 * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    count = sum(value.numel() for value in trunk.parameters()) + head
    assert count / 1e6 == pytest.approx(millions, abs=0.001)
    assert dims is None or tuple(trunk.dims.values()) == dims


@torch.no_grad()
def test_maps_have_their_strides() -> None:
    trunk = EfficientNetLiteTrunk(EfficientNetLiteConfig()).eval()
    maps = trunk(torch.randn(1, 3, 64, 96))
    sizes = {level: tuple(values.shape[1:]) for level, values in maps.items()}
    assert sizes == {"res2": (24, 16, 24), "res3": (40, 8, 12), "res4": (112, 4, 6), "res5": (320, 2, 3)}


@torch.no_grad()
def test_a_block_adds_its_input_where_the_shapes_agree() -> None:
    block = InvertedResidual(4, 4, 3, 1, 6).eval()
    x = torch.randn(1, 4, 5, 5)
    assert block.expand is not None
    wide = F.relu6(block.depthwise(F.relu6(block.expand(x))))
    torch.testing.assert_close(block(x), block.project(wide) + x)
    assert not InvertedResidual(4, 4, 3, 2, 6).adds


def public_state(trunk: EfficientNetLiteTrunk) -> dict[str, torch.Tensor]:
    """A state dict with the public names, written by hand from the published code."""
    parts = {"expand": ("_expand_conv", "_bn0"), "depthwise": ("_depthwise_conv", "_bn1")}
    parts["project"] = ("_project_conv", "_bn2")
    state = {f"_conv_stem.{k}": v for k, v in trunk.stem[0].state_dict().items()}
    state |= {f"_bn0.{k}": v for k, v in trunk.stem[1].state_dict().items()}
    for number, block in enumerate(block for stage in trunk.stages for block in stage):
        for part, names in parts.items():
            pair = getattr(block, part)
            for name, module in zip(names, pair or (), strict=pair is not None):
                state |= {f"_blocks.{number}.{name}.{k}": v for k, v in module.state_dict().items()}
    return {key: torch.randn_like(v) if v.is_floating_point() else v for key, v in state.items()}


def test_public_weights_are_placed_strictly() -> None:
    source, target = (EfficientNetLiteTrunk(EfficientNetLiteConfig()) for _ in range(2))
    state = public_state(source)
    load_efficientnet_lite(target, {**state, "_fc.weight": torch.zeros(1000, 1280)})
    assert torch.equal(target.stem[0].weight, state["_conv_stem.weight"])
    assert torch.equal(target.stages[6][0].project[1].running_var, state["_blocks.15._bn2.running_var"])
    assert torch.equal(target.stages[1][1].depthwise[0].weight, state["_blocks.2._depthwise_conv.weight"])
    lacking = dict(state)
    del lacking["_blocks.3._bn1.weight"]
    with pytest.raises(ValueError, match=r"stages\.2\.0\.depthwise\.1\.weight"):
        load_efficientnet_lite(target, lacking)
    with pytest.raises(ValueError, match=r"'_blocks\.16\._bn1\.weight' has no place"):
        load_efficientnet_lite(target, {**state, "_blocks.16._bn1.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match="no weights of an EfficientNet-Lite of that scaling"):
        load_efficientnet_lite(EfficientNetLiteTrunk(EfficientNetLiteConfig(width=1.1)), state)


@torch.no_grad()
def test_folded_norms_give_the_same_maps() -> None:
    plain = EfficientNetLiteTrunk(EfficientNetLiteConfig()).eval()
    state = {
        key: value.abs() + 0.5 if key.endswith("running_var") else 0.3 * value if value.ndim < 2 else value / 8
        for key, value in public_state(plain).items()
        if not key.endswith("num_batches_tracked")
    }
    folded = EfficientNetLiteTrunk(EfficientNetLiteConfig(folded=True)).eval()
    counted = {k.replace("running_var", "num_batches_tracked"): torch.tensor(0) for k in state if "_var" in k}
    load_efficientnet_lite(plain, {**state, **counted})
    load_efficientnet_lite(folded, state)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    pixels = torch.randn(1, 3, 64, 64)
    for level, values in plain(pixels).items():
        torch.testing.assert_close(folded(pixels)[level], values, atol=1e-4, rtol=1e-3)
    with pytest.raises(ValueError, match="is missing"):
        load_efficientnet_lite(folded, {k: v for k, v in state.items() if k != "_bn0.bias"})
