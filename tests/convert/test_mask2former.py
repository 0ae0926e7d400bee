"""Mask2Former's names and Mipha's; what the mask branch computes is proven by ``tests/golden_check.py``."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from instructseg.convert import assemble_training_start, load_mask2former, load_official
from instructseg.convert.mipha import counted
from instructseg.pretrained import from_pretrained

Tensors = dict[str, torch.Tensor]


def detectron2(official: Tensors, legacy: bool = False, rows: int | None = None) -> Tensors:
    """The mask branch of an official checkpoint as Mask2Former's own code saves it."""
    renamed = {}
    for name, tensor in official.items():
        name = re.sub(r"^model\.vision_tower_mask\.", "backbone.", name)
        name = re.sub(r"^(pixel_decoder|predictor)\.", r"sem_seg_head.\1.", name)
        name = re.sub(r"((?:adapter|layer)_1)\.0\.weight$", r"\1.weight", name)
        name = re.sub(r"((?:adapter|layer)_1)\.1\.", r"\1.norm.", name)
        if legacy:
            name = name.replace("query_feat", "static_query").replace(
                "sem_seg_head.pixel_decoder.", "sem_seg_head."
            )
        of_branch = name.startswith(("backbone.", "sem_seg_head."))
        if of_branch and not re.search(r"(adapter|layer)_1\.0\.bias|SEG_", name):
            renamed[name] = tensor
    renamed["sem_seg_head.predictor.class_embed.weight"] = torch.zeros(8, 64)
    renamed["criterion.empty_weight"] = torch.ones(8)
    if rows is not None:
        for name in ("query_embed", "query_feat"):
            renamed[f"sem_seg_head.predictor.{name}.weight"] = torch.randn(rows, 64)
    return renamed


def write(tensors: Tensors, file: Path) -> Path:
    if file.suffix == ".pkl":
        file.write_bytes(pickle.dumps({"model": {k: v.numpy() for k, v in tensors.items()}, "matching": True}))
    elif file.suffix == ".pth":
        torch.save({"model": tensors}, file)
    else:
        save_file(tensors, file)
    return file


@pytest.mark.parametrize("form", ["m2f.pkl", "m2f.pth", "m2f.safetensors", "legacy.pkl"])
def test_the_branch_is_that_of_the_official_checkpoint(
    form: str, official: Path, official_tensors: Tensors, tmp_path: Path
) -> None:
    file = write(detectron2(official_tensors, legacy=form.startswith("legacy")), tmp_path / form)
    found = load_mask2former(file)
    wanted = load_official(official).state_dict()
    new = {"pixel_decoder.decoder.adapter_1.0.bias", "pixel_decoder.decoder.layer_1.0.bias"}
    branch = {name for name in wanted if name.startswith(("backbone.", "pixel_decoder.", "mask_decoder."))}
    absent = {
        name for name in branch if name.startswith(("mask_decoder.query_proj", "mask_decoder.score_proj"))
    }
    assert set(found.state) == branch - absent
    for name, tensor in found.state.items():
        assert torch.equal(tensor, torch.zeros(64) if name in new else wanted[name]), name
    assert found.fields["backbone_config"]["depths"] == [2, 2, 2, 2]
    assert found.dropped["criterion.empty_weight"] == "part of the loss"
    assert any("class_embed" in name for name in found.dropped)


def test_plain_lateral_and_learned_queries(official_tensors: Tensors, tmp_path: Path) -> None:
    file = write(detectron2(official_tensors), tmp_path / "m2f.pkl")
    found = load_mask2former(file, "plain", learned_queries=True)
    assert "pixel_decoder.decoder.adapter_1.0.bias" not in found.state
    content = found.state["mask_decoder.query_content.weight"]
    assert torch.equal(content, official_tensors["predictor.query_feat.weight"])


@pytest.mark.parametrize(("rows", "asked", "taken"), [(200, None, 100), (100, None, 100), (200, 7, 7)])
def test_the_first_queries_are_taken(
    rows: int, asked: int | None, taken: int, official_tensors: Tensors, tmp_path: Path
) -> None:
    tensors = detectron2(official_tensors, rows=rows)
    found = load_mask2former(write(tensors, tmp_path / "m2f.pkl"), num_queries=asked)
    position = found.state["mask_decoder.query_position.weight"]
    assert torch.equal(position, tensors["sem_seg_head.predictor.query_embed.weight"][:taken])
    with pytest.raises(ValueError, match=f"has {rows} queries; 300 were asked for"):
        load_mask2former(tmp_path / "m2f.pkl", num_queries=300)


def test_other_checkpoints_are_refused(official_tensors: Tensors, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a Mask2Former checkpoint"):
        load_mask2former(write({"x": torch.zeros(1)}, tmp_path / "x.pkl"))
    resnet = {**detectron2(official_tensors), "backbone.stem.conv1.weight": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"stem\.conv1\.weight \[1\]: not a name"):
        load_mask2former(write(resnet, tmp_path / "r.pkl"))


@pytest.mark.parametrize("other_tower", [False, True])
def test_the_start_of_training(
    other_tower: bool, official: Path, official_tensors: Tensors, tmp_path: Path
) -> None:
    masks = write(detectron2(official_tensors), tmp_path / "m2f.pkl")
    mipha = tmp_path / "mipha"
    mipha.mkdir()
    language = ("model.layers", "model.embed", "model.final", "lm_head", "model.vision_tower.", "model.mm_proj")
    tensors = {k: v for k, v in official_tensors.items() if k.startswith(language)}
    save_file({**tensors, "lm_head.bias": torch.zeros(352)}, mipha / "model.safetensors")
    config = json.loads((official / "config.json").read_text())
    (mipha / "config.json").write_text(json.dumps(config))
    tower = None
    if other_tower:
        names = {
            k.removeprefix("model.vision_tower."): v + 1 for k, v in tensors.items() if ".vision_tower." in k
        }
        tower = write({**names, "logit_scale": torch.ones(1)}, tmp_path / "siglip.safetensors")
    sizes: dict[str, Any] = {
        "ovp_queries": 8,
        "ovp_heads": 2,
        "ovp_head_dim": 8,
        "vmtf_dim": 48,
        "vmtf_heads": 2,
        "vmtf_head_dim": 8,
    }
    origins = assemble_training_start(mipha, tower, masks, tmp_path / "start", **sizes)
    fresh = [name for name, origin in origins.items() if origin == "fresh"]
    assert all(name.startswith(("ovp.", "vmtf.", "mask_queries", "mask_decoder.")) for name in fresh)
    assert origins["backbone.swin.hidden_states_norms.stage1.bias"] == "mask2former"
    model, wanted = from_pretrained(tmp_path / "start"), load_official(official).state_dict()
    state = model.state_dict()
    assert state.keys() == origins.keys()
    for name, origin in origins.items():
        if origin == "siglip":
            assert torch.equal(state[name], wanted[name] + 1)
        elif origin != "fresh" and "_1.0.bias" not in name:
            assert torch.equal(state[name], wanted[name]), name
        assert bool(state[name].isfinite().all())
    assert float(state["mask_queries"].std()) > 0
    assert ("siglip" in origins.values()) is other_tower
    assert f"{len(fresh)} tensors from fresh" in counted(origins)
    assert load_file(tmp_path / "start" / "model.safetensors").keys() == state.keys()
