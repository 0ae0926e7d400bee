"""Our own layout, streamed, against transformers' own loading."""

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from instructseg.convert import load_pretrained
from instructseg.convert.own import load_own
from instructseg.model import InstructSeg
from tests.model.conftest import tiny_model


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.bfloat16, "float16"])
@pytest.mark.parametrize("lora", [None, {"r": 2, "alpha": 4, "dropout": 0.0, "targets": ["q_proj"]}])
def test_equals_what_transformers_loads(
    tmp_path: Path, dtype: torch.dtype | str | None, lora: dict | None
) -> None:
    tiny_model(lora=lora).save_pretrained(tmp_path, max_shard_size="50KB")
    theirs = PreTrainedModel.from_pretrained.__func__(InstructSeg, tmp_path, dtype=dtype)
    for ours in (load_own(tmp_path, dtype), InstructSeg.from_pretrained(tmp_path, dtype=dtype)):
        expected = theirs.state_dict()
        assert ours.state_dict().keys() == expected.keys()
        for name, value in ours.state_dict().items():
            assert value.dtype == expected[name].dtype, name
            assert torch.equal(value, expected[name]), name


def test_what_was_found_is_told(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path)
    model, found = InstructSeg.from_pretrained(tmp_path, output_loading_info=True)
    assert isinstance(model, InstructSeg)
    assert not found["missing_keys"]
    assert model.config._name_or_path == str(tmp_path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
        load_pretrained(tmp_path)
