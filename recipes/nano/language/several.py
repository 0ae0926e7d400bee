"""Kinds ``several``, ``pair`` and ``none``: instructions that mean every object that fits, two, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations, pairwise, permutations, product
from types import MappingProxyType
from typing import Any

import numpy as np

from recipes.nano.language.meaning import (
    Joined,
    Look,
    Meaning,
    Phrases,
    View,
    nouns,
    plurals,
    view,
)
from recipes.nano.language.phrasing import OPENERS, UNSEEN_OPENERS
from recipes.nano.language.questions import NUMBERS
from recipes.nano.language.relations import (
    CLEAR_DISTANCE,
    SIDES,
    TARGET_FORMS,
    WORDS,
    certain,
    side_truth,
)
from recipes.nano.scenes.objects import COLOURS, HELD_OUT, SHAPES
from recipes.nano.scenes.scenes import Scene

MIDDLE = 0.08
"""Distance from the middle line, as a share of a side, within which nobody can say on which half a thing is."""

HALVES = MappingProxyType(
    {
        "left of": ("on the left", "on the left side"),
        "right of": ("on the right", "on the right side"),
        "above": ("at the top",),
        "below": ("at the bottom",),
    }
)
"""Form of :data:`~recipes.nano.language.relations.SIDES` -> the words for that half of the frame."""

_EVERY_BODIES = ("all the {p}", "all {p}", "all of the {p}", "every {a}", "each {a}", "each of the {p}")
_EVERYTHING_BODIES = ("everything {c}", "everything that is {c}")
_PLACED_BODIES = ("all the {p} {w}", "all {p} {w}", "every {a} {w}", "each {a} {w}")
_BOTH_BODIES = ("both {p}", "both the {p}", "both of the {p}", "the {n} {p}")
_NUMBER_BODIES = ("the {n} {p}", "all {n} {p}", "all the {n} {p}")
_ENDS_BODIES = ("the {n} {p} {w}", "the {n} {p} that are {w}", "{n} {p} {w}")
_RELATED_BODIES = (
    "all the {p} {r} the {b}",
    "all {p} that are {r} the {b}",
    "every {a} {r} the {b}",
    "each {a} that is {r} the {b}",
)
_PAIR_BODIES = ("the {a} and the {b}",)


_ONE = ("which one", "where is", " is?", "the {} is", "pick", "the mask of", "i mean is", "glad to")
"""Parts of openers that go with one object alone."""
_OPENERS = (
    *(opener.replace("the {}", "{}") for opener in OPENERS if not any(part in opener for part in _ONE)),
    "where are {}?", "show me where {} are", "tell me where {} are", "the mask of {}",
)  # fmt: skip
_UNSEEN_OPENERS = tuple(opener.replace("the {}", "{}") for opener in UNSEEN_OPENERS)


def _framed(bodies: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Noun phrases with an article of their own within usual openers, and within those kept from training."""
    seen, unseen = (
        tuple(dict.fromkeys(opener.format(body) for body, opener in product(bodies, openers)))
        for openers in (_OPENERS, _UNSEEN_OPENERS)
    )
    return seen, unseen


_PATTERNS = MappingProxyType(
    {
        name: _framed(bodies)
        for name, bodies in (
            ("every", _EVERY_BODIES), ("everything", _EVERYTHING_BODIES), ("placed", _PLACED_BODIES),
            ("both", _BOTH_BODIES), ("number", _NUMBER_BODIES), ("ends", _ENDS_BODIES),
            ("related", _RELATED_BODIES), ("pair", _PAIR_BODIES),
        )
    }
)  # fmt: skip


def several_meanings(scene: Scene, frame: int) -> Iterator[Meaning]:
    """All objects of a look, a number of them, those on a side or beside another one, and two by their looks.

    Of a video, all of a look alone, where each of them can be seen.
    """
    seen = view(scene, frame)
    groups = seen.looks(*TARGET_FORMS)
    for look, members in groups.items():
        if members and (not seen.is_clip or len(members) == len(seen.members(look))):
            yield _meaning("all", members, _every(look))
            if len(members) > 1:
                yield _meaning("number", members, _numbered(look, len(members)))
    if not seen.is_clip and seen.legible.all():
        for look, members in groups.items():
            yield from _placed(seen, look, members)
            yield from _related(seen, look, members)
        yield from _pairs(seen)


def pair_meanings(scene: Scene, frame: int) -> Iterator[Meaning]:
    """Of the same, two objects by their looks, in either order."""
    seen = view(scene, frame)
    if not seen.is_clip and seen.legible.all():
        for meaning in _pairs(seen, permutations):
            yield replace(meaning, kind="pair")


def none_meanings(scene: Scene, frame: int) -> Iterator[Meaning]:
    """All objects of a look that none has, and both of them."""
    shown = {(obj.colour, obj.shape) for obj in scene.objects}
    colours, shapes = ({pair[i] for pair in shown} for i in (0, 1))
    lacking: list[Look] = [(("colour", c),) for c in COLOURS if c not in colours]
    lacking += [(("shape", s),) for s in SHAPES if s not in shapes]
    for pair in ((c, s) for c in COLOURS for s in SHAPES):
        # that a held-out pair is never there must not be learned
        if pair not in shown and pair not in HELD_OUT and (pair[0] in colours or pair[1] in shapes):
            lacking.append((("colour", pair[0]), ("shape", pair[1])))
    for look in lacking:
        form = " ".join(name for name, _ in look)
        said, number = _every(look), _numbered(look, 2)
        yield Meaning("none", form, (), Joined(said[0], number[0]), Joined(said[1], number[1]))


def _meaning(
    form: str, targets: Sequence[int], said: tuple[Sequence[str], Sequence[str]], anchors: Sequence[int] = ()
) -> Meaning:
    return Meaning("several", form, tuple(sorted(targets)), said[0], said[1], anchors=tuple(anchors))


def _phrases(name: str, **gaps: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Seen and unseen instructions of some patterns."""
    seen, unseen = _PATTERNS[name]
    return Phrases(seen, **gaps), Phrases(unseen, **gaps)


def _many(look: Look) -> dict[str, Sequence[str]]:
    """Nouns for one and for several objects of a look."""
    return {"a": nouns(look), "p": plurals(look) if look else ("objects", "things", "shapes")}


def _every(look: Look) -> tuple[Sequence[str], Sequence[str]]:
    """Instructions for all objects of a look."""
    said = _phrases("every", **_many(look))
    if tuple(name for name, _ in look) != ("colour",):
        return said
    more = _phrases("everything", c=(look[0][1],))
    return Joined(said[0], more[0], more[0]), Joined(said[1], more[1])


def _numbered(look: Look, count: int) -> tuple[Sequence[str], Sequence[str]]:
    """Instructions for all objects of a look by their number."""
    return _phrases("both" if count == 2 else "number", p=_many(look)["p"], n=(NUMBERS[count],))


def _placed(seen: View, look: Look, members: Sequence[int]) -> Iterator[Meaning]:
    """Those in one half of the frame, and a number of them at one end of it."""
    height, width = seen.scene.ids.shape[1:]
    for side, (x, y) in SIDES.items():
        axis, sign = (0, x) if x else (1, y)
        away = sign * (seen.centres[:, axis] / (width, height)[axis] - 0.5)
        if all(abs(away[i]) >= MIDDLE for i in members):
            there = [i for i in members if away[i] > 0]
            if there and len(members) > 1:
                yield _meaning("half", there, _phrases("placed", **_many(look), w=HALVES[side]))
        order = sorted(members, key=lambda i: -float(away[i]))
        places = [sign * float(seen.centres[i, axis]) for i in order]
        for count, (one, after) in enumerate(pairwise(places), 1):
            # others beyond the gap are clearly farther in than those that are meant
            if count > 1 and one - after >= CLEAR_DISTANCE * seen.side:
                gaps = {"p": _many(look)["p"], "n": (NUMBERS[count],), "w": HALVES[side]}
                yield _meaning("ends", order[:count], _phrases("ends", **gaps))


def _related(seen: View, look: Look, members: Sequence[int]) -> Iterator[Meaning]:
    """Two or more on one side of another object."""
    for b, anchor in seen.anchors():
        others = [i for i in members if i != anchor]
        for side in SIDES if len(others) > 1 else ():
            targets = certain(np.asarray(side_truth(seen, side, anchor)), others)
            if targets is not None and len(targets) > 1:
                said = _phrases("related", **_many(look), r=WORDS[side], b=nouns(b))
                yield _meaning("related", targets, said, (anchor,))


def _pairs(seen: View, orders: Callable[..., Iterator[Any]] = combinations) -> Iterator[Meaning]:
    """Two objects, each by a look of its own."""
    for (a, one), (b, other) in orders(tuple(seen.anchors()), 2):
        if one != other:
            yield _meaning("pair", (one, other), _phrases("pair", a=nouns(a), b=nouns(b)))
