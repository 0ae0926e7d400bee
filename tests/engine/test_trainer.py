from __future__ import annotations

import json
import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from instructseg.engine import Interrupted, OptimConfig, TrainConfig, Trainer, latest
from instructseg.engine.checkpoint import WEIGHTS, load_weights
from instructseg.engine.step import read_ahead
from tests.engine.fakes import TinyLosses, TinyModel, TinySource, noisy_criterion

CONFIG = TrainConfig(max_steps=6, log_every=1, save_every=0, optim=OptimConfig(lr=0.05, warmup_steps=2))


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate.state import AcceleratorState

    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    AcceleratorState._reset_state(reset_partial_state=True)


def trainer(
    folder: Path, config: TrainConfig = CONFIG, criterion=noisy_criterion, evaluate=None, zeroed: bool = False
) -> Trainer:
    torch.manual_seed(0)
    model = TinyModel()
    if zeroed:  # as good as any other weights where a checkpoint is there
        model.apply(lambda module: [p.data.zero_() for p in module.parameters()])
    return Trainer(model, criterion, TinySource(), config, folder, evaluate)


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def stopping_after(step: int):
    """A criterion that asks the process to stop while it computes that step."""
    calls = []

    def criterion(output, targets, labels):
        calls.append(1)
        if len(calls) == step:
            os.kill(os.getpid(), signal.SIGINT)
        return noisy_criterion(output, targets, labels)

    return criterion


def test_loss_falls(tmp_path: Path) -> None:
    trainer(tmp_path, replace(CONFIG, max_steps=60)).train()
    losses = [line["loss_mask"] for line in lines(tmp_path)]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_resumed_run_equals_an_unbroken_one_to_the_bit(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole").train()
    with pytest.raises(
        Interrupted, match=r"stopped after step 3; the same command with --resume resumes from .*broken"
    ):
        trainer(tmp_path / "broken", criterion=stopping_after(3)).train()
    found = latest(tmp_path / "broken")
    assert found is not None and found.name == "checkpoint-3"
    resumed = trainer(tmp_path / "broken", zeroed=True)
    assert_same(weights(whole), weights(resumed.train()))
    keys = ("step", "loss", "loss_mask", "noise", "gradient_norm", "lr")
    ours, theirs = lines(tmp_path / "whole"), lines(tmp_path / "broken")
    assert [[line[key] for key in keys] for line in ours] == [[line[key] for key in keys] for line in theirs]


def test_a_stop_in_the_last_step_is_not_forgotten(tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="stopped after step 6"):
        trainer(tmp_path, criterion=stopping_after(6)).train()
    assert (tmp_path / "final" / WEIGHTS).is_file()  # the next stage is for the next run


def test_exported_weights_keep_their_share_of_the_initial_ones(tmp_path: Path) -> None:
    config = replace(CONFIG, start_share=0.4)
    first = weights(trainer(tmp_path / "first").model)
    learned = weights(trainer(tmp_path / "plain").train())
    mixed = weights(trainer(tmp_path / "mixed", config).train())
    assert any(not torch.equal(first[name], learned[name]) for name in first)
    for name, found in mixed.items():
        torch.testing.assert_close(found, 0.4 * first[name] + 0.6 * learned[name])
    exported = TinyModel()
    load_weights(exported, tmp_path / "mixed" / "final")
    assert_same(weights(exported), mixed)
    with pytest.raises(Interrupted):
        trainer(tmp_path / "broken", config, stopping_after(3)).train()
    resumed = trainer(tmp_path / "broken", config, zeroed=True)
    assert_same(weights(resumed.train()), mixed)
    with pytest.raises(Interrupted):
        trainer(tmp_path / "late", criterion=stopping_after(3)).train()
    with pytest.raises(ValueError, match=r"start_share needs .*start, which only a run started with it writes"):
        trainer(tmp_path / "late", config).train()
    with pytest.raises(ValueError, match=r"start_share must be in \[0, 1\), got 1"):
        replace(CONFIG, start_share=1.0)


def test_evaluation_and_workers_do_not_change_training(tmp_path: Path) -> None:
    plain = trainer(tmp_path / "a").train()

    def evaluate(model: nn.Module) -> dict[str, float]:
        assert not model.training
        return {"random": torch.rand(()).item()}

    config = replace(CONFIG, eval_every=2, save_every=2, workers=1)
    busy = trainer(tmp_path / "b", config, evaluate=evaluate).train()
    assert_same(weights(plain), weights(busy))
    assert [line["step"] for line in lines(tmp_path / "b") if "eval/random" in line] == [2, 4, 6]
    assert {path.name for path in (tmp_path / "b").glob("checkpoint-*")} == {"checkpoint-4", "checkpoint-6"}


def test_step_is_adamw_on_the_mean_of_the_accumulated_batches(tmp_path: Path) -> None:
    def criterion(output, targets, labels):
        loss = (output.mask_logits - torch.stack([t.masks for t in targets]).float()).square().mean()
        return TinyLosses(loss)

    optim = OptimConfig(lr=0.01, weight_decay=0.0, clip_norm=0.0, schedule="constant")
    config = TrainConfig(max_steps=2, accumulate=3, ema_decay=0.0, optim=optim)
    model = TinyModel()
    model.backbone.dropout.p = 0.0
    oracle = TinyModel()
    oracle.backbone.dropout.p = 0.0
    oracle.load_state_dict(model.state_dict())
    trained = Trainer(model, criterion, TinySource(), config, tmp_path).train()

    adamw = torch.optim.AdamW(oracle.parameters(), lr=0.01, betas=(0.9, 0.99), weight_decay=0.0)
    for step in range(2):
        batches = [TinySource().batch(3 * step + turn) for turn in range(3)]
        loss = sum(criterion(oracle(inputs), targets, None).total for inputs, targets in batches) / 3
        adamw.zero_grad()
        loss.backward()
        adamw.step()
    for ours, theirs in zip(trained.parameters(), oracle.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_average_is_evaluated_and_exported(tmp_path: Path) -> None:
    seen = []

    def evaluate(model: nn.Module) -> dict[str, float]:
        seen.append(weights(model))
        return {}

    run = trainer(tmp_path, replace(CONFIG, eval_every=6, ema_decay=0.9), evaluate=evaluate)
    average = run.train()
    assert_same(seen[0], weights(average))
    exported = TinyModel()
    load_weights(exported, tmp_path / "final")
    assert_same(seen[0], weights(exported))
    last = TinyModel()
    load_weights(last, tmp_path / "checkpoint-6")
    assert not torch.equal(last.head.weight, exported.head.weight)


def test_infinite_loss_names_step_and_samples(tmp_path: Path) -> None:
    calls = []

    def criterion(output, targets, labels):
        calls.append(1)
        factor = torch.inf if len(calls) == 3 else 1.0
        return TinyLosses(output.mask_logits.sum() * factor)

    with pytest.raises(FloatingPointError, match=r"loss is -?inf at step 3; samples: sample-2-0, sample-2-1"):
        trainer(tmp_path, criterion=criterion).train()


def test_infinite_gradient_names_step_and_samples(tmp_path: Path) -> None:
    def criterion(output, targets, labels):
        return TinyLosses((output.mask_logits.sum() * 0.0).sqrt())

    with pytest.raises(FloatingPointError, match=r"gradient is nan at step 1; samples: sample-0-0, sample-0-1"):
        trainer(tmp_path, criterion=criterion).train()


def test_time_limit_ends_an_annealed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 10))  # each look at the clock takes ten seconds
    monkeypatch.setattr("time.perf_counter", lambda: float(next(clock)))
    config = replace(CONFIG, max_steps=1000, max_minutes=5.0, optim=OptimConfig(lr=1.0))
    trainer(tmp_path, config).train()
    rates = [line["lr"] for line in lines(tmp_path)]
    assert 10 < len(rates) < 20
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == 1.0 and rates[-1] < 0.05
    assert len(lines(tmp_path)) == lines(tmp_path)[-1]["step"]
    before = weights(trainer(tmp_path, config).train())
    assert_same(before, weights(trainer(tmp_path, config).train()))  # a finished run stays finished


def test_bfloat16_trains_float32_weights(tmp_path: Path) -> None:
    dtypes = []

    def criterion(output, targets, labels):
        dtypes.append(output.mask_logits.dtype)
        return noisy_criterion(output, targets, labels)

    model = trainer(tmp_path, replace(CONFIG, max_steps=1, precision="bfloat16"), criterion).train()
    assert dtypes == [torch.bfloat16]
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_evaluation_computes_in_the_precision_of_the_run(tmp_path: Path) -> None:
    found = []

    def evaluate(model: nn.Module) -> dict[str, float]:
        found.append(model(TinySource().batch(0)[0]).mask_logits)
        return {}

    half = OptimConfig(frozen=("backbone",))
    config = replace(
        CONFIG, max_steps=2, eval_every=1, precision="bfloat16", frozen_dtype="bfloat16", optim=half
    )
    run = trainer(tmp_path, config, evaluate=evaluate)
    run.train()
    assert run.model.backbone.conv.weight.dtype == torch.bfloat16
    assert [logits.dtype for logits in found] == [torch.bfloat16] * 2


def test_frozen_part_keeps_its_weights_and_draws_no_dropout(tmp_path: Path) -> None:
    modes = []

    def evaluate(model: nn.Module) -> dict[str, float]:
        return {}

    run = trainer(
        tmp_path, replace(CONFIG, eval_every=2, optim=OptimConfig(frozen=("backbone",))), evaluate=evaluate
    )
    run.model.backbone.register_forward_hook(
        lambda module, *_: modes.append((module.training, module.dropout.training))
    )
    before = weights(run.model.backbone)
    head = run.model.head.weight.detach().clone()
    assert_same(before, weights(run.train().backbone))
    assert not torch.equal(head, run.model.head.weight)
    assert set(modes) == {(False, False)} and len(modes) == 6


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("max_steps", 0, "max_steps must be at least 1, got 0"),
        ("max_minutes", -1.0, "max_minutes must be positive"),
        ("ema_decay", 1.0, r"ema_decay must be in \[0, 1\)"),
        ("workers", -1, "workers must not be negative"),
    ],
)
def test_refused_values(field: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **{field: value})


def test_workers_yield_the_same_batches_in_order() -> None:
    here = list(read_ahead(TinySource(), range(3, 11, 2), 0))
    there = list(read_ahead(TinySource(), range(3, 11, 2), 2))
    assert len(here) == len(there) == 4
    for (inputs, targets), (others, theirs) in zip(here, there, strict=True):
        assert torch.equal(inputs.input_ids, others.input_ids)
        assert torch.equal(targets[0].masks, theirs[0].masks)


def test_a_worker_leaves_signals_to_the_trainer() -> None:
    before = set(multiprocessing.active_children())
    batches = read_ahead(TinySource(), range(6), 1)
    next(batches)
    (worker,) = set(multiprocessing.active_children()) - before
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(worker.pid, number)
    assert len(list(batches)) == 5
    worker.join(10)
    assert worker.exitcode == 0


def test_weights_written(tmp_path: Path) -> None:
    trainer(tmp_path).train()
    assert (tmp_path / "final" / WEIGHTS).is_file()
    assert not list(tmp_path.glob(".tmp-*"))
