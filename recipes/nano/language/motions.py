"""Kinds of videos that one frame cannot answer: ``motion``, ``leading``, ``leaving``, ``parked``, ``speed``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import MappingProxyType

import numpy as np

from instructseg.structures import Task
from recipes.nano.language.meaning import (
    Joined,
    Look,
    Meaning,
    Phrases,
    View,
    nouns,
    plurals,
    sentences,
    unseen_sentences,
    view,
)
from recipes.nano.language.phrasing import MOTION_PHRASES
from recipes.nano.language.relations import TARGET_FORMS
from recipes.nano.scenes.objects import MOTIONS
from recipes.nano.scenes.scenes import Scene

CLEAR_TRAVEL = 0.1
"""Least way over a video, as a share of the shorter side, at which everybody sees that an object moves."""

CLEAR_LEAD = 0.08
"""Least distance of a leader from the next one, as a share of the shorter side."""

CLEAR_SPEED = 1.4
"""Least ratio of two speeds of which one is said to be faster."""

MOTION_FORMS = (
    ("colour", "shape"),
    ("shape",),
    ("colour",),
    (),
    ("size", "colour", "shape"),
)
"""What is said of an object beside its motion."""

UNSEEN_MOTION_PHRASES = MappingProxyType(
    {
        "left": ("that goes to the left", "that heads left"),
        "right": ("that goes to the right", "that heads right"),
        "up": ("that goes up", "that heads towards the top"),
        "down": ("that goes down", "that heads towards the bottom"),
        "still": ("that stays in place", "that stays where it is"),
    }
)

_MOTION_BODIES = ("{a} {m}",)
_MOTION = sentences(_MOTION_BODIES, "which {a} is the one {m}?")
_MOTION_OPEN_UNSEEN = unseen_sentences(_MOTION_BODIES, ())
_MOTION_UNSEEN = unseen_sentences((), _MOTION_BODIES)

_WAYS = MappingProxyType({"left": "to the left", "right": "to the right", "up": "upwards", "down": "downwards"})
_LEADING = (
    "which {a} is leading the others that move {w}?",
    "which {a} is ahead of the others moving {w}?",
    "of the {p} moving {w}, which one is in the lead?",
    "the {a} in front of all the others that move {w}",
    "segment the first of the {p} moving {w}",
    "find the {a} that is farthest ahead of those going {w}",
    "which of the {p} going {w} is at the front?",
    "the first {a} of those on the way {w}",
    "which {a} will arrive first of those moving {w}?",
    "show the {a} that leads the others going {w}",
    "which {a} wins of those going {w}?",
    "in the race {w}, which {a} is ahead?",
    "the {a} that is first of all {w}",
    "which of the {p} {w} is in front?",
)
_LEADING_UNSEEN = ("who wins the race of the {p} {w}?", "can you point out the {a} that is first {w}?")
_LAST = (
    "which {a} is the last of those moving {w}?",
    "which {a} is behind all the others that move {w}?",
    "of the {p} moving {w}, which one is last?",
    "the {a} following all the others that move {w}",
    "segment the last of the {p} moving {w}",
    "find the {a} that is farthest behind of those going {w}",
    "which of the {p} going {w} is at the end?",
    "the last {a} of those on the way {w}",
    "which {a} will arrive last of those moving {w}?",
    "show the {a} that comes behind the others going {w}",
    "which {a} loses of those going {w}?",
    "in the race {w}, which {a} is behind?",
    "the {a} that is last of all {w}",
    "which of the {p} {w} is at the end?",
)
_LAST_UNSEEN = ("who loses the race of the {p} {w}?", "can you point out the {a} that comes last {w}?")
_LEAVES = (
    "which {a} leaves first?",
    "which {a} leaves the picture first?",
    "which of the {p} is the first to go out of the frame?",
    "the {a} that leaves the frame first",
    "segment the {a} that disappears first",
    "find the {a} that goes away first",
    "which {a} will be gone first?",
    "which of the {p} can soon be seen no more?",
    "show the first {a} to go out of sight",
    "the {a} that moves out of the picture",
    "find the {a} that goes out of sight",
    "segment the {a} that goes away",
    "where is the {a} that goes out of the frame?",
)
_LEAVES_UNSEEN = ("which {a} is soon gone?", "can you point out the {a} that goes out of the picture?")
_PARKED = (
    "which {a} is parked?",
    "which {a} never moves?",
    "all the {p} move but one: which one stays in place?",
    "the {a} that is parked while the others move",
    "segment the {a} that does not move while all the others do",
    "find the only {a} at rest",
    "which {a} stands still while the others move?",
    "which of the {p} does not move?",
    "show the {a} that stays in its place",
    "which one of the {p} has no motion?",
    "which {a} rests while the others move?",
    "the {a} that stays where it was",
    "which of the {p} stays?",
    "the {a} that rests in its place",
    "which {a} rests?",
    "which of the {p} rests?",
    "where is the {a} that rests while the others move?",
)
_PARKED_UNSEEN = ("which {a} stays where it is?", "can you point out the {a} that rests?")
_SPEED = MappingProxyType(
    {
        "fastest": (
            "which {a} is the fastest?",
            "which {a} moves the fastest?",
            "which of the {p} moves most quickly?",
            "the {a} that moves faster than all the others",
            "segment the fastest of the {p}",
            "find the {a} with the highest speed",
            "which of the {p} goes the farthest?",
            "the quickest {a} of all",
            "show the {a} that moves more than any other one",
            "which one of the {p} has the most motion?",
        ),
        "slowest": (
            "which moving {a} is the slowest?",
            "which {a} moves, but slower than the others?",
            "which of the moving {p} is the slowest?",
            "the {a} that moves slower than the others that move",
            "segment the slowest of the moving {p}",
            "find the moving {a} with the lowest speed",
            "which of the moving {p} goes the least far?",
            "the least quick of the {p} that move",
            "show the {a} that moves less than any other one that moves",
            "which one of the moving {p} has the least motion?",
        ),
    }
)
_SPEED_UNSEEN = MappingProxyType(
    {
        "fastest": ("which {a} moves the most?", "can you point out the fastest {a}?"),
        "slowest": (
            "which {a} moves the least of those that move?",
            "can you point out the slowest moving {a}?",
        ),
    }
)


def travels(seen: View) -> np.ndarray:
    """``float[N, 2]``: the way of each object from the first to the last frame, in shorter sides."""
    ways = np.stack([obj.centres[-1] - obj.centres[0] for obj in seen.scene.objects])
    return np.asarray(ways / seen.side)


def doubtful(seen: View, motion: str, members: Sequence[int]) -> bool:
    """Whether any of them could be said to have that motion though it has not quite."""
    ways = travels(seen)
    for i in members:
        name, way = seen.scene.objects[i].motion, ways[i]
        if name == motion:
            unclear = motion != "still" and np.hypot(*way) < CLEAR_TRAVEL
        elif motion == "still":
            unclear = np.hypot(*way) < CLEAR_TRAVEL
        else:
            unclear = bool(way @ np.array(MOTIONS[motion][0]) > 0.02)
        if unclear:
            return True
    return False


def motion_wordings(look: Look, motion: str) -> tuple[Phrases, Sequence[str]]:
    """Seen and unseen instructions for the object of a look with that motion."""
    a = nouns(look)
    unseen = Joined(
        Phrases(_MOTION_OPEN_UNSEEN, a=a, m=MOTION_PHRASES[motion]),
        Phrases(_MOTION_UNSEEN, a=a, m=UNSEEN_MOTION_PHRASES[motion]),
    )
    return Phrases(_MOTION, a=a, m=MOTION_PHRASES[motion]), unseen


def motion_meanings(scene: Scene, frame: int) -> Iterator[Meaning]:
    """Objects with identical twins in the key frame, singled out by motion alone."""
    seen = view(scene, frame)
    if not seen.is_clip:
        return
    full = {i: _identical(seen, i) for i in range(len(scene.objects)) if seen.legible[i]}
    for look, members in seen.looks(*MOTION_FORMS).items():
        everyone = seen.members(look)
        for motion in {scene.objects[i].motion: None for i in members} if len(members) > 1 else ():
            moving = [i for i in everyone if scene.objects[i].motion == motion]
            twins = len(moving) == 1 and [i for i in full.get(moving[0], ()) if i in everyone]
            if motion != "diagonal" and twins and not doubtful(seen, motion, everyone):
                form = "still" if motion == "still" else "direction"
                yield Meaning("motion", form, (moving[0],), *motion_wordings(look, motion))


def _identical(seen: View, i: int) -> list[int]:
    """Legible others that look the same in the key frame."""
    one = seen.scene.objects[i]
    return [
        j
        for j, other in enumerate(seen.scene.objects)
        if j != i
        and seen.legible[j]
        and (one.colour, one.shape, one.size, one.texture)
        == (other.colour, other.shape, other.size, other.texture)
    ]


def _ask(
    kind: str, form: str, target: int, look: Look, patterns: Sequence[Sequence[str]], **gaps: str
) -> Meaning:
    filled = {"a": nouns(look), "p": plurals(look), **{name: (word,) for name, word in gaps.items()}}
    said, unseen = (
        Phrases([p for p in part if "{a}" in p], **{k: v for k, v in filled.items() if k != "p"})
        for part in patterns
    )
    more, more_unseen = (
        Phrases([p for p in part if "{p}" in p], **{k: v for k, v in filled.items() if k != "a"})
        for part in patterns
    )
    return Meaning(kind, form, (target,), Joined(said, more), Joined(unseen, more_unseen), Task.REASON_VOS)


def leading_meanings(scene: Scene, frame: int) -> Iterator[Meaning]:
    """The first and the last of at least two objects that move in one direction."""
    seen = view(scene, frame)
    if not seen.is_clip:
        return
    for look, members in seen.looks(*TARGET_FORMS).items():
        for motion in _WAYS:
            racers = [i for i in members if scene.objects[i].motion == motion]
            if len(racers) < 2 or doubtful(seen, motion, seen.members(look)):
                continue
            if len(racers) < sum(scene.objects[i].motion == motion for i in seen.members(look)):
                continue
            direction = np.array(MOTIONS[motion][0])
            places = np.stack([scene.objects[i].centres @ direction for i in racers]) / seen.side
            order = np.argsort(-places[:, frame])
            for form, best, patterns in (
                ("leading", order[0], (_LEADING, _LEADING_UNSEEN)),
                ("last", order[-1], (_LAST, _LAST_UNSEEN)),
            ):
                sign = 1 if form == "leading" else -1
                others = np.delete(places, best, axis=0)
                gaps = sign * (places[best] - others)
                if (
                    gaps[:, frame].min() >= CLEAR_LEAD
                    and gaps[:, -1].min() >= CLEAR_LEAD / 2
                    and gaps.min() > 0
                ):
                    yield _ask("leading", form, racers[best], look, patterns, w=_WAYS[motion])


def leaving_meanings(scene: Scene, frame: int) -> Iterator[Meaning]:
    """The object that is gone from the frame while all others of its look can still be seen."""
    seen = view(scene, frame)
    if not seen.is_clip:
        return
    height, width = scene.ids.shape[1:]
    inside = np.stack([
        ((obj.centres > 0) & (obj.centres < (width, height))).all(axis=1) for obj in scene.objects
    ])  # fmt: skip
    shown = scene.visibility.T >= MIN_SHOWN
    gone = (scene.visibility.T == 0) & ~inside
    for look, members in seen.looks(*TARGET_FORMS).items():
        everyone = seen.members(look)
        if len(members) < 2:
            continue
        for i in members:
            others = [j for j in everyone if j != i]
            later = [t for t in range(frame + 1, len(scene.frames)) if gone[i, t]]
            if later and all(shown[j, later[0]] or (j not in members and gone[j, : later[0] + 1].all())
                             for j in others):  # fmt: skip
                yield _ask("leaving", "leaves first", i, look, (_LEAVES, _LEAVES_UNSEEN))


MIN_SHOWN = 0.4
"""Visible share above which nobody would say that an object has left."""


def parked_meanings(scene: Scene, frame: int) -> Iterator[Meaning]:
    """The only object that stands still among at least two that move."""
    seen = view(scene, frame)
    if not seen.is_clip:
        return
    for look, members in seen.looks(*TARGET_FORMS).items():
        everyone = seen.members(look)
        still = [i for i in everyone if scene.objects[i].motion == "still"]
        if (
            len(members) >= 3
            and len(still) == 1
            and still[0] in members
            and not doubtful(seen, "still", [i for i in everyone if i != still[0]])
        ):
            yield _ask("parked", "parked", still[0], look, (_PARKED, _PARKED_UNSEEN))


def speed_meanings(scene: Scene, frame: int) -> Iterator[Meaning]:
    """The fastest and the slowest of at least two objects that move."""
    seen = view(scene, frame)
    if not seen.is_clip:
        return
    speeds = np.hypot(*travels(seen).T)
    for look, members in seen.looks(*TARGET_FORMS).items():
        moving = [i for i in members if scene.objects[i].motion != "still"]
        everyone = [i for i in seen.members(look) if scene.objects[i].motion != "still"]
        if len(moving) < 2 or len(moving) < len(everyone) or min(speeds[i] for i in moving) < CLEAR_TRAVEL:
            continue
        order = sorted(moving, key=lambda i: float(speeds[i]))
        for form, one, slower, faster in (
            ("fastest", order[-1], order[-2], order[-1]),
            ("slowest", order[0], order[0], order[1]),
        ):
            if speeds[faster] >= CLEAR_SPEED * speeds[slower]:
                yield _ask("speed", form, one, look, (_SPEED[form], _SPEED_UNSEEN[form]))
