"""Instructions on a view, by rule from its masks: each with the regions that answer it.

What a rule cannot be sure of is not asked: counts and sides only where every object of a category is annotated
and none is cut off, sizes and places only where the margin is clear, colours only where siblings differ.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from recipes.mini.looks import COLOURS, Look
from recipes.mini.views import View
from recipes.mini.words import (
    BAGS,
    CLOTHES,
    FOOTWEAR,
    GROUPS,
    MAIN,
    PURPOSES,
    SYNONYMS,
    UNCOUNTED,
    compatible,
    plural,
)

MARGIN = 0.1
"""Least distance, as a share of the frame, by which one object is farther to a side than the next."""
SIZE_RATIO = 1.6
"""Least ratio of areas by which one object is larger than the next."""
SMALLEST = 0.002
"""Share of the frame below which an object is too small to be asked for by place, size or colour."""
ORDINALS = ("first", "second", "third", "fourth")
NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five"}


@dataclass(frozen=True)
class Asked:
    """An instruction.

    Attributes:
        text: what is asked for, without the words around it.
        answers: numbers of the regions that answer; empty where nothing does.
        kind: of the rule: ``name``, ``side``, ``order``, ``size``, ``colour``, ``relation``, ``all``, ``part``,
            ``group``, ``purpose``, ``main``, ``not``, ``and``, ``absent``.
    """

    text: str
    answers: frozenset[int]
    kind: str


@dataclass(frozen=True, eq=False)
class Known:
    """A view with what is measured of it.

    Attributes:
        view: the view.
        covered: categories of which every object in sight is among the regions.
        absent: categories that are surely not in it.
        looks: one per region.
    """

    view: View
    covered: frozenset[str]
    absent: frozenset[str]
    looks: tuple[Look, ...]

    def singles(self) -> dict[str, list[int]]:
        """By category whose objects are all known one by one: their numbers."""
        found: dict[str, list[int]] = defaultdict(list)
        whole = {region.category for region in self.view.regions if not region.single}
        for number, region in enumerate(self.view.regions):
            if region.category in self.covered - whole - self.view.cut:
                found[region.category].append(number)
        return found

    def regions(self) -> dict[str, list[int]]:
        """By category that is marked as a whole: the number of its region."""
        found: dict[str, list[int]] = defaultdict(list)
        for number, region in enumerate(self.view.regions):
            if not region.single and region.category != "object":
                found[region.category].append(number)
        return {category: numbers for category, numbers in found.items() if len(numbers) == 1}

    def large(self, numbers: Sequence[int]) -> bool:
        """Whether all of them are large enough to be spoken of one by one."""
        return all(self.looks[number].area >= SMALLEST for number in numbers)


Rule = Callable[[np.random.Generator, Known], Iterator[Asked]]


def known(view: View, covered: frozenset[str], absent: frozenset[str]) -> Known:
    """Measures a view."""
    return Known(view, covered, absent, tuple(Look(mask, view.frame) for mask in view.masks))


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


def call(rng: np.random.Generator, category: str, many: bool = False) -> str:
    """A word for a category, the usual one more often than its synonyms."""
    words = SYNONYMS[category]
    word = words[0] if rng.random() < 0.6 else str(rng.choice(words))
    return plural(word) if many and category not in UNCOUNTED else word


def _names(rng: np.random.Generator, what: Known) -> Iterator[Asked]:
    """The only one of its kind, or all of a kind that is marked as a whole."""
    for category, numbers in {**what.singles(), **what.regions()}.items():
        if len(numbers) == 1 and category != "object":
            yield Asked(f"the {call(rng, category)}", frozenset(numbers), "name")


def _sides(rng: np.random.Generator, what: Known) -> Iterator[Asked]:
    """Leftmost, rightmost, uppermost, lowest, and the middle one of three."""
    for category, numbers in what.singles().items():
        if len(numbers) < 2 or not what.large(numbers):
            continue
        word = call(rng, category)
        for axis, first, last in (("x", "left", "right"), ("y", "top", "bottom")):
            place = [getattr(what.looks[number], axis) for number in numbers]
            order = np.argsort(place)
            gaps = np.diff(np.array(place)[order])
            for side, at, gap in ((first, order[0], gaps[0]), (last, order[-1], gaps[-1])):
                if gap >= MARGIN:
                    yield Asked(_at_side(rng, word, side, len(numbers)), frozenset({numbers[at]}), "side")
            if len(numbers) == 3 and gaps.min() >= MARGIN and axis == "x":
                text = str(rng.choice([f"the {word} in the middle", f"the middle {word}"]))
                yield Asked(text, frozenset({numbers[order[1]]}), "side")
            if len(numbers) >= 3 and gaps.min() >= MARGIN * 0.7 and axis == "x":
                yield from _orders(word, [numbers[at] for at in order])


def _at_side(rng: np.random.Generator, word: str, side: str, count: int) -> str:
    forms = [f"the {word} on the {side}"] if side in ("left", "right") else [f"the {word} at the {side}"]
    if side in ("left", "right"):
        forms += [f"the {side}most {word}", f"the {word} farthest to the {side}"]
        forms += [f"the {side} {word}"] if count == 2 else []
    else:
        forms += [f"the {'upper' if side == 'top' else 'lower'} {word}"] if count == 2 else []
        forms += [f"the {'highest' if side == 'top' else 'lowest'} {word}"]
    return str(rng.choice(forms))


def _orders(word: str, ordered: Sequence[int]) -> Iterator[Asked]:
    for place, number in enumerate(ordered[:4]):
        yield Asked(f"the {ORDINALS[place]} {word} from the left", frozenset({number}), "order")
    for place, number in enumerate(reversed(ordered[-4:])):
        yield Asked(f"the {ORDINALS[place]} {word} from the right", frozenset({number}), "order")


def _sizes(rng: np.random.Generator, what: Known) -> Iterator[Asked]:
    """Largest, smallest, and nearest: largest and lowest at once."""
    for category, numbers in what.singles().items():
        if len(numbers) < 2 or not what.large(numbers):
            continue
        word, two = call(rng, category), len(numbers) == 2
        areas = np.array([what.looks[number].area for number in numbers])
        order = np.argsort(areas)
        if areas[order[-1]] >= SIZE_RATIO * areas[order[-2]]:
            largest = numbers[order[-1]]
            adjective = str(rng.choice(["larger", "bigger"] if two else ["largest", "biggest"]))
            yield Asked(f"the {adjective} {word}", frozenset({largest}), "size")
            bottoms = sorted((what.looks[number].box[3] for number in numbers), reverse=True)
            if what.looks[largest].box[3] == bottoms[0] >= bottoms[1] + MARGIN / 2:
                near = str(rng.choice(["closest", "nearest"]))
                yield Asked(f"the {word} {near} to the camera", frozenset({largest}), "size")
        if areas[order[1]] >= SIZE_RATIO * areas[order[0]]:
            adjective = "smaller" if two else "smallest"
            yield Asked(f"the {adjective} {word}", frozenset({numbers[order[0]]}), "size")


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


def _relations(rng: np.random.Generator, what: Known) -> Iterator[Asked]:
    """One of several by the only object of another kind."""
    singles = what.singles()
    for category, numbers in singles.items():
        if not 2 <= len(numbers) <= 6 or not what.large(numbers):
            continue
        word = call(rng, category)
        for other, found in singles.items():
            if other == category or len(found) != 1 or compatible(category, other):
                continue
            landmark = what.looks[found[0]]
            for phrase, holds in _RELATIONS.items():
                sure = [holds(what.looks[number], landmark) for number in numbers]
                if sure.count(True) == 1 and None not in sure:
                    text = f"the {word} {phrase} the {call(rng, other)}"
                    yield Asked(text, frozenset({numbers[sure.index(True)]}), "relation")


def _beside(one: Look, other: Look) -> bool | None:
    across, down = one.gap(other)
    if down < 0 and across < 0.04:
        return True
    return False if across > 0.15 or down > 0.1 else None


def _left_of(one: Look, other: Look) -> bool | None:
    off = other.x - one.x
    return True if off > 0.12 else False if off < -0.02 else None


def _right_of(one: Look, other: Look) -> bool | None:
    return _left_of(other, one)


def _on(one: Look, other: Look) -> bool | None:
    across, down = one.gap(other)
    touching = across < -0.02 and down < 0.01
    higher = one.box[3] < other.box[3] and one.y < other.y - 0.05
    if touching and higher and one.area < 2 * other.area:
        return True
    return False if across > 0 or down > 0.05 else None


def _under(one: Look, other: Look) -> bool | None:
    across, down = one.gap(other)
    if across < -0.02 and one.y > other.y + 0.1 and down < 0.15:
        return True
    return False if across > 0 or one.y < other.y else None


_RELATIONS: dict[str, Callable[[Look, Look], bool | None]] = {
    "next to": _beside,
    "to the left of": _left_of,
    "to the right of": _right_of,
    "on": _on,
    "under": _under,
}
"""True, false, or ``None`` where people might disagree."""


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


def _absents(rng: np.random.Generator, what: Known) -> Iterator[Asked]:
    """Names of what is not there."""
    for category in rng.permutation(sorted(what.absent - {"object"}))[:4]:
        text = f"the {call(rng, str(category), many=rng.random() < 0.2)}"
        yield Asked(text, frozenset(), "absent")


RULES: tuple[Rule, ...] = (
    _names, _sides, _sizes, _colours, _relations, _alls, _groups, _parts, _main, _absents,
)  # fmt: skip
WEIGHTS = {
    "name": 3.0, "side": 2.5, "order": 1.0, "size": 1.5, "colour": 2.0, "relation": 2.5, "all": 2.0, "and": 0.7,
    "group": 0.8, "purpose": 0.8, "not": 0.5, "part": 1.5, "main": 3.0,
}  # fmt: skip
"""How often each kind is asked, where it can be."""
