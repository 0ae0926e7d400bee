from __future__ import annotations

import pytest

from recipes.mini.words import CLOTHES, GROUPS, PURPOSES, SYNONYMS, compatible, plural


@pytest.mark.parametrize(
    ("word", "many"),
    [("dog", "dogs"), ("person", "people"), ("bus", "buses"), ("knife", "knives"), ("puppy", "puppies"),
     ("sheep", "sheep"), ("wine glass", "wine glasses"), ("piece of furniture", "pieces of furniture"),
     ("toothbrush", "toothbrushes"), ("boy", "boys"), ("box", "boxes")],
)  # fmt: skip
def test_plurals(word: str, many: str) -> None:
    assert plural(word) == many


def test_groups_and_purposes_name_categories_that_have_words() -> None:
    for kinds in (*GROUPS.values(), *PURPOSES.values()):
        assert kinds
        assert kinds <= SYNONYMS.keys()


def test_what_may_be_called_by_each_others_names() -> None:
    assert compatible("dog", "dog")
    assert compatible("person", "hair")
    assert all(compatible(one, "person") for one in CLOTHES)
    assert not compatible("dog", "cat")
