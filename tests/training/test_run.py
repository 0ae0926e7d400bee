"""Stages of a run in order, each with a new model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from instructseg.config import RunConfig, load_config
from instructseg.engine import Interrupted, Trainer
from instructseg.model import InstructSeg
from instructseg.processing import InstructSegProcessor
from instructseg.training import run as module
from tests.engine.fakes import TinyModel, TinySource, noisy_criterion

TEXT = """
model: {name: preset:nano}
train: {max_steps: 3, optim: {lr: 0.05}}
stages:
  first: {train: {optim: {frozen: [head]}}}
  second: {train: {optim: {frozen: [backbone, words, norm]}}}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    from accelerate.state import AcceleratorState

    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    AcceleratorState._reset_state(reset_partial_state=True)
    monkeypatch.setattr(module, "build_model", lambda *_: (tiny(), None))
    monkeypatch.setattr(module, "export", lambda *_: None)
    file = tmp_path / "run.yaml"
    file.write_text(TEXT)
    return load_config(file, [f"output_dir={tmp_path / 'run'}"])


def tiny() -> TinyModel:
    torch.manual_seed(0)
    return TinyModel()


def build(
    stage: RunConfig,
    folder: Path,
    processor: InstructSegProcessor,
    model: InstructSeg,
    criterion=noisy_criterion,
) -> Trainer:
    return Trainer(model, criterion, TinySource(), stage.train, folder)


def load(folder: Path) -> TinyModel:
    model = TinyModel()
    module.load_weights(model, folder)
    return model


def test_each_stage_starts_from_the_averages_of_the_one_before(config: RunConfig) -> None:
    module.train_run(config, build, False)
    output = config.output_dir
    start, first, second = tiny(), load(output / "first/final"), load(output / "second/final")
    assert torch.equal(first.head.weight, start.head.weight)
    assert not torch.equal(first.backbone.conv.weight, start.backbone.conv.weight)
    assert torch.equal(second.backbone.conv.weight, first.backbone.conv.weight)
    assert not torch.equal(second.head.weight, first.head.weight)


def test_finished_stages_are_skipped(config: RunConfig) -> None:
    built = []

    def counting(
        stage: RunConfig, folder: Path, processor: InstructSegProcessor, model: InstructSeg
    ) -> Trainer:
        built.append(folder.name)
        return build(stage, folder, processor, model, interrupted if len(built) == 2 else noisy_criterion)

    def interrupted(*_: object) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        module.train_run(config, counting, False)
    module.train_run(config, counting, True)
    module.train_run(config, counting, True)
    assert built == ["first", "second", "second"]
