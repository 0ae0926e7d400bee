"""Muon and AdamW in one, against PyTorch's own two."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from instructseg.engine.muon import Muon, MuonAdamW
from instructseg.engine.optim import OptimConfig, build_optimizer, restore_optimizer, set_lr


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(32, 24), nn.LayerNorm(24), nn.Linear(24, 4))


def step(net: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    x = torch.randn(8, 32, generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad()
    net(x).square().sum().backward()
    optimizer.step()


def test_matrices_are_stepped_by_muon_and_the_rest_by_adamw() -> None:
    net, other = model(), model()
    config = OptimConfig(method="muon", lr=1e-2, weight_decay=0.02)
    optimizer = build_optimizer(net, config)
    set_lr(optimizer, 5e-3)
    matrix = [other[0].weight]
    rest = [p for p in other.parameters() if p is not matrix[0]]
    decayed = [p for p in rest if p.ndim > 1]
    muon = torch.optim.Muon(matrix, lr=5e-3, weight_decay=0.02, adjust_lr_fn="match_rms_adamw")
    groups = [
        {"params": decayed, "weight_decay": 0.02},
        {"params": [p for p in rest if p.ndim == 1], "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(groups, lr=5e-3, betas=config.betas)
    for seed in range(3):
        step(net, optimizer, seed)
        muon.zero_grad()
        step(other, adam, seed)  # leaves the gradient of the matrix for Muon
        muon.step()
    for one, two in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two)


def test_matrices_of_a_shape_are_stepped_together_as_pytorch_steps_each() -> None:
    def matrices() -> list[nn.Parameter]:
        generator = torch.Generator().manual_seed(1)
        shapes = [(48, 20), (20, 48), (48, 20), (32, 32), (48, 20)]
        return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]

    ours, theirs = matrices(), matrices()

    def groups(all_of_them: list[nn.Parameter]) -> list[dict[str, Any]]:
        first = {"params": all_of_them[:2], "weight_decay": 0.1, "lr": 1e-2}
        return [first, {"params": all_of_them[2:], "weight_decay": 0.0, "lr": 3e-3}]

    one = Muon(groups(ours), 1e-2)
    two = torch.optim.Muon(groups(theirs), 1e-2, adjust_lr_fn="match_rms_adamw")
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        for index, (our, their) in enumerate(zip(ours, theirs, strict=True)):
            if (seed, index) == (1, 0):  # one that took no part keeps its weights and its momentum
                our.grad = their.grad = None
            else:
                our.grad = their.grad = torch.randn(our.shape, generator=generator)
        one.step()
        two.step()
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our, their, rtol=0, atol=2e-4)  # of steps of 1e-2 and 3e-3, in bfloat16
    two.load_state_dict(one.state_dict() | {"param_groups": two.state_dict()["param_groups"]})
    momenta = (one.state[ours[0]]["momentum_buffer"], two.state[theirs[0]]["momentum_buffer"])
    assert torch.equal(*momenta)


def test_a_restored_optimizer_equals_an_uninterrupted_one() -> None:
    config = OptimConfig(method="muon", lr=1e-2)
    net = model()
    optimizer = build_optimizer(net, config)
    step(net, optimizer, 0)
    weights, saved = copy.deepcopy(net.state_dict()), copy.deepcopy(optimizer.state_dict())
    step(net, optimizer, 1)
    again = model()
    again.load_state_dict(weights)
    restored = build_optimizer(again, config)
    restore_optimizer(restored, saved)
    step(again, restored, 1)
    for one, two in zip(net.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)


def test_muon_without_matrices_is_refused() -> None:
    with pytest.raises(ValueError, match="choose adamw"):
        build_optimizer(nn.LayerNorm(8), OptimConfig(method="muon"))
    assert not isinstance(build_optimizer(nn.LayerNorm(8), OptimConfig()), MuonAdamW)
