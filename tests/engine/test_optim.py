from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import get_cosine_schedule_with_warmup

from instructseg.engine.optim import (
    OptimConfig,
    build_optimizer,
    lr_factor,
    restore_optimizer,
    select_trainable,
    set_lr,
    train_mode,
)
from tests.engine.fakes import TinyModel


def learning(model: torch.nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_groups_by_decay_and_longest_scale() -> None:
    model = TinyModel()
    scales = {"backbone": 0.25, "backbone.conv": 0.5, "head": 2.0}
    groups = build_optimizer(model, OptimConfig(lr=1.0, weight_decay=0.1, lr_scale=scales)).param_groups
    found = {name: (group["lr_scale"], group["weight_decay"]) for group in groups for name in group["names"]}
    assert found == {
        "backbone.conv.weight": (0.5, 0.1),
        "backbone.conv.bias": (0.5, 0.0),
        "words.weight": (1.0, 0.0),
        "norm.weight": (1.0, 0.0),
        "norm.bias": (1.0, 0.0),
        "head.weight": (2.0, 0.1),
        "head.bias": (2.0, 0.0),
    }


def test_rate_of_a_group_is_scaled() -> None:
    optimizer = build_optimizer(TinyModel(), OptimConfig(lr_scale={"head": 0.5}))
    set_lr(optimizer, 0.1)
    assert {group["lr_scale"]: group["lr"] for group in optimizer.param_groups} == {1.0: 0.1, 0.5: 0.05}


def test_parts_by_prefix_and_pattern() -> None:
    model = TinyModel()
    select_trainable(model, OptimConfig(trainable=("backbone", "*.bias"), frozen=("norm",)))
    assert learning(model) == {"backbone.conv.weight", "backbone.conv.bias", "head.bias"}


def test_no_parts_leaves_the_choice_to_the_model() -> None:
    model = TinyModel()
    model.head.requires_grad_(False)
    before = learning(model)
    select_trainable(model, OptimConfig())
    assert learning(model) == before


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (OptimConfig(frozen=("bakbone",)), r"frozen: .*'bakbone'; the closest part is 'backbone'"),
        (OptimConfig(trainable=("head.wieght",)), r"trainable: .*the closest part is 'head.weight'"),
        (OptimConfig(lr_scale={"back": 0.1}), r"lr_scale: .*the closest part is 'backbone'"),
        (OptimConfig(frozen=("*",)), "no parameter is left to train"),
    ],
)
def test_wrong_parts(config: OptimConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        select_trainable(TinyModel(), config)


def test_only_wholly_frozen_modules_are_in_evaluation_mode() -> None:
    model = TinyModel()
    select_trainable(model, OptimConfig(frozen=("backbone", "norm.weight")))
    train_mode(model)
    assert model.training and model.norm.training and model.head.training
    assert not model.backbone.training and not model.backbone.dropout.training


@given(warmup=st.integers(0, 20), total=st.integers(21, 200), step=st.integers(0, 200))
def test_cosine_is_that_of_transformers(warmup: int, total: int, step: int) -> None:
    step = min(step, total)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    oracle = get_cosine_schedule_with_warmup(optimizer, warmup, total).lr_lambdas[0]
    ours = lr_factor(OptimConfig(warmup_steps=warmup), step, total)
    # ours rises from 1 / warmup, theirs wastes the first step on a rate of 0
    assert ours == pytest.approx(oracle(step + 1 if step < warmup else step), abs=1e-9)


def test_schedule_ends() -> None:
    config = OptimConfig(min_lr_ratio=0.1, warmup_ratio=0.1)
    assert lr_factor(config, 0, 100) == pytest.approx(0.1)
    assert lr_factor(config, 10, 100) == 1.0
    assert lr_factor(config, 100, 100) == pytest.approx(0.1)
    assert lr_factor(config, 20, 100, progress=1.0) == pytest.approx(0.1)
    assert lr_factor(OptimConfig(schedule="constant"), 90, 100) == 1.0


def test_moments_of_other_parameters_are_refused() -> None:
    saved = build_optimizer(TinyModel(), OptimConfig()).state_dict()
    model = TinyModel()
    select_trainable(model, OptimConfig(frozen=("head",)))
    with pytest.raises(ValueError, match="the checkpoint trained other parameters"):
        restore_optimizer(build_optimizer(model, OptimConfig()), saved)


def test_restored_moments_meet_the_configured_decay() -> None:
    model = TinyModel()
    old = build_optimizer(model, OptimConfig(weight_decay=0.1))
    model.head.weight.sum().backward()
    old.step()
    new = build_optimizer(model, OptimConfig(weight_decay=0.3))
    restore_optimizer(new, old.state_dict())
    assert {group["weight_decay"] for group in new.param_groups} == {0.0, 0.3}
    assert torch.equal(new.state[model.head.weight]["exp_avg"], old.state[model.head.weight]["exp_avg"])


@pytest.mark.parametrize(
    "values", [{"lr": 0.0}, {"warmup_ratio": 1.0}, {"min_lr_ratio": 2.0}, {"clip_norm": -1.0}]
)
def test_refused_values(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        OptimConfig(**values)
