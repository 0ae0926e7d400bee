"""Matching and losses of VisionLLM: focal and L1 of image tokens, cross-entropy of the answers (section 3.5).

The paper gives no costs of the matching and no weights of the losses: those here are ours, as are the soft
targets of the location tokens.

Letters as in :mod:`instructseg.systems.visionllm.format_queries`; ``L`` layers, ``G`` pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment

from instructseg.systems.visionllm.guided_tokenizer import ImageTokens
from instructseg.systems.visionllm.visionllm_model import ObjectLogits

COSTS = {"object": 2.0, "location": 5.0}
"""Of the matching."""
WEIGHTS = {"object": 2.0, "location": 5.0, "class": 2.0, "place": 1.0}
"""Of the losses."""
NO_OBJECT = 0.2
"""Weight of an answer that is to be no object."""
SPREAD = 1.5
"""Standard deviation, in bins, of the target of a location token."""
_ALPHA, _GAMMA = 0.25, 2.0


@dataclass(frozen=True, eq=False)
class ObjectTargets:
    """The objects of one row's prompt.

    Attributes:
        classes: ``int64[G]``, numbers of their class tokens.
        centres: ``float32[G, 2]``, 0..1.
        corners: ``float32[G, N, 2]``, of the box or polygon, absolute, 0..1.
    """

    classes: torch.Tensor
    centres: torch.Tensor
    corners: torch.Tensor


def focal(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Focal loss by element (Lin et al. 2017), alpha 0.25, gamma 2; shapes alike, labels 0 or 1."""
    loss = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    wrong = (labels - logits.sigmoid()).abs()
    return (_ALPHA * labels + (1 - _ALPHA) * (1 - labels)) * wrong**_GAMMA * loss


@torch.no_grad()
def match_objects(
    objectness: torch.Tensor, locations: torch.Tensor, targets: Sequence[ObjectTargets]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The cheapest one-to-one assignment of each row's image tokens and objects.

    Args:
        objectness: ``float[B, M]``.
        locations: ``float[B, M, 2]``.
        targets: of each row.

    Returns:
        Row, image token and number of the object in its row of the pairs, ``int64[G]`` each.
    """
    gain = focal(objectness, torch.ones_like(objectness)) - focal(objectness, torch.zeros_like(objectness))
    pairs = []
    for row, target in enumerate(targets):
        away = torch.cdist(locations[row].float(), target.centres, p=1)
        cost = COSTS["object"] * gain[row, :, None] + COSTS["location"] * away
        token, number = map(torch.from_numpy, linear_sum_assignment(cost.cpu().numpy()))
        pairs.append(torch.stack([torch.full_like(token, row), token, number]))
    row, token, number = torch.cat(pairs, dim=1).to(objectness.device)
    return row, token, number


def token_losses(found: ImageTokens, targets: Sequence[ObjectTargets]) -> dict[str, torch.Tensor]:
    """Weighted losses of the image tokens, the mean over the tokenizer's layers, each with its own matching."""
    layers = found.objectness.shape[1]
    objects, places = [], []
    for layer in range(layers):
        objectness, locations = found.objectness[:, layer].float(), found.locations[:, layer].float()
        row, token, number = match_objects(objectness, locations, targets)
        labels = torch.zeros_like(objectness)
        labels[row, token] = 1
        count = max(len(row), 1)
        objects.append(focal(objectness, labels).sum() / count)
        wanted = _chosen([one.centres for one in targets], row, number)
        places.append((locations[row, token] - wanted).abs().sum() / count)
    return {
        "object": WEIGHTS["object"] * torch.stack(objects).mean(),
        "location": WEIGHTS["location"] * torch.stack(places).mean(),
    }


def answer_losses(
    answers: ObjectLogits,
    found: ImageTokens,
    targets: Sequence[ObjectTargets],
    allowed: torch.Tensor,
    tokens: torch.Tensor,
) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """Weighted cross-entropy of classes and places.

    Args:
        answers: of ``tokens``.
        found: the image tokens.
        targets: of each row.
        allowed: ``bool[B, classes + 1]``, the classes of each row's dictionary and no object; the others
            cannot be answered.
        tokens: ``int64[B, K]``, the image tokens that were decoded, distinct, those of objects among them.

    Returns:
        The losses, and the share of matched answers with the right class.
    """
    logits = answers.classes.float().masked_fill(~allowed[:, None], -1e4)
    objectness, locations = found.objectness[:, -1].float(), found.locations[:, -1].float()
    row, token, number = match_objects(objectness, locations, targets)
    block = (token[:, None] == tokens[row]).long().argmax(1)
    labels = torch.full(logits.shape[:2], logits.shape[-1] - 1, device=logits.device)
    labels[row, block] = _chosen([one.classes for one in targets], row, number)
    weights = torch.where(labels == logits.shape[-1] - 1, NO_OBJECT, 1.0)
    crossed = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    classes = (crossed * weights.flatten()).sum() / weights.sum()
    right = (logits[row, block].argmax(-1) == labels[row, block]).float().mean().item() if len(row) else 0.0
    wanted = _chosen([one.corners for one in targets], row, number)
    places = answers.places[row, block].float()
    offsets = (wanted - locations[row, token].detach()[:, None]).flatten(1)
    place = _place_loss(places, offsets) if len(row) else places.sum() * 0
    losses = {"class": WEIGHTS["class"] * classes, "place": WEIGHTS["place"] * place}
    return losses, {"right_class": right}


def _place_loss(logits: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of ``logits[G, 2N, 2R+1]`` with a normal distribution around offsets ``[G, 2N]``, -1..1."""
    half = (logits.shape[-1] - 1) // 2
    bins = torch.arange(-half, half + 1, device=logits.device)
    away = (bins - (offsets * half).clamp(-half, half)[..., None]) / SPREAD
    target = (-0.5 * away**2).softmax(-1)
    return -(target * logits.log_softmax(-1)).sum(-1).mean()


def _chosen(values: Sequence[torch.Tensor], row: torch.Tensor, number: torch.Tensor) -> torch.Tensor:
    """Rows of ragged targets by row of the batch and number in it."""
    starts = torch.tensor([0, *[len(one) for one in values[:-1]]], device=row.device).cumsum(0)
    return torch.cat(list(values))[starts[row] + number]
