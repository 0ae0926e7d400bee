"""Random points, instead of all pixels, at which masks are compared.

Points are ``(x, y)`` in 0..1 of the padded frame, so one point means the same place in a coarse map of
logits and in a full-size target. S = sampled points of a mask, M = masks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F


def sample_points(maps: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Reads maps between their pixels, bilinearly; beyond the outermost pixel centres they fade to 0.

    Args:
        maps: ``float[B, C, H, W]``.
        points: ``float[B, S, 2]``, ``(x, y)`` in 0..1.

    Returns:
        ``float[B, C, S]``.
    """
    grid = 2.0 * points[:, :, None] - 1.0
    return F.grid_sample(maps, grid, align_corners=False)[..., 0]


@dataclass(frozen=True)
class PointSampler:
    """Sampler of random points.

    Attributes:
        num_points: S, points per mask.
        oversample_ratio: candidates per point among which the most uncertain are chosen, at least 1.
        importance_sample_ratio: share of these uncertain points, 0..1; the others are uniform.
    """

    num_points: int
    oversample_ratio: float
    importance_sample_ratio: float

    def uniform(self, rows: int, device: torch.device) -> torch.Tensor:
        """Points to match on, the same for all masks of a row: ``float32[rows, S, 2]``."""
        # one draw per row is the order of the published training code: equal seeds, equal points
        draws = [torch.rand(1, self.num_points, 2, device=device) for _ in range(rows)]
        return torch.cat(draws) if draws else torch.empty(0, self.num_points, 2, device=device)

    @torch.no_grad()
    def uncertain(self, logits: torch.Tensor) -> torch.Tensor:
        """Points to compute the loss on, most of them near the predicted outline.

        Args:
            logits: ``float32[M, h, w]``; a logit near 0 is uncertain.

        Returns:
            ``float32[M, S, 2]``.
        """
        masks, device = logits.shape[0], logits.device
        candidates = torch.rand(masks, int(self.num_points * self.oversample_ratio), 2, device=device)
        chosen = int(self.num_points * self.importance_sample_ratio)
        # sampled first: between logits of -1 and 1 lies a most uncertain point
        certainty = sample_points(logits[:, None], candidates)[:, 0].abs()  # (M, candidates)
        index = (-certainty).topk(chosen, dim=1).indices
        near = candidates.gather(1, index[..., None].expand(-1, -1, 2))
        if chosen == self.num_points:
            return near
        return torch.cat([near, torch.rand(masks, self.num_points - chosen, 2, device=device)], dim=1)
