"""Predictions of an instruction on a frame: the best object, every object that fits, or their union.

The presence of an instruction decides first: below the threshold, nothing is there. Otherwise each query whose
score reaches a cut is an object. Duplicates are removed by the overlap of their masks (mask NMS); a mask that
covers other objects, and little else, gives way to them, and a part of an object gives way to it.

Letters: ``Q`` queries, ``B`` rows, ``N`` objects, ``h, w`` cells at stride 4, ``H, W`` pixels of the frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypedDict, get_args

import numpy as np
import torch

from instructseg.inference.edges import EdgeGuide
from instructseg.inference.postprocess import (
    QUERIES_AT_ONCE,
    all_masks,
    check_finite,
    predictions,
    presence_of,
    soft_mask,
)
from instructseg.plurals import means_several, named_number
from instructseg.prediction import Prediction
from instructseg.structures import Geometry, SegOutput

Arrangement = Literal["instance", "panoptic", "semantic"]
"""Kinds of results for a list of classes."""
ARRANGEMENTS: tuple[Arrangement, ...] = get_args(Arrangement)
CUT = 0.5
"""Smallest score of an object, for weights without a fitted one."""
DUPLICATE = 0.5
"""Overlap (IoU) from which two masks are of one object."""
CONTAINED = 0.8
"""Share of a mask inside another from which it is a part of it."""
MOST_INSTANCES = 100
"""Largest number of objects of an instruction."""


@dataclass(frozen=True)
class AnswerOptions:
    """Settings of every prediction, on images and in video.

    Attributes:
        threshold: presence (0..1) below which a mask is empty; ``None`` for that of the weights, if they have
            one (the bundled ones have); 0 for a mask in any case.
        soft: whether predictions carry ``probability``.
        all_instances: whether every object that fits is predicted, with its own mask, score and id; ``None``
            where the instruction's words mean several ("all the circles", "both dogs").
        union: whether these objects are joined in one prediction, as gRefCOCO is evaluated.
        arrange: for instructions that name classes, as "person" or "the red car": ``"instance"``,
            ``"panoptic"`` or ``"semantic"`` (:mod:`instructseg.inference.arrangement`); ``None`` for others.
        edges: whether outlines of masks are moved to edges of the frame (:mod:`instructseg.inference.edges`);
            ``None`` for what the weights say (``edges`` of their processor; off unless set).

    Raises:
        ValueError: an option is out of range, or two exclude each other.
    """

    threshold: float | None = None
    soft: bool = False
    all_instances: bool | None = None
    union: bool = False
    arrange: Arrangement | None = None
    edges: bool | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold {self.threshold} is outside 0..1")
        if self.union and self.all_instances is False:
            raise ValueError("union joins all instances: leave out all_instances=False")
        if self.arrange is not None and self.arrange not in ARRANGEMENTS:
            raise ValueError(f"unknown arrangement {self.arrange!r}: use {', '.join(ARRANGEMENTS)}")
        if self.arrange is not None and (self.union or self.all_instances is False):
            raise ValueError("classes have all their instances: leave out union and all_instances=False")


class AnswerKeywords(TypedDict, total=False):
    """Fields of :class:`AnswerOptions` by keyword."""

    threshold: float | None
    soft: bool
    all_instances: bool | None
    union: bool
    arrange: Arrangement | None
    edges: bool | None


@dataclass(frozen=True)
class AnswerRule(AnswerOptions):
    """Rule by which masks and scores of the model become predictions.

    Attributes:
        temperature: of the presence; 1 for the model's own.
        cut: score (0..1) from which a query is an object.
    """

    temperature: float = 1.0
    cut: float = CUT

    def several(self, instruction: str) -> bool:
        """Whether several objects may answer an instruction."""
        if self.arrange is not None:
            return True
        if self.all_instances is None:
            return self.union or means_several(instruction)
        return self.all_instances or self.union

    def numbers_objects(self, instruction: str) -> bool:
        """Whether the objects of an instruction have ids of their own, and not one for all of it."""
        return self.several(instruction) and not self.union and self.arrange != "semantic"


def answers(
    output: SegOutput,
    geometry: Geometry,
    instructions: Sequence[str],
    numbers: Sequence[int],
    rule: AnswerRule,
    frame: np.ndarray | None = None,
) -> list[list[Prediction]]:
    """Predictions of each row of a batch on one frame, the best first.

    Args:
        output: of the model, ``B`` rows with a mask.
        geometry: of the frame.
        instructions: one per row.
        numbers: likewise, their ids.
        rule: chooses the objects.
        frame: ``uint8[H, W, 3]``; needed where the rule has ``edges``.

    Returns:
        At least one prediction per row; one with an empty mask where nothing is there. The ``id`` of several
        objects is 0: the caller numbers them.

    Raises:
        ValueError: the threshold is outside 0..1, or a score is not a number.
    """
    several = [rule.several(text) for text in instructions]
    assert output.mask_logits is not None and output.seg_logits is not None
    presence = presence_of(output.seg_logits, rule.temperature).tolist()
    empty = [rule.threshold is not None and value < rule.threshold for value in presence]
    guide = EdgeGuide(frame, geometry) if rule.edges and frame is not None else None
    found: list[list[Prediction]] = [[] for _ in instructions]
    single = [row for row, many in enumerate(several) if not many or empty[row]]
    best = predictions(
        SegOutput(output.mask_logits[single], output.seg_logits[single]),
        [geometry] * len(single),
        [instructions[row] for row in single],
        numbers=[numbers[row] for row in single],
        threshold=rule.threshold,
        soft=rule.soft,
        temperature=rule.temperature,
        guide=guide,
    )
    for row, one in zip(single, best, strict=True):
        found[row] = [replace(one, id=0) if several[row] else one]
    for row in (row for row, some in enumerate(found) if not some):
        masks, scores = output.mask_logits[row], output.seg_logits[row]
        found[row] = _every(masks, scores, geometry, instructions[row], rule, guide)
        found[row] = [replace(one, instruction_id=numbers[row]) for one in found[row]]
    return found


def _every(
    mask_logits: torch.Tensor,
    seg_logits: torch.Tensor,
    geometry: Geometry,
    text: str,
    rule: AnswerRule,
    guide: EdgeGuide | None,
) -> list[Prediction]:
    """Every object that answers an instruction."""
    check_finite(seg_logits)
    presence = float(presence_of(seg_logits, rule.temperature))
    masks, scores, queries = _candidates(mask_logits, seg_logits, geometry, rule.cut)
    chosen = select_objects(masks, scores)[: named_number(text) or MOST_INSTANCES]
    found = []
    for place in chosen:
        mask, chance = masks[place], None
        if rule.soft or guide is not None:
            logits, _ = all_masks(mask_logits[queries[place], None], seg_logits[queries[place], None], geometry)
            mask, chance = soft_mask(logits[0], guide, rule.soft)
        found.append(Prediction(mask, float(scores[place]), presence, text, chance))
    return [join(found)] if rule.union else found


def _candidates(
    mask_logits: torch.Tensor, seg_logits: torch.Tensor, geometry: Geometry, cut: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masks ``bool[N, H, W]``, scores ``float[N]`` and queries ``int[N]`` of the objects; at least the best."""
    bound, order = seg_logits.float().sigmoid().sort(descending=True, stable=True)
    count = max(1, int((bound >= cut).sum()))
    masks, scores = list[np.ndarray](), list[float]()
    for start in range(0, len(order), QUERIES_AT_ONCE):
        # a score is at most its bound: beyond the cut, only the best is of interest, while it may still come
        if start >= count and max(scores, default=0.0) >= float(bound[start]):
            break
        tried = order[start : start + QUERIES_AT_ONCE]
        logits, score = all_masks(mask_logits[tried], seg_logits[tried], geometry)
        masks += [*(logits > 0).cpu().numpy()]
        scores += score.tolist()
    ranked = sorted(range(len(scores)), key=lambda place: -scores[place])
    kept = [place for place in ranked if scores[place] >= cut] or ranked[:1]
    values = np.array([scores[place] for place in kept])
    return np.stack([masks[place] for place in kept]), values, order.cpu().numpy()[kept]


def select_objects(masks: np.ndarray, scores: np.ndarray) -> list[int]:
    """Places of the masks that are objects of their own, in descending order of scores.

    Args:
        masks: ``bool[N, H, W]``.
        scores: ``float[N]``.
    """
    flat = masks.reshape(len(masks), -1)
    inside, overlap = _shared(flat)
    area = inside.diagonal()
    order = np.argsort(-scores, kind="stable").tolist()
    for whole in sorted(order, key=lambda place: -area[place]):
        within = [one for one in order if area[one] < CONTAINED * area[whole] and _part(inside, one, whole)]
        parts = _distinct(within, overlap, DUPLICATE)
        together = np.count_nonzero(flat[parts].any(0) & flat[whole])
        if len(parts) > 1 and together >= CONTAINED * area[whole]:
            order.remove(whole)
    kept = _distinct(order, overlap, DUPLICATE)
    return [
        one for one in kept if not any(area[one] < area[other] and _part(inside, one, other) for other in kept)
    ]


def distinct_objects(masks: Sequence[np.ndarray], scores: Sequence[float], overlap: float) -> list[int]:
    """Mask NMS: places of the masks ``bool[H, W]`` that overlap no better one by ``overlap`` (IoU) or more."""
    if not masks:
        return []
    order = np.argsort(-np.asarray(scores), kind="stable").tolist()
    return _distinct(order, _shared(np.stack(masks).reshape(len(masks), -1))[1], overlap)


def _shared(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of masks ``bool[N, P]``: pixels that two of them share, and their IoU, ``float[N, N]``."""
    inside = np.zeros((len(flat), len(flat)))
    for i, mask in enumerate(flat):
        inside[i, i:] = inside[i:, i] = [np.count_nonzero(mask & other) for other in flat[i:]]
    area = inside.diagonal()
    return inside, inside / np.maximum(area[:, None] + area - inside, 1)


def _part(inside: np.ndarray, one: int, whole: int) -> bool:
    """Whether a mask lies inside another; ``inside`` holds the pixels that two masks share."""
    return bool(inside[one, whole] >= CONTAINED * max(inside[one, one], 1))


def _distinct(order: Sequence[int], overlap: np.ndarray, most: float) -> list[int]:
    """Those masks of an order that are no duplicates of earlier ones."""
    kept: list[int] = []
    for place in order:
        if all(overlap[place, other] < most for other in kept):
            kept.append(place)
    return kept


def join(found: Sequence[Prediction]) -> Prediction:
    """The union of predictions of one instruction on one frame: largest of their scores, least agreement.

    Args:
        found: at least one, the best first.
    """
    soft = [one.probability for one in found if one.probability is not None]
    shares = [one.agreement for one in found if one.agreement is not None]
    return replace(
        found[0],
        mask=np.any([one.mask for one in found], axis=0),
        probability=np.max(soft, axis=0) if soft else None,
        score=max(one.score for one in found),
        agreement=min(shares, default=None),
    )
