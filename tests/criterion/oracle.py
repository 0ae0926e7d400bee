"""The losses once more, mask by mask and in plain loops; slow, and without ignored pixels."""

from __future__ import annotations

from itertools import permutations

import torch
import torch.nn.functional as F

from instructseg.criterion import CriterionConfig
from instructseg.criterion.points import PointSampler
from instructseg.structures import MaskTargets, SegOutput


def read(mask: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Bilinear values of ``mask [H, W]`` at ``points [S, 2]``, by the four pixels around each."""
    height, width = mask.shape
    padded = F.pad(mask, (1, 1, 1, 1))
    values = []
    for x, y in points.tolist():
        x, y = x * width + 0.5, y * height + 0.5
        left, top = int(x), int(y)
        right, below = x - left, y - top
        corners = padded[top : top + 2, left : left + 2]
        weights = torch.tensor(
            [[(1 - below) * (1 - right), (1 - below) * right], [below * (1 - right), below * right]]
        )
        values.append((corners * weights).sum())
    return torch.stack(values)


def bce(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return -(labels * F.logsigmoid(logits) + (1 - labels) * F.logsigmoid(-logits)).mean()


def dice(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    inside = logits.sigmoid()
    return 1 - (2 * (inside * labels).sum() + 1) / (inside.sum() + labels.sum() + 1)


def assign(cost: list[list[float]]) -> list[tuple[int, int]]:
    """Cheapest pairs (query, mask) by trying all, in the order of the queries; needs Q >= N."""
    queries, masks = len(cost), len(cost[0]) if cost else 0
    best = min(permutations(range(queries), masks), key=lambda p: sum(cost[q][m] for m, q in enumerate(p)))
    return sorted((query, mask) for mask, query in enumerate(best))


def slow_losses(
    config: CriterionConfig, sampler: PointSampler, output: SegOutput, targets: list[MaskTargets]
) -> dict[str, torch.Tensor]:
    """What :attr:`Losses.raw` should be, text aside."""
    device, raw = output.mask_logits.device, {}
    num_masks = max(sum(len(target.masks) for target in targets), 1)
    answers = [
        [True] * len(t.masks) if t.is_answer is None else [bool(answer) for answer in t.is_answer]
        for t in targets
    ]
    num_answers = max(sum(map(sum, answers)), 1)
    for layer, (masks, scores) in enumerate([(output.mask_logits, output.seg_logits), *output.aux], start=-1):
        points = sampler.uniform(len(targets), device)
        pairs = []
        for row, target in enumerate(targets):
            labels = [read(mask.float(), points[row]) for mask in target.masks]
            cost = []
            for query in range(masks.shape[1]):
                logits = read(masks[row, query].detach(), points[row])
                cost.append(
                    [
                        float(
                            config.mask_weight * bce(logits, label) + config.dice_weight * dice(logits, label)
                        )
                        for label in labels
                    ]
                )
            pairs += [(row, query, mask) for query, mask in assign(cost)]
        chosen = [masks[row, query] for row, query, _ in pairs]
        points = sampler.uncertain(torch.stack(chosen).detach() if chosen else masks[0, :0])
        mask_sum = dice_sum = torch.zeros(())
        positive = torch.zeros_like(scores)
        for (row, query, mask), logits, place in zip(pairs, chosen, points, strict=True):
            compared = read(logits, place), read(targets[row].masks[mask].float(), place)
            mask_sum, dice_sum = mask_sum + bce(*compared), dice_sum + dice(*compared)
            positive[row, query] = float(answers[row][mask])
        negatives_per_positive = (scores.numel() - num_answers) / num_answers
        terms, selected = [], []
        for row in range(len(scores)):
            for query in range(scores.shape[1]):
                score = scores[row, query]
                if positive[row, query]:
                    terms.append(-negatives_per_positive * F.logsigmoid(score))
                else:
                    terms.append(-F.logsigmoid(-score))
            if positive[row].any():
                selected.append(-scores[row].log_softmax(0)[positive[row] > 0].mean())
        suffix = "" if layer < 0 else f"_{layer}"
        raw["mask" + suffix] = mask_sum / num_masks
        raw["dice" + suffix] = dice_sum / num_masks
        raw["class" + suffix] = torch.stack(terms).mean()
        raw["selection" + suffix] = torch.stack(selected).mean() if selected else torch.zeros(())
    return raw
