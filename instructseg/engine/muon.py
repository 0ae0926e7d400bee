"""Muon on the matrices of a model, AdamW on the rest, as one optimiser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

SMALLEST_SIDE = 16
"""Matrices with a shorter side stay with AdamW: there is little to make orthogonal."""


class MuonAdamW(torch.optim.Optimizer):
    """Two optimisers of PyTorch that step together.

    Muon (Jordan et al. 2024) makes the momentum of a matrix orthogonal before the step; small models learn from
    fewer samples with it. Its steps are scaled to AdamW's size, so both share one learning rate.

    Args:
        groups: parameter groups; those with ``muon: true`` hold matrices.
        lr: learning rate.
        betas: of AdamW; Muon's momentum is 0.95.
        fused: of AdamW.
    """

    def __init__(
        self, groups: Sequence[dict[str, Any]], lr: float, betas: tuple[float, float], fused: bool = False
    ) -> None:
        matrices = [group for group in groups if group["muon"]]
        others = [group for group in groups if not group["muon"]]
        if not matrices or not others:
            raise ValueError("muon needs matrices and other parameters to learn: choose adamw")
        self.parts: tuple[torch.optim.Optimizer, ...] = (
            torch.optim.Muon(matrices, lr=lr, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=lr, betas=betas, fused=fused),
        )
        super().__init__([{**group} for group in (*matrices, *others)], {"lr": lr})
        # the same groups, so that a learning rate set here is theirs
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step of both; closures are not supported."""
        assert closure is None
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """States of both, parameters numbered on."""
        first, second = (part.state_dict() for part in self.parts)
        shift = sum(len(group["params"]) for group in first["param_groups"])
        groups = [{**g, "params": [i + shift for i in g["params"]]} for g in second["param_groups"]]
        return {
            "state": first["state"] | {i + shift: values for i, values in second["state"].items()},
            "param_groups": first["param_groups"] + groups,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes what :meth:`state_dict` gave."""
        start = 0
        groups = list(state_dict["param_groups"])
        for part in self.parts:
            mine, groups = groups[: len(part.param_groups)], groups[len(part.param_groups) :]
            count = sum(len(group["params"]) for group in mine)
            state = {i - start: v for i, v in state_dict["state"].items() if start <= i < start + count}
            renumbered = [{**group, "params": [i - start for i in group["params"]]} for group in mine]
            part.load_state_dict({"state": state, "param_groups": renumbered})
            start += count
        self.param_groups = [group for part in self.parts for group in part.param_groups]
