"""Labels become instructions and come back with the objects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from instructseg.interop.annotate import find_objects, outlines, parse_labels
from instructseg.prediction import Prediction


class Recorded:
    """A system that finds a box for each instruction but one."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def predict(self, image: Any, instructions: Any, **options: Any) -> list[Prediction]:
        self.asked.append((list(instructions), options))
        found = []
        for number, text in enumerate(instructions):
            mask = np.zeros(np.shape(image)[:2], bool)
            if text != "nothing":
                mask[2 : 6 + number, 3:9] = True
                mask[12:14, 1:3] = True
            found.append(Prediction(mask, 0.5, 0.75, text, id=number + 1, instruction_id=number))
        return found


IMAGE = np.zeros((20, 30, 3), np.uint8)


def test_objects_carry_the_label_of_their_instruction() -> None:
    system = Recorded()
    found = find_objects(system, IMAGE, {"dog": "the dog on the left", "cat": "nothing", "ball": "ball"}, 0.25)
    assert [(one.label, one.instruction, one.id) for one in found] == [
        ("dog", "the dog on the left", 1),
        ("ball", "ball", 3),
    ]
    assert system.asked == [(["the dog on the left", "nothing", "ball"], {"threshold": 0.25})]
    find_objects(system, IMAGE, {"a": "a"})
    assert system.asked[-1] == (["a"], {})
    with pytest.raises(ValueError, match="no label"):
        find_objects(system, IMAGE, {})


def test_labels_are_parsed() -> None:
    assert parse_labels("dog=the dog on the left; ball\n what = who is it? = she ") == {
        "dog": "the dog on the left",
        "ball": "ball",
        "what": "who is it? = she",
    }
    assert parse_labels(" ; ") == {}
    for text, said in (("=x", "is no label"), ("x=", "is no label"), ("a;a", "occurs twice")):
        with pytest.raises(ValueError, match=said):
            parse_labels(text)


def test_outlines_give_the_mask_again() -> None:
    (one,) = find_objects(Recorded(), IMAGE, {"a": "a"})
    filled = np.zeros((20, 30), bool)
    for line in outlines(one, 0.0):
        filled |= _inside(line)
    np.testing.assert_array_equal(filled, one.mask)


def _inside(line: np.ndarray) -> np.ndarray:
    """Pixels whose middle lies inside, by counting crossings one by one."""
    filled = np.zeros((20, 30), bool)
    for row in range(20):
        for column in range(30):
            x, y, inside = column + 0.5, row + 0.5, False
            for (a, b), (c, d) in zip(line, np.roll(line, -1, axis=0), strict=True):
                if (b > y) != (d > y) and x < a + (c - a) * (y - b) / (d - b):
                    inside = not inside
            filled[row, column] = inside
    return filled
