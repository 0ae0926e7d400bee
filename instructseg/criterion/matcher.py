"""Matching of object queries with target masks: the cheapest one-to-one assignment of each row.

The score takes no part in the cost, as released. S = points, M = matched masks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment

from instructseg.criterion.points import sample_points
from instructseg.criterion.targets import TargetBatch

BAD_COST = 1e6
"""Replaces a cost that is not finite, so that the assignment succeeds; the loss shows the fault."""


@dataclass(frozen=True, eq=False)
class Matches:
    """Pairs of a query and a target mask, row by row, in the order of the queries.

    Attributes:
        row: ``int64[M]``.
        query: ``int64[M]``, 0..Q-1.
        mask: ``int64[M]``, number of the target mask in its row.
    """

    row: torch.Tensor
    query: torch.Tensor
    mask: torch.Tensor


@torch.no_grad()
def match(
    mask_logits: torch.Tensor, targets: TargetBatch, points: torch.Tensor, mask_cost: float, dice_cost: float
) -> Matches:
    """Matches all rows; where a row has more masks than queries, the costliest masks stay without one.

    Args:
        mask_logits: ``float[B, Q, h, w]``.
        points: ``float32[B, S, 2]``, of the comparison.

    Returns:
        ``min(Q, N)`` pairs for each row, on the device of ``mask_logits``.
    """
    logits = sample_points(mask_logits.float(), points)
    labels, weights = targets.sample(points)
    cost = mask_cost * pairwise_bce(logits, labels, weights) + dice_cost * pairwise_dice(
        logits, labels, weights
    )
    cost = cost.nan_to_num(BAD_COST, BAD_COST, BAD_COST).cpu()  # (B, Q, N)
    pairs = []
    for row, count in enumerate(targets.counts):
        query, mask = map(torch.from_numpy, linear_sum_assignment(cost[row, :, :count].numpy()))
        pairs.append(torch.stack([torch.full_like(query, row), query, mask]))
    return Matches(*torch.cat([torch.empty(3, 0, dtype=torch.int64), *pairs], dim=1).to(mask_logits.device))


def pairwise_bce(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of every query with every mask.

    Args:
        logits: ``float32[B, Q, S]``.
        labels: ``float32[B, N, S]``, 0..1.
        weights: ``float32[B, S]``, 0 or 1.

    Returns:
        ``float32[B, Q, N]``.
    """
    # BCE(x, t) = softplus(x) - x * t
    empty = (F.softplus(logits) * weights[:, None]).sum(-1, keepdim=True)
    overlap = logits @ (labels * weights[:, None]).mT
    return (empty - overlap) / weights.sum(-1).clamp(min=1)[:, None, None]


def pairwise_dice(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Dice loss, 0..1, of every query with every mask; shapes as :func:`pairwise_bce`."""
    inside = logits.sigmoid() * weights[:, None]
    labels = labels * weights[:, None]
    total = inside.sum(-1)[..., None] + labels.sum(-1)[:, None]
    return 1 - (2 * inside @ labels.mT + 1) / (total + 1)
