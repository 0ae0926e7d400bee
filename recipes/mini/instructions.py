"""Instructions on a view, by rule from its masks: each with the regions that answer it.

What a rule cannot be sure of is not asked: counts and sides only where every object of a category is annotated
and none is cut off, sizes and places only where the margin is clear, colours only where siblings differ.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from recipes.mini.known import Asked, Known, Rule, call
from recipes.mini.looks import COLOURS
from recipes.mini.places import ORDINALS, sides, sizes
from recipes.mini.relations import described, relations
from recipes.mini.wording import exchanged
from recipes.mini.words import BAGS, CLOTHES, FOOTWEAR, GROUPS, MAIN, PURPOSES, compatible, plural

NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five"}


def ask(rng: np.random.Generator, what: Known, count: int, absent_share: float = 0.3) -> list[Asked]:
    """Up to ``count`` instructions of many kinds; about ``absent_share`` of them are answered by nothing."""
    found: dict[str, list[Asked]] = defaultdict(list)
    for rule in RULES:
        for one in rule(rng, what):
            found[one.kind].append(one)
    nothing = found.pop("absent", [])
    asked: list[Asked] = []
    for _ in range(count):
        if nothing and (rng.random() < absent_share or not found):
            asked.append(nothing[int(rng.integers(len(nothing)))])
            continue
        if not found:
            break
        kinds = list(found)
        share = np.array([WEIGHTS[kind] for kind in kinds])
        kind = kinds[int(rng.choice(len(kinds), p=share / share.sum()))]
        asked.append(found[kind].pop(int(rng.integers(len(found[kind])))))
        if not found[kind]:
            del found[kind]
    return list(dict.fromkeys(asked))


def _names(rng: np.random.Generator, what: Known) -> Iterator[Asked]:
    """The only one of its kind, or all of a kind that is marked as a whole."""
    for category, numbers in {**what.singles(), **what.regions()}.items():
        if len(numbers) == 1 and category != "object":
            yield Asked(f"the {call(rng, category)}", frozenset(numbers), "name")


def _colours(rng: np.random.Generator, what: Known) -> Iterator[Asked]:
    """By colour, where siblings have others; and a colour that none of them has."""
    for category, numbers in {**what.singles(), **what.regions()}.items():
        if category in ("person", "object") or not what.large(numbers):
            continue
        seen = [what.looks[number].colour for number in numbers]
        word = call(rng, category)
        for number, colour in zip(numbers, seen, strict=True):
            if colour and seen.count(colour) == 1 and None not in seen:
                text = f"the {colour} {word}" if rng.random() < 0.75 else f"the {word} that is {colour}"
                yield Asked(text, frozenset({number}), "colour")
        if None not in seen:
            other = str(rng.choice([name for name in COLOURS if not _alike(name, seen)]))
            yield Asked(f"the {other} {word}", frozenset(), "absent")


def _alike(name: str, seen: Sequence[str | None]) -> bool:
    """Whether people may call one of the colours by that name."""
    near = (
        {"red", "orange", "pink", "brown"},
        {"orange", "yellow", "brown"},
        {"black", "grey", "blue"},
        {"white", "grey"},
        {"purple", "blue", "pink"},
        {"green", "blue"},
        {"brown", "black", "grey"},
    )
    return any(name == other or any({name, other} <= group for group in near) for other in seen)


def _alls(rng: np.random.Generator, what: Known) -> Iterator[Asked]:
    """Several at once: all, both, a number of them."""
    for category, numbers in what.singles().items():
        if len(numbers) < 2:
            continue
        words, answers = call(rng, category, many=True), frozenset(numbers)
        forms = [f"all the {words}", f"the {words}", f"every {call(rng, category)}"]
        if len(numbers) == 2:
            forms.append(f"both {words}")
        if len(numbers) in NUMBERS:
            forms.append(f"the {NUMBERS[len(numbers)]} {words}")
        yield Asked(str(rng.choice(forms)), answers, "all")
        if len(numbers) in NUMBERS and what.large(numbers):
            wrong = f"the {ORDINALS[3]} {call(rng, category)} from the left"
            if len(numbers) < 4:
                yield Asked(wrong, frozenset(), "absent")
    yield from _pairs(rng, what)


def _pairs(rng: np.random.Generator, what: Known) -> Iterator[Asked]:
    """Two things named together."""
    alone = [
        (c, n[0]) for c, n in {**what.singles(), **what.regions()}.items() if len(n) == 1 and c != "object"
    ]
    for _ in range(min(2, len(alone) - 1)):
        first, second = rng.permutation(len(alone))[:2]
        (one, a), (other, b) = alone[first], alone[second]
        if not compatible(one, other):
            yield Asked(f"the {call(rng, one)} and the {call(rng, other)}", frozenset({a, b}), "and")


def _groups(rng: np.random.Generator, what: Known) -> Iterator[Asked]:
    """By a wider word, by what things are for, and by what they are not."""
    there = {region.category for region in what.view.regions}
    for word, kinds in GROUPS.items():
        answers = _answers(what, kinds)
        if answers is None:
            continue
        text = f"the {word}" if len(answers) == 1 else f"all the {plural(word)}"
        yield Asked(text, answers, "group" if answers else "absent")
        inner = there & kinds
        if len(inner) == 2:
            out = str(rng.choice(sorted(inner)))
            rest = frozenset(n for n in answers if what.view.regions[n].category != out)
            if len(rest) == 1:
                yield Asked(f"the {word} that is not a {call(rng, out)}", rest, "not")
    for text, kinds in PURPOSES.items():
        answers = _answers(what, kinds)
        if answers is not None:
            yield Asked(text, answers, "purpose" if answers else "absent")


def _answers(what: Known, kinds: frozenset[str]) -> frozenset[int] | None:
    """The regions of some categories; ``None`` where more of them may be there."""
    if kinds & what.view.cut or not kinds <= what.covered | what.absent:
        return None
    return frozenset(i for i, region in enumerate(what.view.regions) if region.category in kinds)


def _parts(rng: np.random.Generator, what: Known) -> Iterator[Asked]:
    """What the only person wears and carries."""
    regions = what.regions()
    persons = [i for i, region in enumerate(what.view.regions) if region.category == "person"]
    if len(persons) != 1:
        return
    for category, numbers in regions.items():
        if category not in CLOTHES | FOOTWEAR | BAGS | {"hair", "face", "skin", "sunglasses", "belt"}:
            continue
        word, colour = call(rng, category), what.looks[numbers[0]].colour
        said = f"{colour} {word}" if colour and rng.random() < 0.5 else word
        owner = str(rng.choice(["the person's", "their"]))
        yield Asked(f"{owner} {said}", frozenset(numbers), "part")
        if category in CLOTHES | FOOTWEAR:
            yield Asked(f"the {said} that the person wears", frozenset(numbers), "part")


def _main(rng: np.random.Generator, what: Known) -> Iterator[Asked]:
    """The one salient object."""
    for number, region in enumerate(what.view.regions):
        if region.category == "object":
            yield Asked(str(rng.choice(MAIN)), frozenset({number}), "main")


def _said(rng: np.random.Generator, what: Known) -> Iterator[Asked]:
    """What people said of one object, with left and right exchanged where the view is mirrored."""
    for number, region in enumerate(what.view.regions if what.view.entire else ()):
        if region.said:
            text = str(rng.choice(region.said))
            yield Asked(exchanged(text) if what.view.mirrored else text, frozenset({number}), "said")


def _absents(rng: np.random.Generator, what: Known) -> Iterator[Asked]:
    """Names of what is not there."""
    for category in rng.permutation(sorted(what.absent - {"object"}))[:4]:
        text = f"the {call(rng, str(category), many=rng.random() < 0.2)}"
        yield Asked(text, frozenset(), "absent")


RULES: tuple[Rule, ...] = (
    _names, described, sides, sizes, _colours, relations, _alls, _groups, _parts, _main, _said, _absents,
)  # fmt: skip
WEIGHTS = {
    "name": 3.0, "described": 2.5, "side": 2.5, "order": 1.0, "size": 1.5, "colour": 2.0, "relation": 2.5,
    "all": 2.0, "and": 0.7, "group": 0.8, "purpose": 0.8, "not": 0.5, "part": 1.5, "main": 3.0,
    "said": 6.0,
}  # fmt: skip
"""How often each kind is asked, where it can be."""
