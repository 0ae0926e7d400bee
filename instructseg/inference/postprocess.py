"""Mask logits to predictions at the frame's own size, in the released order.

Logits at a quarter of the padded size are brought to the padded size, cropped to the image, brought to
the frame's size (bilinear each time), and only then thresholded and scored. The score of a query is
``sigmoid(seg) * mean(sigmoid(mask) where mask > 0)``; the query with the best score is the answer.

The mean is at most 1, so a score is at most ``sigmoid(seg)``. Queries are enlarged in descending order of
that bound, a few at a time, until no remaining one can win: the same result as enlarging all of them.

Letters: ``N`` masks, ``Q`` queries, ``B`` rows, ``h, w`` cells at stride 4, ``H, W`` pixels of the frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from instructseg.inference.edges import EdgeGuide
from instructseg.prediction import Prediction
from instructseg.structures import Geometry, ModelInputs, SegOutput

QUERIES_AT_ONCE = 2
"""Queries of a row enlarged together."""
PIXELS_AT_ONCE = 2**26
"""Limit of enlarged pixels in memory (a quarter of a gigabyte); one row may exceed it."""

_EPSILON = 1e-6  # as released: an empty mask scores 0
_ROUNDING = 1 + 1e-6  # a bound and a score that are equal may differ in their last bits


@dataclass(frozen=True, eq=False)
class BestMasks:
    """The winning query of each row.

    Attributes:
        query: ``int64[B]``.
        logits: ``float32[B, H, W]`` at the frame's own size.
        score: ``float32[B]``, 0..1.
    """

    query: torch.Tensor
    logits: torch.Tensor
    score: torch.Tensor


def to_frame(logits: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """Mask logits ``float[..., h, w]`` of the padded input to ``float32[..., H, W]`` of the frame."""
    height, width = geometry.resized
    maps = logits.reshape(1, -1, *logits.shape[-2:]).float()
    maps = F.interpolate(maps, size=geometry.padded, mode="bilinear", align_corners=False)
    maps = F.interpolate(
        maps[..., :height, :width], size=geometry.original, mode="bilinear", align_corners=False
    )
    return maps.view(*logits.shape[:-2], *geometry.original)


def scores(logits: torch.Tensor, seg_logits: torch.Tensor) -> torch.Tensor:
    """The official ranking score.

    Args:
        logits: ``float32[..., H, W]`` at the frame's own size.
        seg_logits: ``float[...]``.

    Returns:
        ``float32[...]``, 0..1, never above ``sigmoid(seg_logits)``; 0 where a mask is empty.
    """
    inside = logits > 0
    area = inside.sum((-2, -1), dtype=torch.float32)
    total = torch.where(inside, logits.sigmoid(), 0).sum((-2, -1))
    return seg_logits.float().sigmoid() * (total / (area + _EPSILON)).clamp(max=1)


def all_masks(
    mask_logits: torch.Tensor, seg_logits: torch.Tensor, geometry: Geometry
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and scores of all queries of a row, at the frame's size.

    Args:
        mask_logits: ``float[Q, h, w]``.
        seg_logits: ``float[Q]``.
        geometry: of the row's key frame.

    Returns:
        ``float32[Q, H, W]`` logits at the frame's own size, and ``float32[Q]`` scores.
    """
    logits = to_frame(mask_logits, geometry)
    return logits, scores(logits, seg_logits)


def best_masks(mask_logits: torch.Tensor, seg_logits: torch.Tensor, geometry: Geometry) -> BestMasks:
    """Best-scored query of each row; of equal scores the first query.

    Args:
        mask_logits: ``float[B, Q, h, w]``, rows on frames of the same geometry.
        seg_logits: ``float[B, Q]``.
        geometry: of the rows' key frames.

    Raises:
        ValueError: a score is not a number.
    """
    check_finite(seg_logits)
    rows, queries = seg_logits.shape
    bound, order = seg_logits.float().sigmoid().sort(dim=1, descending=True, stable=True)
    best = BestMasks(
        seg_logits.new_full((rows,), queries, dtype=torch.int64),
        mask_logits.new_empty((rows, *geometry.original), dtype=torch.float32),
        seg_logits.new_full((rows,), -1.0, dtype=torch.float32),
    )
    for start in range(0, queries, QUERIES_AT_ONCE):
        active = (bound[:, start] * _ROUNDING >= best.score).nonzero().flatten()
        if not len(active):
            break
        tried = order[active, start : start + QUERIES_AT_ONCE]
        logits, score = all_masks(
            mask_logits[active[:, None], tried], seg_logits[active[:, None], tried], geometry
        )
        for column in range(tried.shape[1]):
            query, value = tried[:, column], score[:, column]
            equal_but_first = (value == best.score[active]) & (query < best.query[active])
            won = (value > best.score[active]) | equal_but_first
            winners = active[won]
            best.query[winners] = query[won]
            best.score[winners] = value[won]
            best.logits[winners] = logits[won, column]
    return best


def check_finite(seg_logits: torch.Tensor) -> None:
    """Raises a ValueError if a score is not a number."""
    if not bool(seg_logits.isfinite().all()):
        raise ValueError("the model's scores are not finite: load it with dtype float32 or bfloat16")


def presence_of(seg_logits: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """Presence ``float32[...]``, 0..1, of mask score logits ``float[..., Q]``.

    Args:
        seg_logits: of the model.
        temperature: the logits are divided by it; fitted, a presence is a share of instructions with a target.
    """
    logits = seg_logits.float() if temperature == 1 else seg_logits.float() / temperature
    return logits.sigmoid().amax(-1)


def predictions(
    output: SegOutput,
    geometry: Sequence[Geometry],
    instructions: Sequence[str] | None = None,
    *,
    numbers: Sequence[int] | None = None,
    threshold: float | None = None,
    soft: bool = False,
    temperature: float = 1.0,
    guide: EdgeGuide | None = None,
) -> list[Prediction]:
    """Prediction of each row with a mask.

    Args:
        output: of the model.
        geometry: one per row of ``output.mask_logits``.
        instructions: likewise; written into the predictions.
        numbers: likewise, their ids; ``None`` for their places.
        threshold: 0..1; a row of lower presence gets an empty mask, and probability 0. ``None`` for a mask in
            any case, as released.
        soft: whether predictions carry ``probability``.
        temperature: of the presence; 1 for the model's own.
        guide: the edges that outlines follow, of the one frame of all rows; ``None`` for the released masks.

    Raises:
        ValueError: ``threshold`` is outside 0..1, or a score is not a number.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise ValueError(f"threshold {threshold} is outside 0..1")
    if output.mask_logits is None or output.seg_logits is None:
        return []
    assert len(geometry) == len(output.mask_logits)
    texts, numbers = instructions or [""] * len(geometry), numbers or range(len(geometry))
    presence = presence_of(output.seg_logits, temperature).tolist()
    found: dict[int, Prediction] = {}
    for rows in _together(geometry):
        best = best_masks(output.mask_logits[rows], output.seg_logits[rows], geometry[rows[0]])
        for row, score, logits in zip(rows, best.score.tolist(), best.logits, strict=True):
            there = threshold is None or presence[row] >= threshold
            mask, chance = soft_mask(logits, guide, soft) if there else _nothing(logits, soft)
            number = numbers[row]
            found[row] = Prediction(
                mask, score, presence[row], texts[row], chance, id=number + 1, instruction_id=number
            )
    return [found[row] for row in range(len(geometry))]


def soft_mask(
    logits: torch.Tensor, guide: EdgeGuide | None, soft: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """A mask from logits ``float32[H, W]``, along the edges of ``guide`` if there is one.

    Returns:
        ``bool[H, W]``, and ``float32[H, W]``, 0..1, if ``soft``.
    """
    if guide is None:
        return (logits > 0).cpu().numpy(), logits.sigmoid().cpu().numpy() if soft else None
    chance = guide.follow(logits.sigmoid().cpu().numpy())
    return chance > 0.5, chance if soft else None


def _nothing(logits: torch.Tensor, soft: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """The empty mask of the size of ``logits``, and its probability if ``soft``."""
    empty = np.zeros(tuple(logits.shape), np.float32)
    return empty > 0, empty if soft else None


def postprocess(
    output: SegOutput, inputs: ModelInputs, *, threshold: float | None = None, soft: bool = False
) -> list[Prediction]:
    """:func:`predictions` of a whole forward: one per row of ``inputs`` with a mask, in order."""
    count = len(inputs.input_ids)
    rows = range(count) if output.mask_rows is None else output.mask_rows.tolist()
    images = range(count) if inputs.image_index is None else inputs.image_index.tolist()
    geometry = [inputs.geometry[images[row]] for row in rows]
    return predictions(output, geometry, threshold=threshold, soft=soft)


def _together(geometry: Sequence[Geometry]) -> list[list[int]]:
    """Groups of rows to enlarge together: of one geometry, within the pixel limit."""
    groups: list[list[int]] = []
    for same in dict.fromkeys(geometry):
        rows = [row for row, other in enumerate(geometry) if other == same]
        largest = max(same.original[0] * same.original[1], same.padded[0] * same.padded[1])
        size = max(1, PIXELS_AT_ONCE // (QUERIES_AT_ONCE * largest))
        groups += [rows[first : first + size] for first in range(0, len(rows), size)]
    return groups
