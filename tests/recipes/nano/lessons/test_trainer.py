"""A model taught in lessons, stage by stage, from one configuration."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from instructseg.config import ModelSource, RunConfig
from instructseg.training import build_model
from instructseg.training.run import check_stage
from recipes.nano.config import load_config
from recipes.nano.lessons.trainer import lesson_trainer
from recipes.nano.train import train
from tests.forked import Program

CONFIG = """
recipe: nano
model: {name: preset:nano}
output_dir: OUT
data:
  images_per_batch: 2
  expressions_per_scene: 2
  scene: {height: [64, 72], width: [64, 72], objects: [2, 2]}
criterion: {num_points: 64}
train: {max_steps: 2, log_every: 1, save_every: 0, optim: {method: muon, lr: 1.0e-3}}
stages:
  patches: {lesson: patches, train: {optim: {trainable: [model.vision]}}, check: {shape: 0.0}}
  names: {lesson: names, train: {optim: {trainable: [model.backbone, heads]}}}
  masks: {lesson: masks, train: {optim: {trainable: [model.pixel_decoder, model.mask_decoder, heads]}}}
  reading:
    lesson: reading
    data: {patches: 20, clip_share: 0.5, clip_kinds: {motion: 1}}
  whole: {train: {max_steps: 1}}
"""


def test_words_come_before_and_behind_options(tmp_path: Path) -> None:
    words = ["trian.seed=1", "--resume", f"output_dir={tmp_path}"]
    root = Path(__file__).parents[4]
    program = [str(root / "train_net.py"), "--config-file", str(root / "configs/nano.yaml")]
    _, _, err = Program(tmp_path, *program, *words).ended()
    assert "trian: unknown key" in err


def test_a_lesson_passes_over_what_only_a_joint_stage_measures(tmp_path: Path) -> None:
    words = ["train.best=image/all/giou", "train.final=best", "train.eval_every=100", "train.patience=2"]
    stage = load_config(Path(__file__).parents[4] / "configs/nano.yaml", words).stages["patches"]
    model, processor = build_model(stage.model, 0)
    trained = lesson_trainer(stage, tmp_path, processor, model).config
    assert (trained.best, trained.final, trained.eval_every, trained.patience) == (None, "last", 0, 0)


def test_lessons_hand_on_the_model_without_their_heads(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(CONFIG.replace("OUT", str(tmp_path / "run")))
    folder = train(file)
    finals = {
        name: load_file(tmp_path / "run" / name / "final" / "model.safetensors")
        for name in ("patches", "names", "masks", "reading", "whole")
    }
    names = set(finals["whole"])
    assert all(set(weights) == names for weights in finals.values())

    def changed(one: str, two: str) -> set[str]:
        parts = [n for n in names if not torch.equal(finals[one][n], finals[two][n])]
        return {part.split(".")[0] for part in parts}

    assert changed("patches", "names") == {"backbone"}
    assert changed("names", "masks") == {"pixel_decoder", "mask_decoder"}
    assert "language" in changed("masks", "reading")
    assert not {"vision", "backbone", "pixel_decoder", "mask_decoder"} & changed("masks", "reading")
    assert (folder / "model.safetensors").is_file()


def test_a_stage_that_fell_short_stops_the_run(tmp_path: Path) -> None:
    lines = [{"step": step, "shape": step / 10} for step in range(1, 9)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    check_stage("see", RunConfig(ModelSource("preset:nano"), check={"shape": 0.6}), tmp_path)
    with pytest.raises(ValueError, match=r"stage see: shape is 0.600, but the next stage needs 0.61"):
        check_stage("see", RunConfig(ModelSource("preset:nano"), check={"shape": 0.61}), tmp_path)
    with pytest.raises(ValueError, match="has no 'colour'"):
        check_stage("see", RunConfig(ModelSource("preset:nano"), check={"colour": 0.1}), tmp_path)


def test_the_shipped_recipe_is_a_valid_configuration() -> None:
    run = load_config(Path(__file__).parents[4] / "configs" / "nano.yaml")
    assert [stage.lesson for stage in run.plan().values()][:3] == ["patches", "names", "masks"]
    assert next(reversed(run.plan().values())).lesson == "whole"


@pytest.mark.slow
def test_the_shipped_recipe_runs_through_all_its_stages(tmp_path: Path) -> None:
    root = Path(__file__).parents[4]
    words = [f"output_dir={tmp_path}", "train.log_every=1"]
    plan = load_config(root / "configs" / "nano.yaml").plan()
    for name, stage in plan.items():
        words += [
            f"stages.{name}.train.max_steps=2",
            *(f"stages.{name}.check.{what}=0" for what in stage.check),
        ]
        words += [f"stages.{name}.train.eval_every=0"] if stage.train.eval_every else []
    subprocess.run(
        [sys.executable, "train_net.py", "--config-file", "configs/nano.yaml", *words],
        cwd=root,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
    )
    assert {path.name for path in tmp_path.iterdir()} == {*plan, "model", "settings.json"}
    assert (tmp_path / "wider" / "start" / "model.safetensors").is_file()  # a mean with the stage before
    assert (tmp_path / "model" / "model.safetensors").stat().st_size < 16e6
