"""Kind ``question``: plain questions on an image, answered in one word."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from instructseg.structures import Task
from recipes.nano.language.meaning import Look, Meaning, Phrases, View, nouns, plurals, view
from recipes.nano.language.unknown import THINGS, UNSEEN_THINGS
from recipes.nano.scenes.objects import COLOURS, HELD_OUT, SHAPES
from recipes.nano.scenes.scenes import Scene

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

_COLOUR = (
    "what colour is the {a}?", "what color has the {a}?", "which colour does the {a} have?",
    "what is the colour of the {a}?", "tell me the colour of the {a}", "please name the colour of the {a}",
    "can you tell what colour the {a} has?", "do you see the colour of the {a}?", "the {a} has which colour?",
)  # fmt: skip
_COLOUR_UNSEEN = ("can you see what colour the {a} is?",)
_SHAPE = (
    "what shape is the {a}?", "what is the shape of the {a}?", "which shape does the {a} have?",
    "what shape has the {a}?", "tell me the shape of the {a}", "please name the shape of the {a}",
    "can you tell what shape the {a} has?", "do you see the shape of the {a}?", "the {a} has which shape?",
)  # fmt: skip
_SHAPE_UNSEEN = ("can you see what shape the {a} is?",)
_SIZE = (
    "what size is the {a}?", "how big is the {a}?", "what is the size of the {a}?",
    "tell me the size of the {a}", "please name the size of the {a}",
    "can you tell what size the {a} has?", "do you see the size of the {a}?", "the {a} has which size?",
)  # fmt: skip
_SIZE_UNSEEN = ("can you see of what size the {a} is?",)
_COUNT = (
    "how many {p} are there?", "how many {p} are in the picture?", "how many {p} do you see?",
    "count the {p}", "please count all {p}", "what is the number of {p}?", "tell me how many {p} there are",
    "can you tell how many {p} there are?", "can you see how many {p} there are?",
)  # fmt: skip
_COUNT_UNSEEN = ("can you count the {p}?",)
_EXISTS = (
    "is there {b}?", "is there {b} in the picture?", "do you see {b}?", "can you see {b}?", "is {b} here?",
    "does the picture show {b}?", "can {b} be seen here?", "tell me if there is {b}", "is {b} to be found?",
)  # fmt: skip
_EXISTS_UNSEEN = ("can you find {b} here?",)


def question_meanings(scene: Scene, frame: int) -> Iterator[Meaning]:
    """Asks for the colour, shape or size of an object, for a number of objects, and whether there is one."""
    seen = view(scene, frame)
    if seen.is_clip:
        return
    yield from _what(seen)
    yield _unknown()
    if not seen.legible.all():
        return  # what can hardly be seen would be counted by some and not by others
    shown = {(obj.colour, obj.shape) for obj in scene.objects}
    for look in _all_looks(seen):
        members = tuple(seen.members(look))
        if dict(look).keys() != {"colour", "shape"} or members or _near(look, shown):
            many = plurals(look) if look else ("objects", "things", "shapes")
            yield _question("count", members, NUMBERS[len(members)], _COUNT, _COUNT_UNSEEN, p=many)
            if look:
                things = tuple(map(_one, nouns(look)))
                yield _question(
                    "exists", members, "yes" if members else "no", _EXISTS, _EXISTS_UNSEEN, b=things
                )


def count_meanings(scene: Scene, frame: int) -> Iterator[Meaning]:
    """Of the same questions those for a number, and whether there is one."""
    asked = question_meanings(scene, frame)
    return (replace(one, kind="count") for one in asked if one.form in ("count", "exists"))


def _what(seen: View) -> Iterator[Meaning]:
    things = seen.scene.objects
    forms = (("shape",), ("size", "shape"), ("texture", "shape"))
    groups = seen.looks(*forms, ("colour",), ("size", "colour"), ("colour", "shape"))
    for look, members in groups.items():
        values = dict(look)
        if len(members) != 1 or len(seen.members(look)) != 1 or values.get("texture") == "plain":
            continue
        target = things[members[0]]
        if "size" in values and len({obj.size for obj in things}) == 1:
            continue
        if "texture" in values and target.radius < 9:
            continue
        if "colour" not in values:
            yield _question("colour", (members[0],), target.colour, _COLOUR, _COLOUR_UNSEEN, a=nouns(look))
        if "shape" not in values:
            yield _question("shape", (members[0],), target.shape, _SHAPE, _SHAPE_UNSEEN, a=nouns(look))
        if "size" not in values and len({obj.size for obj in things}) > 1:
            yield _question("size", (members[0],), target.size, _SIZE, _SIZE_UNSEEN, a=nouns(look))


def _unknown() -> Meaning:
    """Whether there is something of which no word is known: there is not."""
    said, unseen = (tuple(map(_one, words)) for words in (THINGS, UNSEEN_THINGS))
    return Meaning(
        "question", "unknown", (), Phrases(_EXISTS, b=said), Phrases(_EXISTS, b=unseen), Task.VQA, answer="no"
    )


def _one(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _question(
    form: str,
    about: tuple[int, ...],
    answer: str,
    said: tuple[str, ...],
    unseen: tuple[str, ...],
    **gaps: tuple[str, ...],
) -> Meaning:
    return Meaning(
        "question", form, about, Phrases(said, **gaps), Phrases(unseen, **gaps), task=Task.VQA, answer=answer
    )


def _all_looks(seen: View) -> Iterator[Look]:
    """Looks that are asked about, be there such an object or not; pairs held out only where one is shown."""
    shown = {(obj.colour, obj.shape) for obj in seen.scene.objects}
    yield ()
    yield from ((("colour", colour),) for colour in COLOURS)
    yield from ((("shape", shape),) for shape in SHAPES)
    for colour, shape in product(COLOURS, SHAPES):
        if (colour, shape) in shown or (colour, shape) not in HELD_OUT:
            yield (("colour", colour), ("shape", shape))


def _near(look: Look, shown: set[tuple[str, str]]) -> bool:
    """Whether some object has one part of the look; pairs without either part are too easy."""
    colour, shape = (value for _, value in look)
    return any(colour == c or shape == s for c, s in shown)
