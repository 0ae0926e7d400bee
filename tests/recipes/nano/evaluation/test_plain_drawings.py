"""Drawings made without the generator: masks beside the pixels, what is asked beside a count by hand."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageColor

from instructseg.structures import Task
from recipes.nano.evaluation.plain_drawings import NUMBERS, RADII, Drawing, PlainDrawings

DRAWINGS = PlainDrawings(24, 5)


@pytest.fixture(scope="module")
def drawings() -> list[Drawing]:
    return [DRAWINGS.scene(index) for index in range(12)]


def test_a_drawing_is_a_function_of_seed_and_index() -> None:
    one, again, other = DRAWINGS.scene(3), DRAWINGS.scene(3), PlainDrawings(24, 6).scene(3)
    assert np.array_equal(one.image, again.image) and one.expressions == again.expressions
    assert not np.array_equal(one.image, other.image)
    with pytest.raises(IndexError, match="drawing 24 of 24"):
        DRAWINGS.scene(24)


def test_masks_lie_where_the_colour_is_and_none_hides_another(drawings: list[Drawing]) -> None:
    assert [drawn.radius for drawn in drawings] == [*RADII, *RADII]
    for drawn in drawings:
        assert 2 <= len(drawn.shapes) == len(drawn.masks) <= 8
        assert drawn.masks.sum(axis=0).max() == 1
        for shape, mask in zip(drawn.shapes, drawn.masks, strict=True):
            inside = drawn.image[mask == 1].astype(int)
            off = np.abs(inside - ImageColor.getrgb(shape.colour)).max(axis=1)
            assert np.mean(off < 60) > 0.8, shape
            down, across = np.nonzero(mask)
            assert np.hypot(across - shape.x, down - shape.y).max() < 1.4 * shape.radius + 2


def test_questions_have_true_answers(drawings: list[Drawing]) -> None:
    kinds = set()
    for drawn in drawings:
        looks = {f"{shape.colour} {shape.shape}" for shape in drawn.shapes}
        for said, sample in zip(drawn.expressions, drawn.samples(), strict=True):
            kinds.add(said.kind)
            assert (sample.task is Task.VQA) == (said.answer is not None)
            if said.kind.startswith("count"):
                assert said.answer == NUMBERS[len(said.targets)]
                words, every = said.text.split()[2:-2], said.kind == "count all"
                fit = [
                    i
                    for i, shape in enumerate(drawn.shapes)
                    if every or shape.colour in words or words[-1].startswith(shape.shape)
                ]
                assert tuple(fit) == said.targets, said
            elif said.kind == "is there":
                named = said.text.removesuffix("?").split(maxsplit=3)[3]
                assert (said.answer == "yes") == (named in looks), said
            elif said.kind == "absent":
                assert said.text.removeprefix("the ") not in looks
                assert sample.masks is not None and not len(sample.masks)
                assert sample.distractors is not None and len(sample.distractors) == len(drawn.shapes)
            elif said.kind.startswith("mask"):
                shape = drawn.shapes[said.targets[0]]
                assert {shape.colour, shape.shape} & set(said.text.split())
    assert {"count all", "count one shape", "count one colour", "is there", "absent", "mask by both"} <= kinds
