"""Where a run's model comes from: joined files, or a trained model with new adapters."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from instructseg.config import ModelSource, StartConfig
from instructseg.files import read_json
from instructseg.hub import DRAWN_MODEL
from instructseg.training import build_model
from recipes.nano.language.word_tokenizer import build_tokenizer
from recipes.nano.train import train
from tests.convert.conftest import GOLDEN
from tests.convert.test_mask2former import detectron2, write
from tests.forked import run_in_two

REPOSITORY = Path(__file__).parents[2]
LORA = {"r": 2, "alpha": 4, "dropout": 0.0, "targets": ["q_proj", "v_proj"]}
SIZES = {
    "ovp_queries": 8,
    "ovp_heads": 2,
    "ovp_head_dim": 8,
    "vmtf_dim": 48,
    "vmtf_heads": 2,
    "vmtf_head_dim": 8,
}


@pytest.fixture
def start(tmp_path: Path) -> StartConfig:
    """Mipha and Mask2Former at the size of the golden tensors."""
    tensors = load_file(GOLDEN / "weights.safetensors")
    masks = write(detectron2(tensors), tmp_path / "m2f.pkl")
    mipha = tmp_path / "mipha"
    mipha.mkdir()
    language = ("model.layers", "model.embed", "model.final", "lm_head", "model.vision_tower.", "model.mm_proj")
    save_file({k: v for k, v in tensors.items() if k.startswith(language)}, mipha / "model.safetensors")
    (mipha / "config.json").write_bytes((GOLDEN / "hf_config.json").read_bytes())
    build_tokenizer(["a red ball on the left"], 300).save_pretrained(mipha)
    return StartConfig(str(mipha), str(masks))


def test_files_are_joined_once_and_get_adapters(start: StartConfig, tmp_path: Path) -> None:
    source = ModelSource("preset:instructseg-3b", {**SIZES, "lora": LORA}, start)
    model, processor = build_model(source, 0, tmp_path / "run")
    written = (tmp_path / "run" / "start" / "model.safetensors").stat().st_mtime_ns
    again, _ = build_model(source, 0, tmp_path / "run")
    assert (tmp_path / "run" / "start" / "model.safetensors").stat().st_mtime_ns == written
    state, other = model.state_dict(), again.state_dict()
    assert any("lora_A" in name for name in state) and model.config.lora == LORA
    assert all(torch.equal(state[name], other[name]) for name in state)
    golden = load_file(GOLDEN / "weights.safetensors")
    ours = state["language.model.layers.0.self_attn.k_proj.weight"]
    assert torch.equal(ours, golden["model.layers.0.self_attn.k_proj.weight"])
    assert processor.config.num_mask_queries == model.config.num_queries


def test_a_trained_model_takes_adapters_alone() -> None:
    model, _ = build_model(ModelSource(str(DRAWN_MODEL), {"lora": LORA}), 0)
    learning = {name for name, p in model.language.named_parameters() if p.requires_grad}
    assert learning and all("lora_" in name for name in learning)
    assert next(model.parameters()).dtype == torch.float32
    with pytest.raises(ValueError, match=r"model.overrides.image_size: .* is trained already; only lora"):
        build_model(ModelSource(str(DRAWN_MODEL), {"image_size": 64}), 0)
    with pytest.raises(ValueError, match=r"model.start fills a preset"):
        build_model(ModelSource("somewhere", {}, StartConfig("a", "b")), 0, Path("run"))
    with pytest.raises(ValueError, match=r"model.start is joined in the output folder"):
        build_model(ModelSource("preset:nano", {}, StartConfig("a", "b")), 0)


@pytest.mark.parametrize("resumed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_two_processes_join_the_files_train_and_export(
    resumed: bool, start: StartConfig, tmp_path: Path
) -> None:
    file = tmp_path / "run.yaml"
    overrides = json.dumps({**SIZES, "lora": LORA})
    file.write_text(
        f"recipe: nano\nmodel: {{name: preset:instructseg-3b, overrides: {overrides}, "
        f"start: {{mipha: {start.mipha}, "
        f"mask2former: {start.mask2former}}}}}\n"
        f"output_dir: {tmp_path / 'run'}\n"
        "data: {images_per_batch: 1, expressions_per_scene: 1, scene: {objects: [2, 2]}}\n"
        "criterion: {num_points: 64}\n"
        "train: {max_steps: 1, optim: {trainable: ['*.lora_*']}}\n"
    )
    for more in ([], ["--resume"])[: 1 + resumed]:
        ended = run_in_two(tmp_path, str(REPOSITORY / "train_net.py"), "--config-file", str(file), *more)
        assert [code for code, _, _ in ended] == [0, 0], ended
        assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
        assert sum(err.count("joined") for _, _, err in ended) <= 1
        shutil.rmtree(tmp_path / "run" / "model")


def test_export_merges_the_adapters(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(
        f"recipe: nano\nmodel: {{name: {DRAWN_MODEL}, overrides: {{lora: {json.dumps(LORA)}}}}}\n"
        f"output_dir: {tmp_path / 'run'}\n"
        "data: {images_per_batch: 1, expressions_per_scene: 1}\n"
        "criterion: {num_points: 64}\n"
        "train: {max_steps: 1, ema_decay: 0.0, optim: {lr: 0.1, warmup_steps: 0, trainable: ['*.lora_*']}}\n"
    )
    folder = train(file)
    weights = load_file(folder / "model.safetensors")
    assert not any("lora" in name for name in weights)
    before = load_file(DRAWN_MODEL / "model.safetensors")
    changed = {name for name in weights if not torch.equal(weights[name], before[name].to(weights[name].dtype))}
    assert changed and all(name.endswith(("q_proj.weight", "v_proj.weight")) for name in changed)
    # what was fitted to the weights of before, or met by them, says nothing of these
    exported = read_json(folder / "processor_config.json")
    assert exported["words"] == [] and exported["presence_threshold"] is None
    assert read_json(DRAWN_MODEL / "processor_config.json")["words"]


def test_weights_in_few_bits_are_trained_as_plain_ones() -> None:
    model, _ = build_model(ModelSource("mini"), 0)
    assert model.config.quantize is None
    assert all(weight.is_floating_point() for weight in model.state_dict().values())
