"""What can be said of a scene, and what is meant: every valid description with its target objects.

A *kind* of description is one function from a scene and a frame to its meanings, entered in :data:`KINDS`.
A meaning is the truth; its wordings are how it may be said. Kinds know objects only through the scene, so
relations, superlatives, motion or questions are further functions here and change nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from instructseg.data.objects import SIZES, SceneObject
from instructseg.data.phrasing import wordings
from instructseg.data.scenes import Scene
from instructseg.structures import Task

MIN_AREA = 12
"""Visible pixels below which an object is not asked about."""

MIN_VISIBILITY = 0.5
"""Visible share below which a person could not name an object's shape and size."""

MIN_TEXTURED_RADIUS = 9.0
"""Radius in pixels below which stripes cannot be told from dots."""


@dataclass(frozen=True)
class Meaning:
    """One description, however it is worded.

    Attributes:
        kind: a name of :data:`KINDS`.
        form: what the description makes use of, such as ``colour shape``.
        targets: indices of all objects that it describes, ascending; never empty for now.
        wordings: the instructions that say it.
    """

    kind: str
    form: str
    targets: tuple[int, ...]
    wordings: tuple[str, ...]


@dataclass(frozen=True)
class Expression:
    """One instruction on one frame of a scene; fields as in :class:`Meaning`."""

    text: str
    task: Task
    kind: str
    form: str
    targets: tuple[int, ...]


ATTRIBUTE_FORMS = (
    ("colour", "shape"),
    ("size", "colour", "shape"),
    ("size", "shape"),
    ("shape",),
    ("colour",),
    ("texture", "colour", "shape"),
    ("texture", "shape"),
    ("colour", "shape", "motion"),
    ("shape", "motion"),
)


def attribute_meanings(scene: Scene, frame: int) -> Iterator[Meaning]:
    """Describes single objects by how they look; motion is mentioned, but never needed to find them."""
    for form in ATTRIBUTE_FORMS:
        looks = [name for name in form if name != "motion"]
        for i, thing in enumerate(scene.objects):
            # every object counts as a rival, even one that can hardly be seen
            targets = tuple(j for j, other in enumerate(scene.objects) if _same(thing, other, looks))
            if targets == (i,) and _legible(scene, i, frame) and _sayable(scene, thing, form):
                values = tuple((name, getattr(thing, name)) for name in form)
                yield Meaning("attribute", " ".join(form), targets, wordings(values))


def _same(one: SceneObject, other: SceneObject, names: Sequence[str]) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in names)


def _legible(scene: Scene, i: int, frame: int) -> bool:
    return bool(scene.visibility[frame, i] >= MIN_VISIBILITY) and scene.area(i, frame) >= MIN_AREA


def _sayable(scene: Scene, thing: SceneObject, form: Sequence[str]) -> bool:
    """Whether a person who sees the scene would agree with these words.

    A size is said where there are others to compare it with, a texture where it is not too fine to be
    recognised; a plain texture and a diagonal motion have no word.
    """
    if "size" in form:
        ranks = [list(SIZES).index(other.size) for other in scene.objects]
        rank = list(SIZES).index(thing.size)
        if (thing.size != "big" and rank >= max(ranks)) or (thing.size != "small" and rank <= min(ranks)):
            return False
    if "texture" in form and (thing.texture == "plain" or thing.radius < MIN_TEXTURED_RADIUS):
        return False
    return "motion" not in form or (len(scene.frames) > 1 and thing.motion != "diagonal")


Kind = Callable[[Scene, int], Iterator[Meaning]]

KINDS: Mapping[str, Kind] = MappingProxyType({"attribute": attribute_meanings})
"""Name -> generator of all meanings of that kind."""


def check_kinds(kinds: Sequence[str]) -> None:
    """Raises ``ValueError`` where no kind is named or one is unknown."""
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        named = repr(unknown[0]) if unknown else "none"
        raise ValueError(f"unknown kind of expression {named}: there are {', '.join(KINDS)}")


def meanings(scene: Scene, frame: int, kinds: Sequence[str] = tuple(KINDS)) -> list[Meaning]:
    """All valid descriptions of what is seen in ``frame``, in a fixed order.

    Raises:
        ValueError: no kind is named, or one is unknown.
    """
    check_kinds(kinds)
    return [meaning for kind in kinds for meaning in KINDS[kind](scene, frame)]


def expressions(scene: Scene, frame: int, kinds: Sequence[str] = tuple(KINDS)) -> list[Expression]:
    """All valid instructions on ``frame``: each wording of each of its :func:`meanings`."""
    return [
        Expression(text, _task(scene), meaning.kind, meaning.form, meaning.targets)
        for meaning in meanings(scene, frame, kinds)
        for text in meaning.wordings
    ]


def draw_expressions(
    rng: np.random.Generator, scene: Scene, choices: Sequence[Meaning], count: int
) -> list[Expression]:
    """Draws different instructions, even over kinds, then targets, then forms, then wordings.

    Args:
        rng: source of the draw.
        scene: what they are about.
        choices: some :func:`meanings` of the scene.
        count: how many; fewer come back where there is not that much to say.
    """
    drawn: dict[str, Expression] = {}
    available = sum(len(meaning.wordings) for meaning in choices)
    while len(drawn) < min(count, available):
        left: Sequence[Meaning] = choices
        for part in ("kind", "targets", "form"):
            values = sorted({getattr(meaning, part) for meaning in left})
            value = values[int(rng.integers(len(values)))]
            left = [meaning for meaning in left if getattr(meaning, part) == value]
        meaning = left[int(rng.integers(len(left)))]
        text = meaning.wordings[int(rng.integers(len(meaning.wordings)))]
        drawn[text] = Expression(text, _task(scene), meaning.kind, meaning.form, meaning.targets)
    return list(drawn.values())


def _task(scene: Scene) -> Task:
    return Task.RVOS if len(scene.frames) > 1 else Task.RES
