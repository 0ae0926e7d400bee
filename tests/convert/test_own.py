"""Our own layout, streamed, against transformers' own loading."""

from pathlib import Path

import pytest
import torch

from instructseg.convert.own import load_own
from instructseg.model import InstructSeg
from instructseg.model.quantized import quantize_model
from instructseg.pretrained import from_pretrained
from tests.model.conftest import tiny_model


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.bfloat16, "float16"])
@pytest.mark.parametrize("lora", [None, {"r": 2, "alpha": 4, "dropout": 0.0, "targets": ["q_proj"]}])
def test_equals_the_weights_that_transformers_loads(
    tmp_path: Path, dtype: torch.dtype | str | None, lora: dict | None
) -> None:
    tiny_model(lora=lora).save_pretrained(tmp_path, max_shard_size="50KB")
    theirs = InstructSeg.from_pretrained(tmp_path, dtype=dtype)
    for ours in (load_own(tmp_path, dtype), from_pretrained(tmp_path, dtype=dtype)):
        expected = theirs.state_dict()
        assert ours.state_dict().keys() == expected.keys()
        for name, value in ours.state_dict().items():
            assert value.dtype == expected[name].dtype, name
            assert torch.equal(value, expected[name]), name


def test_a_quantized_folder_is_loaded_by_transformers_alone(tmp_path: Path) -> None:
    model = tiny_model()
    quantize_model(model, "int8")
    model.save_pretrained(tmp_path)
    found = InstructSeg.from_pretrained(tmp_path).state_dict()
    for name, value in model.state_dict().items():
        assert value.dtype == found[name].dtype and torch.equal(value, found[name]), name


def test_transformers_alone_neither_quantizes_nor_guesses_a_layout(tmp_path: Path) -> None:
    for name in ("quantize", "quantise"):
        with pytest.raises(TypeError, match=f"{name} is an option of instructseg.from_pretrained"):
            InstructSeg.from_pretrained(tmp_path, **{name: "int8"})
    (tmp_path / "config.json").write_text('{"model_type": "mipha_phi"}')
    with pytest.raises(ValueError, match=r"type 'mipha_phi' is none of this layout.*instructseg\.from"):
        InstructSeg.from_pretrained(tmp_path)


def test_loading_info_is_returned(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path)
    model, found = from_pretrained(tmp_path, output_loading_info=True)
    assert isinstance(model, InstructSeg)
    assert not found["missing_keys"]
    assert model.config._name_or_path == str(tmp_path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
        from_pretrained(tmp_path)
