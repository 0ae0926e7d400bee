"""The rules on a photograph drawn by hand: three dogs and a cat on grass."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recipes.mini.instructions import ask
from recipes.mini.known import Asked, Known, known
from recipes.mini.looks import Look
from recipes.mini.pasting import cut_out, paste
from recipes.mini.photographs import read_photographs
from recipes.mini.views import whole_view
from recipes.mini.wording import HELD_OUT, TRAINED, worded
from recipes.mini.words import GROUPS
from tests.recipes.mini.conftest import BOXES, rectangle


@pytest.fixture
def yard(root: Path) -> Known:
    photographs = read_photographs(root, "train")
    view = whole_view(photographs.images[0], 20)
    return known(view, photographs.categories["yard"], GROUPS["animal"] - {"dog", "cat"})


def every(what: Known) -> dict[str, Asked]:
    """All that is asked with many seeds, by its text."""
    found = (one for seed in range(150) for one in ask(np.random.default_rng(seed), what, 12))
    return {one.text: one for one in found}


def box_of(what: Known, asked: Asked) -> list[tuple[int, ...]]:
    """The boxes of the answers, in pixels."""
    boxes = [box for _, box, *_ in BOXES["yard"]]
    return sorted(box for box in boxes for n in asked.answers if (what.view.masks[n] == rectangle(box)).all())


def test_each_instruction_has_the_answer_that_a_person_gives(yard: Known) -> None:
    left, middle, right, cat, grass = (box for _, box, *_ in BOXES["yard"])
    expected = {
        "the cat": [cat],
        "the grass": [grass],
        "the leftmost dog": [left],
        "the dog on the right": [right],
        "the dog in the middle": [middle],
        "the second dog from the left": [middle],
        "the third dog from the right": [left],
        "the largest dog": [right],
        "the smallest dog": [middle],
        "the black dog": [right],
        "the white dog": [middle],
        "all the dogs": sorted([left, middle, right]),
        "the three dogs": sorted([left, middle, right]),
        "the dog to the right of the cat": [right],
        "the animal that is not a dog": [cat],
        "the animal that barks": sorted([left, middle, right]),
        "the horse": [],
        "the fourth dog from the left": [],
        "the animal that gives milk": [],
        "something to sit on": None,
    }
    found = every(yard)
    for text, boxes in expected.items():
        if boxes is None:  # chairs were not looked for: nobody knows
            assert text not in found
        else:
            assert box_of(yard, found[text]) == boxes, text


def test_nothing_is_asked_by_number_where_objects_are_missing(root: Path) -> None:
    photographs = read_photographs(root, "train")
    partial = known(whole_view(photographs.images[0], 2), photographs.categories["yard"], frozenset())
    assert not {one.kind for one in every(partial).values()} & {"side", "order", "size", "all", "relation"}


def test_the_salient_object_is_asked_for_as_such(root: Path) -> None:
    photographs = read_photographs(root, "train")
    thing = known(whole_view(photographs.images[1], 20), frozenset(), frozenset())
    assert {one.kind for one in every(thing).values()} == {"main"}


@pytest.mark.parametrize(
    ("colour", "name"),
    [((220, 20, 20), "red"), ((20, 60, 220), "blue"), ((250, 220, 20), "yellow"), ((20, 150, 40), "green"),
     ((10, 10, 10), "black"), ((250, 250, 250), "white"), ((128, 128, 128), "grey"), ((250, 130, 20), "orange"),
     ((120, 70, 30), "brown"), ((250, 150, 190), "pink"), ((120, 40, 160), "purple")],
)  # fmt: skip
def test_colours_are_called_as_people_do(colour: tuple[int, int, int], name: str) -> None:
    frame = np.full((8, 8, 3), colour, np.uint8)
    assert Look(np.ones((8, 8), bool), frame).colour == name


def test_a_mask_of_two_colours_has_none() -> None:
    frame = np.zeros((8, 8, 3), np.uint8)
    frame[:4] = (220, 20, 20)
    assert Look(np.ones((8, 8), bool), frame).colour is None


def test_a_pasted_object_stands_where_its_mask_says(root: Path) -> None:
    photographs = read_photographs(root, "train")
    photograph = photographs.images[0]
    view = whole_view(photograph, 20)
    cut = cut_out(photograph, photograph.regions[0])
    assert cut is not None
    pasted = paste(np.random.default_rng(0), view, "dog", cut)
    assert pasted is not None
    assert pasted.regions[-1].category == "dog"
    new = pasted.masks[-1]
    inner = new & (pasted.frame == (120, 70, 30)).all(-1)
    assert inner.sum() > 0.8 * new.sum()
    assert not (pasted.masks[:-1] & new).any()  # what it hides belongs to nothing else
    assert cut_out(photograph, photograph.regions[-1]) is not None
    tiny = photographs.images[0].regions[1]
    assert tiny.mask().mean() > 0.02


def test_held_out_wording_is_never_trained() -> None:
    assert not set(TRAINED) & set(HELD_OUT)
    said = {worded(np.random.default_rng(seed), "the dog") for seed in range(300)}
    held_out = {worded(np.random.default_rng(seed), "the dog", held_out=True) for seed in range(100)}
    assert not {text.lower() for text in said} & {text.lower() for text in held_out}
    assert all("dog" in text for text in said | held_out)


def test_what_people_said_is_asked_and_mirrored_with_the_view(yard: Known) -> None:
    regions = tuple(
        replace(one, said=("left of the two", "the leftmost right-handed one")) if number == 1 else one
        for number, one in enumerate(yard.view.regions)
    )
    for mirrored, entire, expected in (
        (False, True, {"left of the two", "the leftmost right-handed one"}),
        (True, True, {"right of the two", "the rightmost left-handed one"}),
        (True, False, set()),
    ):
        view = replace(yard.view, regions=regions, mirrored=mirrored, entire=entire)
        found = every(known(view, yard.covered, yard.absent)).values()
        said = [one for one in found if one.kind == "said"]
        assert {one.text for one in said} == expected and all(one.answers == {1} for one in said)
