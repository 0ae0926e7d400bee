"""Kind ``relation``: objects singled out by position or shared attributes relative to another one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from types import MappingProxyType

import numpy as np

from recipes.nano.language.meaning import (
    Look,
    Meaning,
    Phrases,
    View,
    nouns,
    sentences,
    unseen_sentences,
    view,
)
from recipes.nano.scenes.scenes import Scene

CLEAR_DISTANCE = 0.12
"""Least distance in a direction, as a share of the shorter side, at which nobody doubts the side."""

CLEAR_SLOPE = 1.5
"""Least ratio of the distance in the direction to that across it."""

NEARER = 0.7
"""Largest ratio of the nearest distance to the second one."""

SIDES = MappingProxyType({"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)})

WORDS = MappingProxyType(
    {
        "left of": ("left of", "to the left of"),
        "right of": ("right of", "to the right of"),
        "above": ("above", "over"),
        "below": ("below", "under"),
        "closest to": ("closest to", "nearest to", "next to"),
        "farthest from": ("farthest from",),
    }
)
"""Form -> the words for it."""

ALIKE = MappingProxyType({"same colour": "colour", "same shape": "shape"})

TARGET_FORMS = ((), ("shape",), ("colour",), ("colour", "shape"))

_BODIES = (
    "{a} {r} the {b}",
    "{a} that is {r} the {b}",
    "{a} which lies {r} the {b}",
    "{a} that stands {r} the {b}",
)
_SEEN = sentences(
    _BODIES, "which {a} is {r} the {b}?", "which {a} do you see {r} the {b}?", "what is the {a} {r} the {b}?"
)
_UNSEEN = unseen_sentences(_BODIES, ("{a} which you see {r} the {b}",), "what {a} is there {r} the {b}?")
_BETWEEN_BODIES = (
    "{a} between the {b} and the {c}",
    "{a} that is between the {b} and the {c}",
    "{a} that has the {b} and the {c} on its two sides",
)
_BETWEEN = sentences(_BETWEEN_BODIES, "which {a} is between the {b} and the {c}?")
_BETWEEN_UNSEEN = unseen_sentences(_BETWEEN_BODIES, ("{a} with the {b} on one side and the {c} on the other",))
_ALIKE_BODIES = (
    "other {a} of the same {r} as the {b}",
    "other {a} that has the same {r} as the {b}",
    "other {a} which shares its {r} with the {b}",
)
_ALIKE_SEEN = sentences(_ALIKE_BODIES, "which other {a} has the same {r} as the {b}?")
_ALIKE_UNSEEN = unseen_sentences(_ALIKE_BODIES, ("other {a} with the same {r} as the {b}",))


def side_truth(seen: View, form: str, anchor: int) -> np.ndarray:
    """``int[N]``: 1 for objects certainly on that side of ``anchor``, 0 for doubt, -1 for certainly not."""
    offset = seen.centres - seen.centres[anchor]
    direction = np.array(SIDES[form])
    ahead = offset @ direction
    across = np.abs(offset @ direction[::-1])
    yes = (ahead >= CLEAR_DISTANCE * seen.side) & (ahead >= CLEAR_SLOPE * across)
    no = (ahead <= 0.02 * seen.side) | (ahead <= 0.25 * across)
    return np.where(yes, 1, np.where(no, -1, 0))


def between_truth(seen: View, one: int, other: int) -> np.ndarray:
    """``int[N]``: 1 for objects certainly between two others, 0 for doubt, -1 for certainly not."""
    line = seen.centres[other] - seen.centres[one]
    length = float(np.hypot(*line)) or 1.0
    offset = seen.centres - seen.centres[one]
    along = offset @ line / length**2
    across = np.abs(offset @ np.array([-line[1], line[0]])) / length**2
    yes = (along > 0.25) & (along < 0.75) & (across < 0.2)
    no = (along < 0.05) | (along > 0.95) | (across > 0.6)
    return np.where(yes, 1, np.where(no, -1, 0))


def certain(truth: np.ndarray, members: Sequence[int]) -> tuple[int, ...] | None:
    """Objects for which it is certainly true; ``None`` where any is in doubt."""
    values = [int(truth[i]) for i in members]
    return None if 0 in values else tuple(i for i, v in zip(members, values, strict=True) if v == 1)


def relation_wordings(form: str, a: Look, b: Look) -> tuple[Phrases, Phrases]:
    """Seen and unseen instructions for the ``a`` that has the relation ``form`` to the ``b``."""
    gaps = {"a": nouns(a), "r": WORDS[form], "b": nouns(b)}
    return Phrases(_SEEN, **gaps), Phrases(_UNSEEN, **gaps)


def relation_meanings(scene: Scene, frame: int) -> Iterator[Meaning]:
    """Objects among several alike, singled out by one relation to another object."""
    seen = view(scene, frame)
    if seen.is_clip or not seen.legible.all():
        return
    anchors, groups = seen.anchors(), seen.looks(*TARGET_FORMS)
    for b, anchor in anchors:
        truths = {form: side_truth(seen, form, anchor) for form in SIDES}
        away = np.hypot(*(seen.centres - seen.centres[anchor]).T)
        for a, everyone in groups.items():
            members = [i for i in everyone if i != anchor]
            # a description that needs no relation would teach to pass over it
            if len(members) < 2:
                continue
            found = {form: certain(truth, members) for form, truth in truths.items()}
            order = sorted(members, key=lambda i: float(away[i]))
            if away[order[0]] <= NEARER * away[order[1]]:
                found["closest to"] = (order[0],)
            if away[order[-2]] <= NEARER * away[order[-1]]:
                found["farthest from"] = (order[-1],)
            for form, targets in found.items():
                if targets is not None and len(targets) == 1:
                    said = relation_wordings(form, a, b)
                    yield Meaning("relation", form, targets, *said, anchors=(anchor,))
    yield from _between(seen, anchors, groups)
    yield from _alike(seen, anchors, groups)


def _between(
    seen: View, anchors: Sequence[tuple[Look, int]], groups: dict[Look, list[int]]
) -> Iterator[Meaning]:
    for (b, one), (c, other) in combinations(anchors, 2):
        if one == other:
            continue
        truth = between_truth(seen, one, other)
        if not (truth == 1).any():
            continue
        for a, everyone in groups.items():
            members = [i for i in everyone if i not in (one, other)]
            targets = certain(truth, members)
            if targets is not None and len(targets) == 1 < len(everyone):
                gaps = {"a": nouns(a), "b": nouns(b), "c": nouns(c)}
                said = Phrases(_BETWEEN, **gaps), Phrases(_BETWEEN_UNSEEN, **gaps)
                yield Meaning("relation", "between", targets, *said, anchors=(one, other))


def _alike(seen: View, anchors: Sequence[tuple[Look, int]], groups: dict[Look, list[int]]) -> Iterator[Meaning]:
    things = seen.scene.objects
    for (b, anchor), (form, name) in ((a, f) for a in anchors for f in ALIKE.items()):
        if name in dict(b) and len(b) == 1:
            continue  # the only red object has no other of its colour
        for a, everyone in groups.items():
            if name in dict(a):
                continue
            members = [i for i in everyone if i != anchor]
            targets = tuple(i for i in members if getattr(things[i], name) == getattr(things[anchor], name))
            if len(targets) == 1 < len(members):
                gaps = {"a": nouns(a), "r": (name,), "b": nouns(b)}
                said = Phrases(_ALIKE_SEEN, **gaps), Phrases(_ALIKE_UNSEEN, **gaps)
                yield Meaning("relation", form, targets, *said, anchors=(anchor,))
