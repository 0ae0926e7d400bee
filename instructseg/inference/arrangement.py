"""Objects of several classes on one frame, arranged as instance, panoptic or semantic segmentation.

===========  ==========================================================================================
arrangement  result
===========  ==========================================================================================
instance     every object; of two masks for the same object, the class of the higher score has it
panoptic     the same, and each pixel belongs to one object: that of the largest score times probability
semantic     one mask per class, and each pixel belongs to one class, by the same rule
===========  ==========================================================================================

A class that is not there keeps its prediction with an empty mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from instructseg.inference.selection import Arrangement, distinct_objects, join
from instructseg.prediction import Prediction

SAME_OBJECT = 0.7
"""Overlap (IoU) from which masks of two classes are of one object."""
LEAST_VISIBLE = 0.5
"""Share of an object's pixels that it must keep against others in a panoptic result."""


def arrange(predictions: Sequence[Prediction], kind: Arrangement) -> list[Prediction]:
    """Predictions on one frame, arranged.

    Args:
        predictions: every object of every class, with soft masks; classes are told apart by ``instruction_id``.
        kind: of result.

    Returns:
        In the order of the classes, at least one prediction for each; those of a class in their order.
    """
    if kind == "semantic":
        by_class: dict[int, list[Prediction]] = {}
        for one in predictions:
            by_class.setdefault(one.instruction_id, []).append(one)
        return _owned([join(some) for some in by_class.values()])
    masks, scores = [one.mask for one in predictions], [one.score for one in predictions]
    seen = [place for place, one in enumerate(predictions) if one.found]
    places = [
        seen[i] for i in distinct_objects([masks[i] for i in seen], [scores[i] for i in seen], SAME_OBJECT)
    ]
    kept = [one if place in places else _emptied(one) for place, one in enumerate(predictions)]
    return _without_spare(_owned(kept, LEAST_VISIBLE) if kind == "panoptic" else kept)


def _owned(predictions: Sequence[Prediction], least: float = 0.0) -> list[Prediction]:
    """The same with each pixel in one mask at most.

    Args:
        predictions: with soft masks.
        least: share of a mask that must remain; its pixels fall to the others otherwise.
    """
    found = list(predictions)
    while True:
        best = np.zeros(found[0].mask.shape, np.float32)
        owner = np.full(best.shape, -1)
        for place, one in enumerate(found):
            assert one.probability is not None
            weight = np.where(one.mask, one.score * one.probability, 0)
            ahead = weight > best
            best[ahead], owner[ahead] = weight[ahead], place
        masks = [owner == place for place in range(len(found))]
        small = [
            (mask.sum() / one.area, place)
            for place, (mask, one) in enumerate(zip(masks, found, strict=True))
            if one.found and mask.sum() < least * one.area
        ]
        if not small:
            return [replace(one, mask=mask) for one, mask in zip(found, masks, strict=True)]
        _, place = min(small)
        found[place] = _emptied(found[place])


def _emptied(one: Prediction) -> Prediction:
    soft = None if one.probability is None else np.zeros_like(one.probability)
    return replace(one, mask=np.zeros_like(one.mask), probability=soft)


def _without_spare(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Without empty predictions, but for one of each class that has no other."""
    there = {one.instruction_id for one in predictions if one.found}
    kept: list[Prediction] = []
    for one in predictions:
        if one.found or one.instruction_id not in there:
            kept.append(one)
            there.add(one.instruction_id)
    return kept
