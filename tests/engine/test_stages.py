from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from instructseg.engine import Interrupted, OptimConfig, TrainConfig, Trainer, load_weights, run_stages
from tests.engine.fakes import TinyModel, TinySource, noisy_criterion

BASE = TrainConfig(max_steps=3, optim=OptimConfig(lr=0.05))
STAGES = {
    "first": replace(BASE, optim=replace(BASE.optim, frozen=("head",))),
    "second": replace(BASE, optim=replace(BASE.optim, frozen=("backbone", "words", "norm"))),
}


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate.state import AcceleratorState

    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    AcceleratorState._reset_state(reset_partial_state=True)


def build(config: TrainConfig, folder: Path) -> Trainer:
    torch.manual_seed(0)
    return Trainer(TinyModel(), noisy_criterion, TinySource(), config, folder)


def load(folder: Path) -> TinyModel:
    model = TinyModel()
    load_weights(model, folder)
    return model


def test_each_stage_starts_from_the_averages_of_the_one_before(tmp_path: Path) -> None:
    assert run_stages(STAGES, build, tmp_path) == tmp_path / "second" / "final"
    start, first, second = (
        build(BASE, tmp_path).model,
        load(tmp_path / "first/final"),
        load(tmp_path / "second/final"),
    )
    assert torch.equal(first.head.weight, start.head.weight)
    assert not torch.equal(first.backbone.conv.weight, start.backbone.conv.weight)
    assert torch.equal(second.backbone.conv.weight, first.backbone.conv.weight)
    assert not torch.equal(second.head.weight, first.head.weight)


def test_finished_stages_are_skipped(tmp_path: Path) -> None:
    built = []

    def counting(config: TrainConfig, folder: Path) -> Trainer:
        built.append(folder.name)
        trainer = build(config, folder)
        if built == ["first", "second"]:
            trainer.criterion = interrupted
        return trainer

    def interrupted(*_: object) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        run_stages(STAGES, counting, tmp_path)
    run_stages(STAGES, counting, tmp_path)
    run_stages(STAGES, counting, tmp_path)
    assert built == ["first", "second", "second"]


def test_no_stage(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no stage"):
        run_stages({}, build, tmp_path)
