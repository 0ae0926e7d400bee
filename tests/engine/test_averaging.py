from __future__ import annotations

import pytest
import torch
from torch import nn

from instructseg.engine.averaging import Ema


def test_average_is_the_plain_recurrence() -> None:
    model = nn.Linear(3, 2)
    ema, expected = Ema(model, 0.6), model.weight.detach().clone()
    for step in range(1, 12):
        model.weight.data = torch.randn(2, 3)
        ema.update(model, step)
        decay = min(0.6, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model.weight.detach()
    torch.testing.assert_close(ema.weights["weight"], expected)


def test_applied_lends_the_average_and_gives_it_back() -> None:
    model = nn.Linear(3, 2)
    start = model.weight.detach().clone()
    ema = Ema(model, 0.9)
    model.weight.data = torch.zeros(2, 3)
    with ema.applied(model):
        assert torch.equal(model.weight, start)
    assert torch.equal(model.weight, torch.zeros(2, 3)) and torch.equal(ema.weights["weight"], start)


def test_only_trainable_parameters_are_averaged() -> None:
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    assert list(Ema(model, 0.9).weights) == ["weight"]
    assert Ema(model, 0.0).weights == {}


def test_averages_of_other_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="averaged other parameters"):
        Ema(nn.Linear(3, 2), 0.9).load({"weight": torch.zeros(2, 3)})
