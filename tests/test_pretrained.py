"""Loading a model by name, and errors where that fails."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from instructseg import devices, hub
from instructseg.model import InstructSeg
from instructseg.pretrained import LAYOUTS, from_pretrained, load_pretrained
from instructseg.processing import InstructSegProcessor
from recipes.nano.language.word_tokenizer import build_tokenizer
from tests.inference.conftest import CORPUS, checkpoint, nano

__all__ = ["checkpoint", "nano"]  # fixtures of others, used here


@pytest.fixture
def folder(checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint, to be damaged."""
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def test_a_saved_model_is_loaded(nano: tuple[InstructSeg, InstructSegProcessor], checkpoint: Path) -> None:
    model, processor = load_pretrained(checkpoint, "cpu")
    assert not model.training and model.dtype == torch.float32
    for name, value in nano[0].state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value)
    assert processor.config == nano[1].config


def test_dtype(checkpoint: Path) -> None:
    model, _ = load_pretrained(checkpoint, "cpu", "bfloat16")
    assert model.dtype == torch.bfloat16
    assert {p.dtype for p in model.pixel_decoder.parameters()} == {torch.float32}
    with pytest.raises(ValueError, match="unknown dtype 'fp8': use float32, bfloat16, float16 or auto"):
        load_pretrained(checkpoint, dtype="fp8")


@pytest.mark.parametrize(
    ("native", "seconds", "expected"),
    [(True, 1.0, torch.bfloat16), (True, 2.0, torch.float32), (False, 1.0, torch.float32)],
)
def test_auto_is_half_precision_on_a_cpu_where_that_is_faster(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, native: bool, seconds: float, expected: torch.dtype
) -> None:
    widths = []
    monkeypatch.setattr(devices, "_native_bfloat16", lambda: native)
    monkeypatch.setattr(
        devices,
        "_layer_seconds",
        lambda dtype, width: widths.append(width) or (3.0 if dtype is torch.float32 else seconds),
    )
    model, _ = load_pretrained(checkpoint, "cpu", "auto")
    assert model.dtype == expected
    assert set(widths) == ({model.config.text_config.hidden_size} if native else set())


def test_weights_that_do_not_fit(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def to(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(InstructSeg, "to", to)
    with pytest.raises(
        torch.cuda.OutOfMemoryError, match=r"loading [\d.]+ MiB of weights .*as bfloat16 they .* fit"
    ):
        load_pretrained(checkpoint, "cpu", "float32")


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")],
)
def test_memory_that_runs_out_while_reading_is_no_damage(
    error: Exception, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(InstructSeg, "from_pretrained", read)
    with pytest.raises(torch.cuda.OutOfMemoryError, match=r"out of memory loading [\d.]+ MiB .*with int4 they"):
        load_pretrained(checkpoint, "cpu", "bfloat16", "int8")


def test_a_missing_processor_file_is_an_error(folder: Path) -> None:
    """The words around an instruction change the answer, and only that file has them."""
    (folder / "processor_config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no processor_config\.json in .*: copy it and"):
        load_pretrained(folder, "cpu")


@pytest.mark.parametrize(("key", "value"), [("image_size", 160), ("num_mask_queries", 9), ("max_length", 513)])
def test_a_processor_of_another_model(folder: Path, key: str, value: int) -> None:
    file = folder / "processor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(ValueError, match=rf"{key} is {value} in processor_config\.json"):
        load_pretrained(folder, "cpu")


def test_the_bundled_model_is_the_default(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "DEFAULT_MODEL", checkpoint)
    for name in (None, "nano"):
        model, _ = load_pretrained(name, "cpu")
        assert model.config.num_queries == 10


@pytest.mark.parametrize("name", ["warp", "cuda:99", "meta9", "meta", "hpu"])
def test_unknown_devices(checkpoint: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"device '{name}' cannot be used .*: try cpu or auto") as caught:
        load_pretrained(checkpoint, name)
    assert "\n" not in str(caught.value)


def test_no_checkpoint(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder 'no/such/place'"):
        load_pretrained("no/such/place", "cpu")
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"is no checkpoint: it has no config\.json"):
        load_pretrained(folder, "cpu")


def test_another_model(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ValueError, match="holds a model of type 'bert', not an InstructSeg"):
        load_pretrained(folder, "cpu")
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is not valid JSON"):
        load_pretrained(folder, "cpu")


def test_damaged_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged or not a safetensors file"):
        load_pretrained(folder, "cpu")
    file.unlink()
    with pytest.raises(FileNotFoundError, match="has no weights"):
        load_pretrained(folder, "cpu")


def test_weights_that_are_missing_or_of_another_shape(folder: Path) -> None:
    file = folder / "model.safetensors"
    state = load_file(file)
    lost = "mask_decoder.level_embed.weight"
    save_file({name: value for name, value in state.items() if name != lost}, file, {"format": "pt"})
    with pytest.raises(ValueError, match=f"lack 1 tensors, such as {lost}"):
        load_pretrained(folder, "cpu")
    save_file({**state, lost: torch.zeros(2, 2)}, file, {"format": "pt"})
    sizes = rf"1 tensors of other sizes, such as {lost}: \[2, 2\] in the file, \[{state[lost].shape[0]}, "
    with pytest.raises(ValueError, match=sizes) as caught:
        load_pretrained(folder, "cpu")
    assert "\n" not in str(caught.value)
    save_file({**state, "ovp.more": torch.zeros(1)}, file, {"format": "pt"})
    with pytest.raises(
        ValueError, match=r"1 tensors that its config\.json has no place for, such as ovp\.more"
    ):
        load_pretrained(folder, "cpu")


def test_a_tokenizer_of_another_model(folder: Path) -> None:
    many = [f"{a}{b}{c}" for a in "abcdefghij" for b in "klmnopqrst" for c in "uvwxyzabcdefgh"]
    build_tokenizer(CORPUS + many, 2000).save_pretrained(folder)
    with pytest.raises(ValueError, match="but its model 1536: give the one of that model"):
        load_pretrained(folder, "cpu")


def test_every_model_type_has_a_layout(checkpoint: Path) -> None:
    assert set(LAYOUTS) == {"instructseg", "mipha_phi"}
    for name in ("subfolder", "variant", "gguf_file"):
        options: Any = {name: "x"}
        with pytest.raises(ValueError, match=f"{name} is not supported: give the folder"):
            from_pretrained(checkpoint, **options)


def test_quantized_while_read_by_every_call(checkpoint: Path) -> None:
    model = from_pretrained(checkpoint, quantize="int8")
    assert model.config.quantize == "int8" and model.processor is not None and not model.training
    old: Any = {"quantise": "int8"}
    with pytest.warns(DeprecationWarning, match="quantise= is now quantize="):
        again, _ = load_pretrained(checkpoint, "cpu", **old)
    for name, value in again.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
