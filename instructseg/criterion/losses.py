"""Loss functions; each returns a scalar, 0 with its graph where there are no targets.

S = points of a mask, M = matched masks (of :func:`text_loss`: learned tokens), V = vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from instructseg.structures import IGNORE_LABEL


def mask_loss(
    logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, num_masks: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy at the points, mean over a mask's points, sum over masks / ``num_masks``.

    Args:
        logits: ``float32[M, S]``.
        labels: ``float32[M, S]``, 0..1.
        weights: ``float32[M, S]``, 0 at points that do not count, else 1.
        num_masks: scalar, above 0; masks of a batch, on the average of the step.
    """
    loss = F.binary_cross_entropy_with_logits(logits, labels, weights, reduction="none")
    return (loss.sum(1) / weights.sum(1).clamp(min=1)).sum() / num_masks


def dice_loss(
    logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, num_masks: torch.Tensor
) -> torch.Tensor:
    """1 - Dice coefficient (smoothed by 1), sum over masks / ``num_masks``; arguments as :func:`mask_loss`."""
    inside, labels = logits.sigmoid() * weights, labels * weights
    dice = (2 * (inside * labels).sum(1) + 1) / (inside.sum(1) + labels.sum(1) + 1)
    return (1 - dice).sum() / num_masks


def class_loss(
    seg_logits: torch.Tensor, positive: torch.Tensor, num_answers: torch.Tensor, num_scores: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy of each query's score, sum / ``num_scores``; positives weigh as much as the many negatives.

    Args:
        seg_logits: ``float32[B, Q]``.
        positive: ``float32[B, Q]``, 1 for the queries matched to an answer, else 0.
        num_answers: scalar, above 0; answers of a batch, on the average of the step.
        num_scores: scalar, above 0; ``B * Q``, on the average of the step.
    """
    # more answers than queries would make it negative
    pos_weight = ((num_scores - num_answers) / num_answers).clamp(min=0)
    loss = F.binary_cross_entropy_with_logits(seg_logits, positive, pos_weight=pos_weight, reduction="sum")
    return loss / num_scores


def selection_loss(seg_logits: torch.Tensor, positive: torch.Tensor, num_rows: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of a softmax over a row's queries with its answers, all equally right.

    Args:
        seg_logits: ``float32[B, Q]``.
        positive: as for :func:`class_loss`; a row without any contributes nothing.
        num_rows: scalar, above 0; rows with an answer, on the average of the step.

    Returns:
        Sum over the rows / ``num_rows``.
    """
    right = (positive * seg_logits.log_softmax(1)).sum(1) / positive.sum(1).clamp(min=1)
    return -right.sum() / num_rows


def text_loss(text_logits: torch.Tensor, labels: torch.Tensor, num_tokens: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the next token, sum over the learned ones / ``num_tokens``.

    Args:
        text_logits: ``float[M, V]``, rows in order.
        labels: ``int64[B, L]``; the M that are not :data:`IGNORE_LABEL`, the first column aside, are learned.
        num_tokens: scalar, above 0.

    Raises:
        ValueError: when there are not M.
    """
    following = labels[:, 1:]
    wanted = following[following != IGNORE_LABEL]
    if len(wanted) != len(text_logits):
        raise ValueError(f"{len(text_logits)} rows of text logits for {len(wanted)} learned labels")
    return F.cross_entropy(text_logits.float(), wanted, reduction="sum") / num_tokens
