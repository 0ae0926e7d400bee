"""Classes on a frame, against plain loops over pixels and masks."""

from __future__ import annotations

import numpy as np
import pytest

from instructseg.inference.arrangement import arrange
from instructseg.inference.selection import AnswerOptions, AnswerRule
from instructseg.prediction import Prediction


def found(columns: slice, score: float, number: int, chance: float = 0.9, id: int = 0) -> Prediction:
    soft = np.full((4, 12), 0.05, np.float32)
    soft[:, columns] = chance
    text = f"class {number}"
    return Prediction(soft > 0.5, score, 0.9, text, soft, id=id, instruction_id=number)


NOTHING = found(slice(0), 0.1, 2)
OBJECTS = [found(slice(0, 4), 0.9, 0, id=1), found(slice(5, 9), 0.6, 0, id=2), found(slice(0, 4), 0.7, 1, id=3),
           found(slice(8, 12), 0.8, 1, id=4), NOTHING]  # fmt: skip


def test_instances_of_two_classes_on_one_object_are_one() -> None:
    kept = arrange(OBJECTS, "instance")
    assert [one.id for one in kept] == [1, 2, 4, 0] and not kept[-1].found
    assert [one.area for one in kept[:3]] == [16, 16, 16]  # overlaps of different objects stay


def test_panoptic_pixels_belong_to_the_surest_object() -> None:
    kept = arrange(OBJECTS, "panoptic")
    assert [one.id for one in kept] == [1, 2, 4, 0]
    assert not sum(one.mask.astype(int) for one in kept).max() > 1
    expected = np.zeros((4, 12), int)
    for place in np.ndindex(4, 12):
        there = [
            (o.score * o.probability[place], o.id)
            for o in (OBJECTS[0], OBJECTS[1], OBJECTS[3])
            if o.mask[place]
        ]
        expected[place] = max(there)[1] if there else 0
    assert np.array_equal(sum(one.id * one.mask for one in kept), expected)


def test_objects_that_are_hidden_are_gone_from_a_panoptic_result() -> None:
    hidden = found(slice(0, 4), 0.5, 1, id=9)
    front = found(slice(1, 9), 0.9, 0, id=8)
    kept = arrange([front, hidden], "panoptic")
    assert [(one.id, one.found, one.area) for one in kept] == [(8, True, 32), (9, False, 0)]
    assert not arrange([hidden, front], "panoptic")[0].found  # whatever the order


def test_semantic_has_one_mask_per_class() -> None:
    kept = arrange(OBJECTS, "semantic")
    assert [one.instruction_id for one in kept] == [0, 1, 2]
    expected = np.zeros((3, 4, 12), bool)
    for place in np.ndindex(4, 12):
        best, value = None, 0.0
        for number, score in ((0, 0.9), (1, 0.8)):  # of a class, the best score and the largest probability
            there = [o for o in OBJECTS if o.instruction_id == number and o.mask[place]]
            if there and score * max(o.probability[place] for o in there) > value:
                best, value = number, score * max(o.probability[place] for o in there)
        if best is not None:
            expected[(best, *place)] = True
    for one, mask in zip(kept, expected, strict=True):
        assert np.array_equal(one.mask, mask)


def test_one_class_that_is_not_there() -> None:
    for kind in ("instance", "panoptic", "semantic"):
        (one,) = arrange([NOTHING], kind)  # type: ignore[arg-type]
        assert not one.found and one.instruction_id == 2


def test_options_of_classes() -> None:
    with pytest.raises(ValueError, match="unknown arrangement 'pan': use instance, panoptic, semantic"):
        AnswerOptions(arrange="pan")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="classes have all their instances"):
        AnswerOptions(arrange="semantic", union=True)
    assert AnswerRule(arrange="semantic").several("dog") and not AnswerRule(arrange="semantic").numbers_objects(
        "dog"
    )
    assert AnswerRule(arrange="panoptic").numbers_objects("dog")
