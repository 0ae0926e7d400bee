from __future__ import annotations

import pytest

from instructseg.plurals import means_several, named_number

SEVERAL = (
    "all the circles", "All of the circles", "both dogs", "each dog", "every red car", "any dog that barks",
    "everything red", "everyone on the left", "the two people on the left", "two dogs", "3 cups", "the 12 eggs",
    "segment all the circles", "please show me both squares", "where are the two cups?", "all three cats",
    "give me the masks of both dogs", "people in the street", "the women", "the young men playing cards",
    "several cars", "these two chairs", "the other two dogs", "can you highlight every star?", "children",
    "the red cup and the spoon", "a man and his dog", "find the thing and the red one",
    "the king and the queen", "i would like to see both dogs", "what i mean is all dogs",
)  # fmt: skip
ONE = (
    "the circle", "the dog that follows both boys", "the second dog", "one of the two dogs", "the 2nd dog",
    "the two-storey house", "the person in the street", "the dog between the two trees", "a man with two dogs",
    "the man next to all the others", "the bus", "glasses", "the number 7", "player 23", "the 7 on the shirt",
    "two thirds of the cake", "the woman who holds two children", "the man among people", "the person running",
    "the tallest of the three men", "the overall", "the allotment", "bothered dog", "the one-eyed cat", "", "?",
    "1 dog", "the only dog", "the children's playground", "the 2 on the clock",
    "a person walks past two people", "the man with the cup and the spoon", "the black and white dog",
    "the dog that chases the cat and the bird", "the and the", "salt and pepper",
    "the dog between the cat and the bird",
)  # fmt: skip


@pytest.mark.parametrize("text", SEVERAL)
def test_several_objects_are_meant(text: str) -> None:
    assert means_several(text)


@pytest.mark.parametrize("text", ONE)
def test_one_object_is_meant(text: str) -> None:
    assert not means_several(text) and named_number(text) is None


def test_the_number_is_read() -> None:
    numbers = {
        "both dogs": 2, "the two people on the left": 2, "find the three cups": 3, "all 4 wheels": 4,
        "twelve eggs": 12, "the other 25 ducks": 25, "all the circles": None, "the women": None,
    }  # fmt: skip
    assert {text: named_number(text) for text in numbers} == numbers
