"""The lesson of where a phrase's object is, for the image tokens that answers are read from.

Cross-entropy of answers alone leaves the choice of the object to chance for thousands of steps: few tokens
depend on it, and it needs the match of words with cells, which no token asks for. Here each cell is asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


def cell_shares(masks: Sequence[np.ndarray], side: int) -> torch.Tensor:
    """Share of each cell that a mask covers, ``float[B, side**2]``, 0..1, of masks ``bool[H, W]``."""
    covered = torch.from_numpy(np.stack(masks)).float()
    return F.adaptive_avg_pool2d(covered, side).flatten(1)


class Grounding(nn.Module):
    """Tells for each cell of an image how much of it belongs to the object; used in training alone.

    Args:
        width: ``C``, of the states.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.share = nn.LayerNorm(width), nn.Linear(width, 1)

    def forward(self, states: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Loss of each row, ``float[B]``, between the mean over its cells and their sum.

        Args:
            states: ``float[B, I, C]``, of cells, row by row.
            truth: ``float[B, I]``, 0..1, share of a cell that belongs to the object.
        """
        logits = self.share(self.norm(states)).squeeze(-1)
        losses = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        return losses.sum(1) / truth.shape[1] ** 0.5
