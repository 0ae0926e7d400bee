"""Muon for the matrices of a model and AdamW for the rest, as one optimizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

SMALLEST_SIDE = 16
"""Shortest side of matrices for Muon; smaller ones use AdamW."""
MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.775, 2.0315)
"""Coefficients of the quintic iteration of Jordan et al. 2024."""
NEWTON_SCHULZ_STEPS = 5


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024): orthogonalized momentum of matrices.

    Equal to ``torch.optim.Muon(..., adjust_lr_fn="match_rms_adamw")``, states included, but batched over
    matrices of one shape: a small model has many, and the overhead of each is as large as its computation.

    Args:
        groups: parameter groups of matrices, each with ``weight_decay``.
        lr: learning rate; a step is as large as one of AdamW.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], lr: float) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step; closures are not supported."""
        assert closure is None
        alike: dict[torch.Size, list[tuple[torch.Tensor, dict[str, Any]]]] = {}
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is not None:
                    alike.setdefault(matrix.shape, []).append((matrix, group))
        for shape, pairs in alike.items():
            matrices, rates = [matrix for matrix, _ in pairs], [group["lr"] for _, group in pairs]
            adjusted = matrices[0].new_tensor(rates) * (0.2 * max(shape) ** 0.5)
            steps = orthogonal(self._momenta(matrices)).to(adjusted.dtype) * adjusted[:, None, None]
            torch._foreach_mul_(matrices, [1 - group["lr"] * group["weight_decay"] for _, group in pairs])
            torch._foreach_sub_(matrices, list(steps))

    def _momenta(self, matrices: list[torch.Tensor]) -> torch.Tensor:
        """Nesterov momentum of matrices of one shape, ``float[N, H, W]``."""
        gradients = [matrix.grad for matrix in matrices if matrix.grad is not None]
        for matrix in matrices:
            if not self.state[matrix]:
                self.state[matrix]["momentum_buffer"] = torch.zeros_like(matrix)
        momenta = [self.state[matrix]["momentum_buffer"] for matrix in matrices]
        torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
        return torch.stack(torch._foreach_lerp(gradients, momenta, MOMENTUM))


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """Orthogonalizes matrices: same singular vectors, singular values near 1 (about 0.5 to 1.5).

    Args:
        matrices: ``float[N, H, W]``.

    Returns:
        ``bfloat16[N, H, W]``.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.bfloat16()
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    a, b, c = NEWTON_SCHULZ
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class MuonAdamW(torch.optim.Optimizer):
    """Muon and AdamW in one; small models need fewer samples with Muon.

    Args:
        groups: parameter groups; those with ``muon: true`` hold matrices.
    """

    def __init__(
        self, groups: Sequence[dict[str, Any]], lr: float, betas: tuple[float, float], fused: bool = False
    ) -> None:
        matrices = [group for group in groups if group["muon"]]
        others = [group for group in groups if not group["muon"]]
        if not matrices or not others:
            raise ValueError("muon needs trainable matrices and other parameters: choose adamw")
        self.parts: tuple[torch.optim.Optimizer, ...] = (
            Muon(matrices, lr),
            torch.optim.AdamW(others, lr=lr, betas=betas, fused=fused),
        )
        super().__init__([{**group} for group in (*matrices, *others)], {"lr": lr})
        # shared groups: a learning rate set here applies to both
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step of both; closures are not supported."""
        assert closure is None
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """States of both, with consecutive parameter numbers."""
        first, second = (part.state_dict() for part in self.parts)
        shift = sum(len(group["params"]) for group in first["param_groups"])
        groups = [{**g, "params": [i + shift for i in g["params"]]} for g in second["param_groups"]]
        return {
            "state": first["state"] | {i + shift: values for i, values in second["state"].items()},
            "param_groups": first["param_groups"] + groups,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`."""
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
