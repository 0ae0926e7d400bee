"""The loss scale against ``torch.amp.GradScaler``."""

from __future__ import annotations

import pytest
import torch

from instructseg.engine import step
from instructseg.engine.step import LossScale


def test_scale_moves_as_that_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "GROWTH_INTERVAL", 3)
    ours, theirs = LossScale(True), torch.amp.GradScaler("cpu", growth_interval=3)
    weight = torch.nn.Parameter(torch.zeros(()))
    sgd = torch.optim.SGD([weight], lr=1.0)
    for finite in (True, True, True, True, False, False, True, True, True):
        weight.grad = torch.tensor(1.0 if finite else torch.inf)
        before = weight.item()
        assert ours.scale == theirs.scale(torch.ones(())).item()
        theirs.step(sgd)
        theirs.update()
        assert ours.update(finite) == (weight.item() != before)
    assert ours.scale == theirs.get_scale()
    again = LossScale(True)
    again.load(ours.state())
    assert again.state() == ours.state()


def test_other_precisions_take_every_step() -> None:
    scale = LossScale(False)
    assert scale.update(False) and scale.scale == 1.0
    fresh = LossScale(True)
    fresh.load(scale.state())
    assert fresh.scale == step.FIRST_SCALE


def test_gradients_that_are_never_finite() -> None:
    scale = LossScale(True)
    with pytest.raises(FloatingPointError, match="not finite at any loss scale"):
        for _ in range(100):
            scale.update(False)
