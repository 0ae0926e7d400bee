"""The official checkpoint in and out; what it computes is proven by ``tests/test_golden.py``."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from instructseg.convert import convert_official, export_official, load_official, writers
from instructseg.convert.official import UNUSED_FILE
from instructseg.model import InstructSeg, preset
from instructseg.pretrained import from_pretrained

Tensors = dict[str, torch.Tensor]


def assert_equal(found: Tensors, wanted: Tensors) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor), name


def test_there_and_back_bit_by_bit(official: Path, official_tensors: Tensors, tmp_path: Path) -> None:
    found = convert_official(official, tmp_path / "ours")
    assert set(load_file(tmp_path / "ours" / UNUSED_FILE)) == set(found.dropped)
    assert (tmp_path / "ours" / "tokenizer_config.json").is_file()
    assert export_official(tmp_path / "ours", tmp_path / "back") == []
    assert_equal(load_file(tmp_path / "back" / "model.safetensors"), official_tensors)
    before, after = ((folder / "config.json").read_text() for folder in (official, tmp_path / "back"))
    assert json.loads(before) == json.loads(after)


def test_the_three_ways_of_loading_agree(official: Path, tmp_path: Path) -> None:
    convert_official(official, tmp_path / "ours")
    wanted = load_official(official).state_dict()
    assert_equal(from_pretrained(official).state_dict(), wanted)
    assert_equal(InstructSeg.from_pretrained(tmp_path / "ours").state_dict(), wanted)
    assert not from_pretrained(official).training


def test_shards(
    official: Path, official_tensors: Tensors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "SHARD_BYTES", 1 << 20)
    convert_official(official, tmp_path / "ours")
    assert len(list((tmp_path / "ours").glob("model-*.safetensors"))) > 3
    assert_equal(from_pretrained(tmp_path / "ours").state_dict(), load_official(official).state_dict())
    export_official(tmp_path / "ours", tmp_path / "back")
    shards = [load_file(file) for file in (tmp_path / "back").glob("model-*.safetensors")]
    assert_equal({name: tensor for shard in shards for name, tensor in shard.items()}, official_tensors)


def test_a_trained_model_is_exported_with_zeros_for_unused_tensors(official: Path, tmp_path: Path) -> None:
    load_official(official).save_pretrained(tmp_path / "trained")
    with pytest.warns(UserWarning, match="unused tensors are zeros"):
        zeros = export_official(tmp_path / "trained", tmp_path / "back")
    assert "predictor.query_feat.weight" in zeros
    wanted, found = (
        load_file(official / "model.safetensors"),
        load_file(tmp_path / "back" / "model.safetensors"),
    )
    assert_equal(found, {k: torch.zeros_like(v) if k in zeros else v for k, v in wanted.items()})
    assert_equal(load_official(tmp_path / "back").state_dict(), load_official(official).state_dict())


def test_a_fresh_model_keeps_its_names(tmp_path: Path) -> None:
    model = InstructSeg(preset("nano"))
    model.save_pretrained(tmp_path)
    assert set(load_file(tmp_path / "model.safetensors")) == set(model.state_dict())


def test_extensions_are_not_exported(tmp_path: Path) -> None:
    InstructSeg(preset("nano")).save_pretrained(tmp_path / "nano")
    with pytest.raises(ValueError, match="vmtf_mode is 'paper', not 'released'"):
        export_official(tmp_path / "nano", tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("default", ["", ".default"])
@pytest.mark.parametrize("base", ["", ".base_layer"])
@pytest.mark.parametrize("alpha", [None, 4])
def test_unmerged_adapters(
    default: str, base: str, alpha: int | None, official: Path, official_tensors: Tensors
) -> None:
    name = "model.layers.1.self_attn.q_proj"
    a, b = torch.randn(8, 64), torch.randn(64, 8)
    prefix = "base_model.model."
    tensors = {prefix + key: value for key, value in official_tensors.items()}
    for kind in ("weight", "bias"):
        tensors[f"{prefix}{name}{base}.{kind}"] = tensors.pop(f"{prefix}{name}.{kind}")
    tensors[f"{prefix}{name}.lora_A{default}.weight"] = a
    tensors[f"{prefix}{name}.lora_B{default}.weight"] = b
    save_file(tensors, official / "model.safetensors")
    if alpha is not None:
        (official / "adapter_config.json").write_text(json.dumps({"r": 8, "lora_alpha": alpha}))
    wanted = official_tensors[f"{name}.weight"] + (alpha or 16) / 8 * (b @ a)
    torch.testing.assert_close(load_official(official).get_parameter(f"language.{name}.weight"), wanted)


@pytest.mark.parametrize("alpha", [16, 6])
def test_adapters_of_our_layout_are_merged_on_export(alpha: int, official: Path, tmp_path: Path) -> None:
    lora = {"r": 4, "alpha": alpha, "dropout": 0.0, "targets": ["q_proj"]}
    config = load_official(official).config
    config.lora = lora
    model = InstructSeg(config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    model.save_pretrained(tmp_path / "ours")
    with pytest.warns(UserWarning):
        export_official(tmp_path / "ours", tmp_path / "back")
    wanted = model.merge_lora().state_dict()
    found = load_official(tmp_path / "back").state_dict()
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor)


def test_half_an_adapter_is_refused(official: Path, official_tensors: Tensors) -> None:
    extra = {"model.layers.0.self_attn.q_proj.lora_A.weight": torch.zeros(8, 64)}
    save_file({**official_tensors, **extra}, official / "model.safetensors")
    with pytest.raises(ValueError, match="has half an adapter"):
        load_official(official)


def test_types(official: Path, official_tensors: Tensors) -> None:
    mixed = {
        name: tensor.half() if name.startswith(("model.layers", "lm_head", "model.embed")) else tensor
        for name, tensor in official_tensors.items()
    }
    save_file(mixed, official / "model.safetensors")
    assert load_official(official).dtype == torch.float32  # of most values
    model = load_official(official, dtype="bfloat16")
    assert model.projector[0].weight.dtype == torch.bfloat16
    kept = model.pixel_decoder.decoder.mask_projection.weight
    assert torch.equal(kept, official_tensors["pixel_decoder.mask_features.weight"])


def test_sizes_come_from_shapes_where_the_file_is_silent(official: Path) -> None:
    config = json.loads((official / "config.json").read_text())
    silent = {name: value for name, value in config.items() if not name.startswith("o_")}
    (official / "config.json").write_text(json.dumps({**silent, "vocab_size": 51200}))
    found: Any = load_official(official, ovp_heads=2, ovp_head_dim=16, vmtf_heads=2, vmtf_head_dim=12).config
    assert (found.text_config.vocab_size, found.lm_head_size) == (320, 352)
    assert (found.ovp_queries, found.ovp_depth, found.vmtf_dim, found.num_queries) == (8, 3, 48, 10)
    assert (found.pixel_decoder_ff, found.decoder_layers, found.decoder_ff) == (96, 4, 128)
    assert (found.backbone_config.window_size, found.backbone_config.num_heads) == (4, [1, 2, 4, 8])


def test_ablations_load(official: Path) -> None:
    model = load_official(official, use_ovp=False, vmtf_mode="paper")
    assert model.ovp is None and model.vmtf.mode == "paper"


def test_missing_files_and_tensors_are_named(official: Path, official_tensors: Tensors, tmp_path: Path) -> None:
    rest = {name: tensor for name, tensor in official_tensors.items() if name != "predictor.level_embed.weight"}
    save_file(rest, official / "model.safetensors")
    with pytest.raises(ValueError, match=r"fills it \(predictor\.level_embed\.weight is missing\)"):
        load_official(official)
    save_file({"seg_query": official_tensors["seg_query"]}, official / "model.safetensors")
    with pytest.raises(ValueError, match="not a whole InstructSeg checkpoint"):
        load_official(official)
    (official / "config.json").write_text("{")
    with pytest.raises(ValueError, match="not valid JSON"):
        load_official(official)
    with pytest.raises(FileNotFoundError, match=r"no folder .* no name of a hub repository"):
        from_pretrained(tmp_path / "no" / "such")
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        from_pretrained(tmp_path)


def test_written_files_are_readable_by_others(official: Path, tmp_path: Path) -> None:
    (official / "config.json").chmod(0o600)
    convert_official(official, tmp_path / "ours")
    export_official(tmp_path / "ours", tmp_path / "back")
    (tmp_path / "plain").write_text("made as any file")
    (tmp_path / "folder").mkdir()
    modes = [(tmp_path / name).stat().st_mode for name in ("folder", "plain")]
    for folder in (tmp_path / "ours", tmp_path / "back"):
        assert folder.stat().st_mode == modes[0]
        assert {
            path.name: path.stat().st_mode for path in folder.iterdir() if path.stat().st_mode != modes[1]
        } == {}


def test_sources_are_not_overwritten(official: Path) -> None:
    for target in (official, official.parent):
        with pytest.raises(ValueError, match="which is read: choose another place"):
            convert_official(official, target, overwrite=True)
    assert (official / "model.safetensors").is_file()


def test_the_target_is_whole_or_absent(official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "ours"
    target.mkdir()
    (target / "precious").write_text("x")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        convert_official(official, target)
    assert (target / "precious").is_file()
    convert_official(official, target, overwrite=True)
    assert not (target / "precious").exists()
    shutil.rmtree(target)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(writers.shutil, "disk_usage", lambda _: usage(10, 9, 1))
    with pytest.raises(OSError, match="not enough room"):
        convert_official(official, target)
    monkeypatch.undo()

    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(writers, "save_file", full)
    with pytest.raises(OSError, match="is the disk full"):
        convert_official(official, target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["official"]
