"""How a run ends, what it keeps of itself, and what it tells."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from instructseg.engine import OptimConfig, TrainConfig, Trainer
from instructseg.engine.checkpoint import load_averages, load_state
from instructseg.engine.stopping import SETTLED
from tests.engine.fakes import TinyLosses, TinyModel, TinySource, noisy_criterion

CONFIG = TrainConfig(max_steps=8, log_every=1, save_every=0, optim=OptimConfig(lr=0.05, warmup_steps=2))


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate.state import AcceleratorState

    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    AcceleratorState._reset_state(reset_partial_state=True)


def trainer(
    folder: Path, config: TrainConfig, criterion=noisy_criterion, evaluate=None, source=None
) -> Trainer:
    torch.manual_seed(0)
    return Trainer(TinyModel(), criterion, source or TinySource(), config, folder, evaluate)


def scores(*values: float) -> Callable[[nn.Module], dict[str, float]]:
    """An evaluation that gives these numbers in turn."""
    left = list(values)
    return lambda _: {"giou": left.pop(0)}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_best_checkpoint_outlives_the_last_ones(tmp_path: Path) -> None:
    config = replace(CONFIG, eval_every=2, save_every=1, keep_checkpoints=1, best="giou")
    trainer(tmp_path, config, evaluate=scores(0.0, 0.1, 0.5, 0.4, 0.3)).train()
    assert names(tmp_path) == {"best.json", "checkpoint-4", "checkpoint-8", "final", "metrics.jsonl"}
    note = json.loads((tmp_path / "best.json").read_text())
    assert (note["checkpoint"], note["step"], note["value"]) == ("checkpoint-4", 4, 0.5)


def test_early_stopping_exports_the_best_weights(tmp_path: Path) -> None:
    config = replace(CONFIG, max_steps=100, eval_every=2, best="giou", patience=2, final="best", ema_decay=0.9)
    run = trainer(tmp_path, config, evaluate=scores(0.2, 0.1, 0.5, 0.4, 0.5))
    run.train()
    assert run.step == 8
    best = tmp_path / "checkpoint-4"
    expected = {**load_state(best), **load_averages(best)}
    final = load_state(tmp_path / "final")
    assert all(torch.equal(final[name], expected[name]) for name in expected)
    assert any(not torch.equal(final[name], load_state(best)[name]) for name in final)  # the averages count
    again = trainer(tmp_path, config, evaluate=scores())  # nothing is left to evaluate
    again.train()
    assert again.step == 8


def test_without_improvement_the_initial_weights_are_exported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = replace(CONFIG, eval_every=2, best="giou", patience=2, final="best", keep_checkpoints=1)
    run = trainer(tmp_path, config, evaluate=scores(0.6, 0.5, 0.4))
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    with caplog.at_level(logging.INFO):
        run.train()
    assert run.step == 4 and names(tmp_path) >= {"checkpoint-0", "final"}
    final = load_state(tmp_path / "final")
    assert all(torch.equal(final[name], before[name]) for name in before)
    assert "step 2: giou 0.5000" in caplog.text
    assert "best: step 0, giou 0.6000 (first evaluation: 0.6000)" in caplog.text


def test_a_run_killed_at_its_first_evaluation_resumes(tmp_path: Path) -> None:
    config = replace(CONFIG, eval_every=4, best="giou")
    whole = trainer(tmp_path / "whole", config, evaluate=scores(0.1, 0.2, 0.3)).train()
    half = trainer(tmp_path / "half", config, evaluate=scores(0.1, 0.2, 0.3))
    half._evaluate()
    half._save()
    assert names(tmp_path / "half") >= {"checkpoint-0"}
    again = trainer(tmp_path / "half", config, evaluate=scores(0.2, 0.3)).train()  # not measured twice
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_best_needs_an_evaluation(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs evaluations: set eval_every"):
        replace(CONFIG, best="giou")
    with pytest.raises(ValueError, match="need the name of a metric"):
        replace(CONFIG, patience=3)
    with pytest.raises(ValueError, match="this run has no evaluation"):
        trainer(tmp_path, replace(CONFIG, best="giou", eval_every=1))
    with pytest.raises(ValueError, match="has no metric 'ciou'; the closest is 'giou'"):
        trainer(tmp_path, replace(CONFIG, best="ciou", eval_every=1), evaluate=scores(0.0)).train()


def test_exploding_loss_names_the_batch_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    calls = []

    def criterion(output, targets, labels):
        calls.append(1)
        loss = output.mask_logits.square().mean() * 0 + 1.0
        return TinyLosses(loss * (1e4 if len(calls) == SETTLED + 3 else 1.0))

    config = replace(CONFIG, max_steps=100, save_every=10)
    message = rf"loss is 10000.0 at step {SETTLED + 3}, more than 1000 times its running mean 1"
    with pytest.raises(
        FloatingPointError, match=message + "; samples: sample-22-0, sample-22-1; the last .*checkpoint-20"
    ):
        trainer(tmp_path, config, criterion).train()
    note = json.loads((tmp_path / "failure.json").read_text())
    assert note["samples"] == ["sample-22-0", "sample-22-1"] and note["checkpoint"].endswith("checkpoint-20")
    assert (tmp_path / "checkpoint-20" / "model.safetensors").is_file()


def test_float16_passes_steps_over_until_the_scale_fits(tmp_path: Path) -> None:
    seen = []

    def criterion(output, targets, labels):
        seen.append(output.mask_logits.dtype)
        return TinyLosses(output.mask_logits.float().square().mean() * 1e30)  # times 65536 is beyond float32

    run = trainer(tmp_path, replace(CONFIG, max_steps=4, precision="float16", ema_decay=0.0), criterion)
    before = run.model.head.weight.detach().clone()
    run.train()
    assert set(seen) == {torch.float16}
    assert run.scale.scale < 2.0**16
    assert run.model.head.weight.isfinite().all() and run.model.head.weight.dtype == torch.float32
    assert torch.equal(before, run.model.head.weight) == (run.scale.scale == 2.0**12)  # four steps, none taken
    state = torch.load(tmp_path / "checkpoint-4" / "state.pt", weights_only=True)
    assert state["scale"] == run.scale.state()


def test_losses_are_logged_by_task_too(tmp_path: Path) -> None:
    class Tasks(TinySource):
        def task(self, index: int) -> str:
            return ("res", "vqa")[index % 2]

    trainer(tmp_path, replace(CONFIG, log_every=2), source=Tasks()).train()
    for line in lines(tmp_path):
        assert line["loss"] == pytest.approx((line["res/loss"] + line["vqa/loss"]) / 2)
        assert line["loss_mask"] == pytest.approx((line["res/loss_mask"] + line["vqa/loss_mask"]) / 2)
        assert {"lr", "gradient_norm", "samples_per_second", "minutes_left"} <= line.keys()


def test_a_run_logs_the_trainable_parameters_first(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "instructseg"):
        trainer(tmp_path, replace(CONFIG, optim=OptimConfig(frozen=("backbone",)), max_steps=1)).train()
    told = [record.getMessage() for record in caplog.records]
    assert told[:3] == [
        "56 of 72 parameters are trained",
        "trained: words 28, norm 8, head 20",
        "frozen: backbone 16",
    ]
    assert told[3].startswith("memory of each process: weights 288 bytes")


def test_compiled_blocks_learn_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = trainer(tmp_path / "a", replace(CONFIG, max_steps=2)).train()
    compiled, called = nn.Module.compile, []

    def eager(module: nn.Module, **options: object) -> None:  # the same capture, without a compiler
        called.append(module)
        compiled(module, backend="eager", **options)

    monkeypatch.setattr(nn.Module, "compile", eager)
    other = trainer(tmp_path / "b", replace(CONFIG, max_steps=2, compile=True)).train()
    assert len(called) == 1
    for ours, theirs in zip(plain.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
