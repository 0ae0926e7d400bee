from __future__ import annotations

import warnings
from typing import Any

import pytest

from instructseg.deprecation import renamed_keyword


@renamed_keyword("colour", "color")
def paint(color: str = "red") -> str:
    return color


def test_the_old_spelling_is_accepted_with_a_warning() -> None:
    old: Any = {"colour": "blue"}
    with pytest.warns(DeprecationWarning, match="colour= is now color="):
        assert paint(**old) == "blue"


def test_the_new_spelling_and_positions_do_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert paint(color="blue") == paint("blue") == "blue"


def test_both_spellings_are_an_error() -> None:
    both: Any = {"colour": "blue", "color": "red"}
    with pytest.raises(TypeError, match="give color alone"):
        paint(**both)
