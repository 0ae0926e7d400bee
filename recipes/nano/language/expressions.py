"""Every valid description of a scene, with its target objects.

A *kind* of description is one function from a scene and a frame to its meanings, entered in :data:`KINDS`.
A meaning is the truth; its wordings are how it may be said. Kinds know objects only through the scene, so
relations, superlatives, motion or questions are further functions here and change nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from instructseg.structures import Task
from recipes.nano.language.absent import absent_meanings
from recipes.nano.language.knowledge import function_meanings, knowledge_meanings, odd_meanings
from recipes.nano.language.meaning import MIN_AREA, MIN_VISIBILITY, Kind, Meaning
from recipes.nano.language.motions import (
    leading_meanings,
    leaving_meanings,
    motion_meanings,
    parked_meanings,
    speed_meanings,
)
from recipes.nano.language.phrasing import unseen_wordings, wordings
from recipes.nano.language.questions import count_meanings, question_meanings
from recipes.nano.language.relations import relation_meanings
from recipes.nano.language.several import none_meanings, pair_meanings, several_meanings
from recipes.nano.language.superlatives import ordinal_meanings, superlative_meanings
from recipes.nano.language.unknown import unknown_meanings
from recipes.nano.scenes.objects import SIZES, SceneObject
from recipes.nano.scenes.scenes import Scene

MIN_TEXTURED_RADIUS = 9.0
"""Radius in pixels below which stripes cannot be told from dots."""


@dataclass(frozen=True)
class Expression:
    """One instruction on one frame of a scene; fields as in :class:`Meaning`."""

    text: str
    task: Task
    kind: str
    form: str
    targets: tuple[int, ...]
    answer: str | None = None
    anchors: tuple[int, ...] = ()


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
        for i, obj in enumerate(scene.objects):
            # every object counts as a rival, even one that can hardly be seen
            targets = tuple(j for j, other in enumerate(scene.objects) if _same(obj, other, looks))
            if targets == (i,) and _legible(scene, i, frame) and _sayable(scene, obj, form):
                values = tuple((name, getattr(obj, name)) for name in form)
                yield Meaning("attribute", " ".join(form), targets, wordings(values), unseen_wordings(values))


def _same(one: SceneObject, other: SceneObject, names: Sequence[str]) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in names)


def _legible(scene: Scene, i: int, frame: int) -> bool:
    return bool(scene.visibility[frame, i] >= MIN_VISIBILITY) and scene.area(i, frame) >= MIN_AREA


def _sayable(scene: Scene, obj: SceneObject, form: Sequence[str]) -> bool:
    """Whether a person who sees the scene would agree with these words.

    A size is said where there are others to compare it with, a texture where it is not too fine to be
    recognised; a plain texture and a diagonal motion have no word.
    """
    if "size" in form:
        ranks = [list(SIZES).index(other.size) for other in scene.objects]
        rank = list(SIZES).index(obj.size)
        if (obj.size != "big" and rank >= max(ranks)) or (obj.size != "small" and rank <= min(ranks)):
            return False
    if "texture" in form and (obj.texture == "plain" or obj.radius < MIN_TEXTURED_RADIUS):
        return False
    return "motion" not in form or (len(scene.frames) > 1 and obj.motion != "diagonal")


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "attribute": attribute_meanings,
        "relation": relation_meanings,
        "superlative": superlative_meanings,
        "ordinal": ordinal_meanings,
        "knowledge": knowledge_meanings,
        "function": function_meanings,
        "odd": odd_meanings,
        "question": question_meanings,
        "count": count_meanings,
        "motion": motion_meanings,
        "leading": leading_meanings,
        "leaving": leaving_meanings,
        "parked": parked_meanings,
        "speed": speed_meanings,
        "absent": absent_meanings,
        "unknown": unknown_meanings,
        "several": several_meanings,
        "pair": pair_meanings,
        "none": none_meanings,
    }
)
"""Name -> generator of all meanings of that kind."""

IMAGE_KINDS = (
    "attribute", "relation", "superlative", "ordinal", "knowledge", "function", "odd", "question", "count",
    "absent", "unknown", "several", "pair", "none",
)  # fmt: skip
"""What may be asked of an image; ``count`` is a part of ``question`` and ``pair`` one of ``several``, for
training that dwells on them."""

CLIP_KINDS = (
    "attribute", "motion", "leading", "leaving", "parked", "speed", "absent", "unknown", "several", "none",
)  # fmt: skip
"""What may be asked of a video."""

DEFAULT_KINDS = ("attribute",)

WORDINGS = ("seen", "unseen")

_ATTEMPTS = 100


def check_kinds(kinds: Sequence[str] | Mapping[str, float]) -> None:
    """Raises ``ValueError`` where no kind is named, one is unknown, or a weight is not above 0."""
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        named = repr(unknown[0]) if unknown else "none"
        raise ValueError(f"unknown kind of expression {named}: there are {', '.join(KINDS)}")
    if isinstance(kinds, Mapping):
        for kind, weight in kinds.items():
            if not weight > 0:
                raise ValueError(f"the weight of the kind {kind!r} must be above 0, got {weight}")


def meanings(scene: Scene, frame: int, kinds: Iterable[str] = DEFAULT_KINDS) -> list[Meaning]:
    """All valid descriptions of what is seen in ``frame``, in a fixed order.

    Raises:
        ValueError: no kind is named, or one is unknown.
    """
    kinds = tuple(kinds)
    check_kinds(kinds)
    return [meaning for kind in kinds for meaning in KINDS[kind](scene, frame)]


def expressions(
    scene: Scene, frame: int, kinds: Iterable[str] = DEFAULT_KINDS, wording: str = "seen"
) -> list[Expression]:
    """All valid instructions on ``frame``: each wording of each of its :func:`meanings`.

    Raises:
        ValueError: no kind is named, one is unknown, or ``wording`` is none of :data:`WORDINGS`.
    """
    return [
        _express(scene, meaning, text)
        for meaning in meanings(scene, frame, kinds)
        for text in _texts(meaning, wording)
    ]


def draw_expressions(
    rng: np.random.Generator, scene: Scene, choices: Sequence[Meaning], count: int, wording: str = "seen"
) -> list[Expression]:
    """Draws different instructions, even over the kinds of some meanings; see :func:`draw_kinds`.

    Args:
        choices: some :func:`meanings` of the scene.
        count: how many; fewer come back where there is not that much to say.
        wording: one of :data:`WORDINGS`.
    """
    kinds = dict.fromkeys(sorted({meaning.kind for meaning in choices}), 1.0)
    found = {kind: [meaning for meaning in choices if meaning.kind == kind] for kind in kinds}
    return _draw(rng, scene, found.__getitem__, kinds, count, wording, None)


def draw_kinds(
    rng: np.random.Generator,
    scene: Scene,
    frame: int,
    kinds: Mapping[str, float],
    count: int,
    wording: str = "seen",
    first: str | None = None,
    keep: Callable[[Meaning], bool] = lambda meaning: True,
) -> list[Expression]:
    """Draws different instructions on ``frame``: first the kind, then the meaning, then the wording.

    The kind is drawn by weight among those that the scene allows. Its meanings are drawn even over forms,
    then answers, then targets; those of ``attribute`` over targets, then forms.

    Args:
        count: how many; fewer come back where there is not that much to say.
        wording: one of :data:`WORDINGS`.
        first: the kind of the first instruction, where the scene allows it.
        keep: which meanings may be drawn.

    Raises:
        ValueError: a kind or ``wording`` is unknown.
    """
    check_kinds(kinds)
    return _draw(
        rng, scene, lambda kind: list(filter(keep, KINDS[kind](scene, frame))), kinds, count, wording, first
    )


def _draw(
    rng: np.random.Generator,
    scene: Scene,
    find: Callable[[str], list[Meaning]],
    kinds: Mapping[str, float],
    count: int,
    wording: str,
    first: str | None,
) -> list[Expression]:
    drawn: dict[str, Expression] = {}
    left, found, rest = dict(kinds), {}, {}
    # two meanings may share a text, such as of the only object and of the only red one
    for _ in range(_ATTEMPTS * count):
        if not left or len(drawn) >= count:
            break
        kind = first if first in left and not drawn else _weighted(rng, left)
        if kind not in found:  # finding out all that could be said is dear, and most of it is not said
            found[kind] = [meaning for meaning in find(kind) if len(_texts(meaning, wording))]
            rest[kind] = sum(len(_texts(meaning, wording)) for meaning in found[kind])
        if not rest[kind]:
            del left[kind]
            continue
        meaning = _one(rng, found[kind])
        texts = _texts(meaning, wording)
        text = texts[int(rng.integers(len(texts)))]
        rest[kind] -= text not in drawn
        drawn[text] = _express(scene, meaning, text)
    return list(drawn.values())


def _one(rng: np.random.Generator, choices: Sequence[Meaning]) -> Meaning:
    """Even over values, part by part, so that what is said most easily is not said most often."""
    for part in ("targets", "form") if choices[0].kind == "attribute" else ("form", "answer", "targets"):
        values = sorted({getattr(meaning, part) or () for meaning in choices})
        value = values[int(rng.integers(len(values)))]
        choices = [meaning for meaning in choices if (getattr(meaning, part) or ()) == value]
    return choices[int(rng.integers(len(choices)))]


def _weighted(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
    if len(weights) == 1:
        return next(iter(weights))
    total = np.cumsum(list(weights.values()))
    return list(weights)[int(np.searchsorted(total, rng.random() * total[-1], side="right"))]


def _texts(meaning: Meaning, wording: str) -> Sequence[str]:
    if wording not in WORDINGS:
        raise ValueError(f"unknown wording {wording!r}: there are {', '.join(WORDINGS)}")
    return meaning.wordings if wording == "seen" else meaning.unseen


def _express(scene: Scene, meaning: Meaning, text: str) -> Expression:
    task = meaning.task or (Task.RVOS if len(scene.frames) > 1 else Task.RES)
    return Expression(text, task, meaning.kind, meaning.form, meaning.targets, meaning.answer, meaning.anchors)
