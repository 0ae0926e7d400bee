"""One training batch of the published code at small size: outputs, targets, random draws, matches, losses.

``tests/data/criterion/train_reason.npz`` holds it twice: with seeded random points, and (``grid.*``) with all
points replaced by one fixed set.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import torch

from instructseg.structures import MaskTargets, SegOutput

FILE = Path(__file__).parents[1] / "data" / "criterion" / "train_reason.npz"
LAYERS, ROWS, POINTS = 5, 2, 144
OFFICIAL_NAMES = {"mask": "loss_mask", "dice": "loss_dice", "class": "loss_SEG_class"}


@cache
def golden() -> dict[str, torch.Tensor]:
    with np.load(FILE) as data:
        return {name: torch.from_numpy(data[name]) for name in data.files}


def golden_output() -> SegOutput:
    data = golden()
    layers = [
        (data[f"predictor.pred_masks.{layer}"], data[f"predictor.pred_SEG_logits.{layer}"][..., 0])
        for layer in range(LAYERS)
    ]
    return SegOutput(*layers[-1], aux=tuple(layers[:-1]))


def golden_targets() -> list[MaskTargets]:
    return [MaskTargets(golden()[f"targets.b{row}.masks"]) for row in range(ROWS)]


def official_key(name: str) -> str:
    """``class_3`` to ``loss_raw.loss_SEG_class_3``."""
    kind, dash, layer = name.partition("_")
    return f"loss_raw.{OFFICIAL_NAMES[kind]}{dash}{layer}"


@dataclass
class ReplaySampler:
    """Gives recorded points back, in order: per layer one set to match on, and one for the losses."""

    to_match: list[torch.Tensor]
    for_loss: list[torch.Tensor]
    matched: list[int] = field(default_factory=list)

    def uniform(self, rows: int, device: torch.device) -> torch.Tensor:
        points = self.to_match.pop(0)
        assert len(points) == rows
        return points.to(device)

    def uncertain(self, logits: torch.Tensor) -> torch.Tensor:
        self.matched.append(len(logits))
        return self.for_loss.pop(0).to(logits.device)


def seeded_points() -> ReplaySampler:
    """The random points as recorded."""
    data = golden()
    draws = [data[f"rand.{4 * layer + row:03}"] for layer in range(LAYERS) for row in range(ROWS)]
    to_match = [torch.cat(draws[ROWS * layer : ROWS * (layer + 1)]) for layer in range(LAYERS)]
    return ReplaySampler(to_match, [data[f"point_coords.{layer:02}"] for layer in range(LAYERS)])


def grid_points() -> ReplaySampler:
    """The same fixed points everywhere."""
    points = golden()["grid.points"][None]
    matched = sum(len(target.masks) for target in golden_targets())
    return ReplaySampler([points.expand(ROWS, -1, -1)] * LAYERS, [points.expand(matched, -1, -1)] * LAYERS)
