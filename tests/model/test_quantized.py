"""Quantized layers against plain loops and against the layers they replace; loading against quantizing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from instructseg.model import InstructSeg, quantized
from instructseg.model.quantized import (
    GROUP,
    LAYERS,
    Int4Linear,
    Int8Linear,
    dequantize_model,
    is_block_weight,
    quantize_language,
    quantize_model,
)
from instructseg.model.weight_size import weight_bytes
from instructseg.pretrained import from_pretrained
from tests.model.conftest import batch, tiny_model


def layer_of(kind: str, linear: nn.Linear) -> Int8Linear | Int4Linear:
    """The quantized layer that takes the place of ``linear``."""
    layer = LAYERS[kind](linear.in_features, linear.out_features)
    for name, value in layer.quantize(linear.weight.detach()).items():
        setattr(layer, name, value)
    layer.bias = linear.bias
    return layer


def test_int8_weights_are_off_by_half_a_step() -> None:
    weight = torch.randn(6, 10, generator=torch.Generator().manual_seed(0))
    found = Int8Linear.quantize(weight)
    for channel in range(6):
        step = max(abs(float(value)) for value in weight[channel]) / 127
        for column in range(10):
            restored = int(found["weight"][channel, column]) * float(found["scale"][channel])
            assert abs(restored - float(weight[channel, column])) <= step / 2 + 1e-6


def test_int4_weights_by_a_plain_loop() -> None:
    weight = torch.randn(3, 2 * GROUP, generator=torch.Generator().manual_seed(0))
    layer = layer_of("int4", nn.Linear(2 * GROUP, 3).requires_grad_(False))
    for name, value in Int4Linear.quantize(weight).items():
        setattr(layer, name, value)
    restored = layer.dequantize()
    for channel in range(3):
        for first in range(0, 2 * GROUP, GROUP):
            group = [float(value) for value in weight[channel, first : first + GROUP]]
            scale = max(group, key=abs) / -8
            for column, value in enumerate(group):
                steps = min(7, max(-8, round(value / scale)))
                assert float(restored[channel, first + column]) == pytest.approx(steps * scale, abs=1e-6)


@pytest.mark.parametrize("integers", [True, False])
@pytest.mark.parametrize(("kind", "bound"), [("int8", 0.015), ("int4", 0.10)])
@pytest.mark.parametrize("shape", [(1, 64), (3, 700, 64)])  # more rows than one piece
def test_the_product(
    kind: str, bound: float, shape: tuple[int, ...], integers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantized, "_has_vnni", lambda: integers)
    torch.manual_seed(0)
    linear = nn.Linear(64, 600).requires_grad_(False)
    x = torch.randn(shape)
    layer, wanted = layer_of(kind, linear), linear(x)
    exact = torch.nn.functional.linear(x, layer.dequantize(), linear.bias)
    assert layer(x).shape == wanted.shape
    assert (layer(x) - wanted).norm() / wanted.norm() < bound
    assert (layer(x) - exact).norm() / exact.norm() < 0.01  # rounding of the inputs alone
    assert layer(x.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_zeros_stay_zeros(kind: str) -> None:
    layer = layer_of(kind, nn.Linear(32, 8, bias=False).requires_grad_(False))
    for name, value in layer.quantize(torch.zeros(8, 32)).items():
        setattr(layer, name, value)
    layer.bias = None
    assert torch.equal(layer(torch.randn(4, 32)), torch.zeros(4, 8))
    assert torch.equal(layer(torch.zeros(4, 32)), torch.zeros(4, 8))


@pytest.mark.parametrize(("kind", "bound"), [("int8", 0.05), ("int4", 0.4)])
def test_only_the_blocks_are_quantized(kind: str, bound: float) -> None:
    model, inputs = tiny_model(), batch(tiny_model().config, [(1, 5)])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.inference_mode():
        wanted = model(inputs)
        quantize_model(model, kind)
        found = model(inputs)
    assert wanted.mask_logits is not None and found.mask_logits is not None
    error = (found.mask_logits - wanted.mask_logits).norm() / wanted.mask_logits.norm()
    assert 0 < error < bound
    after = model.state_dict()
    small = {name for name, value in after.items() if not value.is_floating_point() and name in before}
    assert {name for name in small if before[name].is_floating_point()} == set(filter(is_block_weight, before))
    assert sum(map(is_block_weight, before)) == 6 * 2  # two blocks
    assert model.config.quantize == kind


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_quantizing_while_reading_is_quantizing_in_memory(kind: str, tmp_path: Path) -> None:
    model = tiny_model()
    model.save_pretrained(tmp_path / "full")
    read = from_pretrained(tmp_path / "full", quantize=kind)
    quantize_model(model, kind)
    read.save_pretrained(tmp_path / "small")
    stored = InstructSeg.from_pretrained(tmp_path / "small")
    for one in (read, stored):
        assert one.config.quantize == kind
        state = one.state_dict()
        assert state.keys() == model.state_dict().keys()
        for name, value in model.state_dict().items():
            assert state[name].dtype == value.dtype and torch.equal(state[name], value), name


BERT: dict[str, object] = {
    "model_type": "bert", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 2, "vocab_size": 60, "max_position_embeddings": 512,
}  # fmt: skip


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_the_word_table_of_an_encoder_is_quantized_too(kind: str, tmp_path: Path) -> None:
    model = tiny_model(text_config=BERT)
    table = model.language.word_table().weight.detach().clone()
    model.save_pretrained(tmp_path / "full")
    expected = weight_bytes(model.config, torch.float32, kind)
    quantize_model(model, kind)
    ids = torch.tensor([[3, 7], [0, 59]])
    rows = model.language.word_table()(ids)
    step = table.abs().amax(1) / 127
    assert ((rows - table[ids]).abs().amax(-1) <= step[ids] / 2 + 1e-6).all()
    read = from_pretrained(tmp_path / "full", quantize=kind)
    model.save_pretrained(tmp_path / "small")
    stored = InstructSeg.from_pretrained(tmp_path / "small")
    for one in (read, stored):
        for name, value in model.state_dict().items():
            assert torch.equal(one.state_dict()[name], value), name
    held = sum(v.nbytes for name, v in model.state_dict().items() if name.startswith("language."))
    assert held == expected["language"]


@pytest.mark.parametrize("kind", ["int8", "int4"])
@pytest.mark.parametrize("text", [{}, BERT])
def test_a_dequantized_model_has_the_same_values_and_learns(kind: str, text: dict[str, object]) -> None:
    model = tiny_model(**({"text_config": text} if text else {}))
    names = model.state_dict().keys()
    quantize_model(model, kind)
    layers = {
        name: layer for name, layer in model.named_modules() if isinstance(layer, (Int8Linear, Int4Linear))
    }
    values = {name: layer.dequantize() for name, layer in layers.items()}
    dequantize_model(model)
    assert model.config.quantize is None and model.state_dict().keys() == names
    for name, value in values.items():
        assert torch.equal(model.get_submodule(name).weight, value), name
    output = model(batch(model.config, [(1, 5)]))
    output.mask_logits.sum().backward()
    learned = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert {f"{name}.weight" for name in values} <= learned
    before = model.state_dict()
    dequantize_model(model)  # nothing is left to do
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_adapters_are_merged_first(tmp_path: Path) -> None:
    lora = {"r": 2, "alpha": 4, "dropout": 0.0, "targets": ["q_proj", "v_proj"]}
    model = tiny_model(lora=lora)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="merge its LoRA adapters first"):
        quantize_language(model.language, "int8")
    read = from_pretrained(tmp_path, quantize="int8")
    quantize_model(model, "int8")
    for name, value in model.state_dict().items():
        torch.testing.assert_close(read.state_dict()[name], value)


def test_invalid_quantizations_are_refused(tmp_path: Path) -> None:
    model = tiny_model()
    with pytest.raises(ValueError, match="unknown quantization 'int2': use int8 or int4"):
        quantize_model(model, "int2")
    quantize_model(model, "int8")
    with pytest.raises(ValueError, match=r"quantized already \(int8\): load full weights"):
        quantize_model(model, "int8")
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is stored as int8, which cannot become int4"):
        from_pretrained(tmp_path, quantize="int4")
    with pytest.raises(ValueError, match="int4 needs a multiple of 32 inputs, not 40: use int8"):
        Int4Linear(40, 8)
