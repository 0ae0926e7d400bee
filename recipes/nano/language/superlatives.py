"""Kinds ``superlative`` and ``ordinal``: objects named by rank in position or size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from types import MappingProxyType

import numpy as np

from recipes.nano.language.meaning import (
    Joined,
    Meaning,
    Phrases,
    View,
    nouns,
    sentences,
    unseen_sentences,
    view,
)
from recipes.nano.language.relations import TARGET_FORMS
from recipes.nano.scenes.scenes import Scene

CLEAR_AREA = 1.25
"""Least ratio of two areas of which one is said to be larger."""

CLEAR_STEP = 0.06
"""Least distance of two positions in an order, as a share of the shorter side."""

FULLY_SEEN = 0.85
"""Visible share below which nobody says how large an object is."""

SUPERLATIVES = MappingProxyType(
    {
        "largest": ("largest", "biggest"),
        "smallest": ("smallest",),
        "leftmost": ("leftmost",),
        "rightmost": ("rightmost",),
        "topmost": ("topmost", "highest"),
        "lowest": ("lowest",),
    }
)
"""Form -> the words for it."""

UNSEEN_SUPERLATIVES = MappingProxyType(
    {
        "largest": "{a} that is bigger than the others",
        "smallest": "{a} that is smaller than the others",
        "leftmost": "first {a} from the left",
        "rightmost": "first {a} from the right",
        "topmost": "{a} that is higher than the others",
        "lowest": "{a} that is lower than the others",
    }
)

SUPERLATIVE_BODIES = MappingProxyType(
    {
        "largest": ("{a} with the largest area", "{a} that is larger than all other ones",
                    "{a} of the biggest size", "{a} bigger than any other one"),
        "smallest": ("{a} with the smallest area", "{a} that is smaller than all other ones",
                     "{a} of the smallest size", "{a} smaller than any other one"),
        "leftmost": ("{a} at the far left", "{a} farthest to the left", "{a} nearest to the left edge",
                     "{a} left of all the others", "{a} that comes first on the left",
                     "{a} that is first from the left", "{a} that is the first one from the left"),
        "rightmost": ("{a} at the far right", "{a} farthest to the right", "{a} nearest to the right edge",
                      "{a} right of all the others", "{a} that comes first on the right",
                      "{a} that is first from the right", "{a} that is the first one from the right"),
        "topmost": ("{a} at the very top", "{a} farthest up", "{a} nearest to the top edge",
                    "{a} above all the others", "{a} higher than any other one",
                    "first {a} from the top", "{a} that is first from the top"),
        "lowest": ("{a} at the very bottom", "{a} farthest down", "{a} nearest to the bottom edge",
                   "{a} below all the others", "{a} lower than any other one",
                   "first {a} from the bottom", "{a} that is first from the bottom"),
    }
)  # fmt: skip
"""Form -> further noun phrases that say it."""

RANKS = ("second", "third", "fourth")

ENDS = MappingProxyType(
    {"leftmost": "from the left", "rightmost": "from the right", "topmost": "from the top",
     "lowest": "from the bottom"}
)  # fmt: skip
"""Superlative -> where its order starts."""

_BODIES = ("{s} {a}", "{a} that is the {s}", "{a} which is the {s} of all")
_SEEN = sentences(_BODIES, "which {a} is the {s} one?", "which {a} is the {s}?")
_FORM_SEEN = {
    form: sentences(bodies, *(f"which one is the {body}?" for body in bodies))
    for form, bodies in SUPERLATIVE_BODIES.items()
}
_FROM_BODIES = ("{r} {a} {e}", "{a} that is {r} {e}", "{a} that is the {r} one {e}", "{a} at place {r} {e}")
_FROM = sentences(_FROM_BODIES, "which {a} is {r} {e}?", "which {a} comes {r} when counted {e}?")
_FROM_UNSEEN = unseen_sentences(_FROM_BODIES, ("{a} which comes {r} {e}",))
_SIZED_BODIES = ("{r} {s} {a}", "{a} that is the {r} {s} one")
_SIZED = sentences(_SIZED_BODIES, "which {a} is the {r} {s} one?")
_SIZED_UNSEEN = unseen_sentences(_SIZED_BODIES, (), "which {a} is {r} by size, the {s} first?")
_MIDDLE_BODIES = ("middle {a} from left to right", "{a} in the middle from left to right")
_MIDDLE = sentences(_MIDDLE_BODIES)
_MIDDLE_UNSEEN = unseen_sentences(_MIDDLE_BODIES, ())


def ordered(seen: View, form: str, members: Sequence[int]) -> list[tuple[int, bool]]:
    """Objects in the order of a superlative, each with whether it stands clear of the next one."""
    things = seen.scene.objects
    if form in ("largest", "smallest"):
        down = form == "largest"
        order = sorted(members, key=lambda i: float(seen.areas[i]), reverse=down)
        radii = {i: things[i].radius for i in order}
        pairs = [(i, j) if down else (j, i) for i, j in pairwise(order)]
        # a slim shape that is larger all the same would be argued about
        clear = [seen.areas[i] >= CLEAR_AREA * seen.areas[j] and radii[i] >= 1.05 * radii[j] for i, j in pairs]
    else:
        sign, axis = {"leftmost": (1, 0), "rightmost": (-1, 0), "topmost": (1, 1), "lowest": (-1, 1)}[form]
        place = sign * seen.centres[:, axis]
        order = sorted(members, key=lambda i: float(place[i]))
        clear = [bool(gap >= CLEAR_STEP * seen.side) for gap in np.diff(place[order])]
    return list(zip(order, [*clear, True], strict=True))


def _orders(
    seen: View, smallest: int
) -> Iterator[tuple[str, tuple[tuple[str, str], ...], list[tuple[int, bool]]]]:
    if seen.is_clip:
        return
    whole = seen.scene.visibility[seen.frame] >= FULLY_SEEN
    for look, members in seen.looks(*TARGET_FORMS).items():
        if len(members) >= smallest:
            for form in SUPERLATIVES:
                if form in ENDS or all(whole[i] for i in members):
                    yield form, look, ordered(seen, form, members)


def superlative_meanings(scene: Scene, frame: int) -> Iterator[Meaning]:
    """The first of an order among at least two objects of a look."""
    for form, look, order in _orders(view(scene, frame), 2):
        target, clear = order[0]
        if clear:
            gaps = {"a": nouns(look), "s": SUPERLATIVES[form]}
            unseen = Phrases(unseen_sentences((), (UNSEEN_SUPERLATIVES[form],)), a=nouns(look))
            seen = Joined(Phrases(_SEEN, **gaps), Phrases(_FORM_SEEN[form], a=nouns(look)))
            yield Meaning("superlative", form, (target,), seen, unseen)


def ordinal_meanings(scene: Scene, frame: int) -> Iterator[Meaning]:
    """The second, third or fourth of an order, and the middle one, among at least three objects of a look."""
    for form, look, order in _orders(view(scene, frame), 3):
        a = nouns(look)
        clear = np.cumprod([step for _, step in order]).astype(bool)
        if form == "leftmost" and len(order) % 2 and clear.all():
            targets = (order[len(order) // 2][0],)
            said = Phrases(_MIDDLE, a=a), Phrases(_MIDDLE_UNSEEN, a=a)
            yield Meaning("ordinal", "middle", targets, *said)
        # the last of an order is said from its other end
        for rank, (target, _) in enumerate(order[1:-1], 1):
            if rank > len(RANKS) or not clear[rank]:
                break
            if form in ENDS:
                gaps, patterns = {"a": a, "r": (RANKS[rank - 1],), "e": (ENDS[form],)}, (_FROM, _FROM_UNSEEN)
                name = f"{RANKS[rank - 1]} {ENDS[form]}"
            else:
                gaps = {"a": a, "r": (RANKS[rank - 1],), "s": SUPERLATIVES[form]}
                patterns, name = (_SIZED, _SIZED_UNSEEN), f"{RANKS[rank - 1]} {form}"
            yield Meaning(
                "ordinal", name, (target,), Phrases(patterns[0], **gaps), Phrases(patterns[1], **gaps)
            )
