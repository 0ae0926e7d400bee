"""Rules of relation: one of several by another object, and the only one of its kind with more said of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from recipes.mini.known import Asked, Known, call
from recipes.mini.looks import Look
from recipes.mini.words import BAGS, CLOTHES, FOOTWEAR, GROUPS, HELD, RIDDEN, compatible

STANDING = GROUPS["animal"] | {"person", "chair", "bench"}


def described(rng: np.random.Generator, what: Known) -> Iterator[Asked]:
    """The only one of its kind, with more said of it than would be needed."""
    singles = what.singles()
    alone = {kind: numbers[0] for kind, numbers in {**singles, **what.regions()}.items() if len(numbers) == 1}
    for category, number in alone.items():
        if category == "object" or not what.large([number]):
            continue
        look, word = what.looks[number], call(rng, category)
        said = [f"{word} {place}" for place in _places(look)]
        if look.colour and category != "person":
            said.append(f"{look.colour} {word}")
        for other, landmark in alone.items():
            if other in (category, "object") or compatible(category, other):
                continue
            phrases = [phrase for phrase, holds in _RELATIONS.items() if holds(look, what.looks[landmark])]
            phrases += _doing(category, other, look, what.looks[landmark])
            if category in singles and look.stands_on(what.looks[landmark]):
                phrases += ["on", "standing on"] if category in STANDING else ["on"]
            said += [f"{word} {phrase} the {call(rng, other)}" for phrase in phrases]
        if category == "person":
            said += _dressed(rng, word, what)
        for text in rng.permutation(said)[:3]:
            yield Asked(f"the {text}", frozenset({number}), "described")
        if category in singles and what.absent:
            missing = call(rng, str(rng.choice(sorted(what.absent))))
            phrase = str(rng.choice(["next to", "on", "to the left of", "near"]))
            yield Asked(f"the {word} {phrase} the {missing}", frozenset(), "absent")


def _places(look: Look) -> list[str]:
    """Where in the frame it is, if that is clear."""
    found = []
    if look.x < 0.33 or look.x > 0.67:
        side = "left" if look.x < 0.33 else "right"
        found += [f"on the {side}", f"on the {side} side"]
    elif 0.42 < look.x < 0.58 and look.area < 0.3:
        found += ["in the middle", "in the center"]
    if look.y < 0.3:
        found.append("at the top")
    elif look.y > 0.7:
        found.append("at the bottom")
    return found


def _doing(category: str, other: str, one: Look, landmark: Look) -> list[str]:
    """What a person does with a thing, as far as their boxes tell."""
    if category != "person":
        return []
    across, down = one.gap(landmark)
    overlap = across < -0.01 and down < -0.01
    if other in RIDDEN and overlap and one.y < landmark.y - 0.03 and one.inside(landmark) > 0.3:
        return ["riding", "on"]
    if other in HELD and landmark.inside(one) > 0.5 and landmark.area < 0.4 * one.area:
        return ["holding", "with"]
    return ["with"] if overlap and other in GROUPS["animal"] else []


def _dressed(rng: np.random.Generator, word: str, what: Known) -> list[str]:
    """What the only person wears."""
    found = []
    for category, numbers in what.regions().items():
        if category in CLOTHES | FOOTWEAR | BAGS and len(numbers) == 1:
            colour, cloth = what.looks[numbers[0]].colour, call(rng, category)
            said = f"{colour} {cloth}" if colour else cloth
            how = "with" if category in BAGS else str(rng.choice(["in", "wearing", "with"]))
            found.append(f"{word} {how} the {said}")
    return found


def relations(rng: np.random.Generator, what: Known) -> Iterator[Asked]:
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
            doing = [_doing(category, other, what.looks[number], landmark) for number in numbers]
            if sum(map(bool, doing)) == 1:
                number, phrases = next((n, d) for n, d in zip(numbers, doing, strict=True) if d)
                text = f"the {word} {rng.choice(phrases)} the {call(rng, other)}"
                yield Asked(text, frozenset({number}), "relation")


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
    "beside": _beside,
    "to the left of": _left_of,
    "to the right of": _right_of,
    "on": _on,
    "under": _under,
    "below": _under,
}
"""True, false, or ``None`` where people might disagree."""
