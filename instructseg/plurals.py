"""Tells an instruction that means several objects, by its words alone, in English.

==============================================  =====================================
several                                         one
==============================================  =====================================
all the circles, all of them                    the circle
both dogs, each dog, every dog, any red car     the dog that follows both boys
everything red, everyone on the left            the second dog, one of the two dogs
the two people on the left, 3 cups              the 2nd dog, the two-storey house
people in the street, the women                 the person in the street
the red cup and the spoon, a man and his dog    the man with the cup and the spoon
==============================================  =====================================

The word that means several stands at the beginning, after a request ("segment ...", "show me ..."), or, if it
is one of a few plurals, at the end of the first noun phrase; or a second object follows that phrase. In doubt
one object is meant.
"""

from __future__ import annotations

import re

_NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_REQUEST = re.compile(
    r"(?:(?:please|now|just|only|(?:can|could|would|will) you|i (?:want|would like)(?: to (?:see|have))?|"
    r"i need|(?:what )?i mean(?: is)?|let me see|look (?:for|at)|point (?:at|to|out)|pick(?: out)?|cut out|"
    r"give me(?: the masks? of)?|(?:the )?masks? of|show(?: me)?(?: where)?|"
    r"where (?:is|are|can i find|do you see)|"
    r"do you see|i am looking for|tell me where|do you know which(?: one)? is|which one is|"
    r"segment|find|mask|highlight|locate|select|mark|outline|detect|track|follow|get)\b[ ,:]*)+"
)
_ALL = re.compile(r"(?:the |of )*(?:all|both|each|every|any|everything|everyone|everybody|several|many)\b(?!-)")
_COUNT = re.compile(
    rf"(?:(?:the|these|those|all|any|my|his|her|their|other) )*({'|'.join(_NUMBERS)}|\d{{1,3}}) "
)
_AFTER_NUMBER = re.compile(
    r"(?:of|on|in|at|from|to|with|which|that|who|is|and|or|next|under|above|below|behind|beside|near|thirds?|"
    r"quarters?|halves|story|storey|seater|door|piece|years?|met(?:er|re)s?|feet|inch(?:es)?|o'clock|pm|am)\b|[^a-z]"
)
_PLURALS = {
    "people", "persons", "men", "women", "children", "kids", "guys", "boys", "girls", "ladies", "mice", "geese",
    "wolves", "knives", "leaves", "shelves",
}  # fmt: skip
_LINK = (
    r"on|in|at|of|to|with|without|from|by|near|behind|under|over|above|below|besides?|between|among|past|next|"
    r"through|off|onto|into|left|right|that|which|who|whose|is|are|was|were|has|have|and|or|for|across|against|"
    r"around|along|than|as"
)
_END = re.compile(rf"\b(?:{_LINK}|\w+ing|\w+ed)\b")
_SECOND = re.compile(
    rf"(?:(?!(?:{_LINK})\b)[\w'-]+ ){{1,6}}and (?:the|a|an|one|my|your|his|her|its|our|their) (?!other|same)\w"
)


def means_several(instruction: str) -> bool:
    """True if an instruction asks for several objects, by the rule above.

    Example::

        means_several("both dogs")  # True
        means_several("the dog next to both boys")  # False

    Args:
        instruction: as written, in English.
    """
    text = description(instruction)
    if _ALL.match(text) or named_number(instruction) is not None:
        return True
    if _SECOND.match(text):
        return True
    phrase = _END.split(text, maxsplit=1)[0].split()
    return bool(phrase) and phrase[0] not in ("a", "an", "one") and phrase[-1] in _PLURALS


def named_number(instruction: str) -> int | None:
    """The number of objects that an instruction names, 2 or more: 2 for "both dogs", 3 for "the three cups"."""
    text = description(instruction)
    if text.startswith("both "):
        return 2
    found = _COUNT.match(text)
    if found is None or _AFTER_NUMBER.match(text[found.end() :]):
        return None
    word = found[1]
    number = _NUMBERS.index(word) + 2 if word in _NUMBERS else int(word)
    return number if number >= 2 else None


def description(instruction: str) -> str:
    """The description in an instruction without the request before it, in small letters."""
    text = " ".join(instruction.lower().replace("\u2019", "'").split()).strip(" .!?\"'")
    return text[found.end() :] if (found := _REQUEST.match(text)) else text
