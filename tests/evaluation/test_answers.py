"""Text answers: each rule of the official scripts by an example."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructseg.evaluation.answers import (
    PopeSums,
    chosen_option,
    gqa_answer,
    pope_f1,
    says_yes,
    vqa_accuracy,
    vqa_answer,
)


@pytest.mark.parametrize(
    ("text", "yes"),
    [
        ("Yes", True),
        ("No", False),
        ("no", False),
        ("NO", True),  # only these three words count
        ("No, there is none", False),
        ("There is not a dog. Yes", False),
        ("Yes. No dog", True),  # the first sentence counts
        ("Nothing", True),
        ("", True),
    ],
)
def test_says_yes(text: str, yes: bool) -> None:
    assert says_yes(text) == yes


def test_pope_by_hand() -> None:
    sums, other = PopeSums(), PopeSums()
    answers = [("Yes", True), ("Yes", True), ("Yes", False), ("No", True), ("No", False)]
    assert [sums.add(text, label) for text, label in answers] == [True, True, False, False, True]
    assert sums.results() == pytest.approx(
        {"accuracy": 3 / 5, "precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "yes_ratio": 3 / 5}
    )
    assert set(other.results().values()) == {0}
    other.add("Yes", True)
    assert pope_f1([sums, other]) == pytest.approx((2 / 3 + 1) / 2)


def test_gqa_answer() -> None:
    assert gqa_answer("Left.") == "left"
    assert gqa_answer("U.S..") == "u.s"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The Two dogs", "2 dogs"),
        ("None", "0"),
        ("a dont an the", "don't"),
        ("dont't", "dont't"),
        ("couldnt've couldn'tve", "couldn't've couldn't've"),
        ("somebody'd", "somebodyd"),
        ("red/blue", "red blue"),  # a mark between letters leaves a space
        ("red / blue", "red blue"),
        ("red/ blue/green", "red bluegreen"),  # unless it stands next to a space somewhere
        ("3.5 m.", "3.5 m"),
        ("1,000", "1000"),
        ("the dog's tail", "dog 's tail"),
        ("black\nand\twhite", "black and white"),
        ("(left)", "left"),
        ("", ""),
    ],
)
def test_vqa_answer(text: str, answer: str) -> None:
    assert vqa_answer(text) == answer


def test_vqa_accuracy_by_hand() -> None:
    people = ["cat"] * 3 + ["dog"] * 7
    # three of ten leave out a cat and find 2 of 3, seven find 3 of 3
    assert vqa_accuracy("Cat", people) == pytest.approx((3 * 2 / 3 + 7) / 10)
    assert vqa_accuracy("dog", people) == 1
    assert vqa_accuracy("bird", people) == 0
    assert vqa_accuracy("3-4", ["3 4"] * 9 + ["3-4"]) == 1  # people's punctuation is made alike
    assert vqa_accuracy("3-4", ["3-4"] * 10) == 0  # unless they agree
    with pytest.raises(ValueError, match="no answers"):
        vqa_accuracy("cat", [])


@given(st.lists(st.sampled_from(["cat", "dog", "red car"]), min_size=10, max_size=10))
def test_vqa_accuracy_leaves_out_one_person_each(people: list[str]) -> None:
    parts = []
    for index in range(10):
        others = people[:index] + people[index + 1 :]
        parts.append(min(1, others.count("dog") / 3))
    assert vqa_accuracy("dog", people) == pytest.approx(sum(parts) / 10)


@pytest.mark.parametrize(
    ("text", "options", "choice"),
    [
        ("B", 4, 1),
        ("B. a cat", 4, 1),
        ("The answer is C.", 4, 2),
        ("The answer is C. The answer is D.", 4, None),
        ("The answer is Z.", 4, None),
        ("E", 4, None),  # there is no fifth option
        ("E", 5, 4),
        ("b", 4, None),
        ("B.", 4, None),
        ("AB", 4, None),
        ("", 4, None),
    ],
)
def test_chosen_option(text: str, options: int, choice: int | None) -> None:
    assert chosen_option(text, options) == choice
