"""Meanings: targets, wordings, and the view of a scene in one frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import overload

import numpy as np

from instructseg.structures import Task
from recipes.nano.language.phrasing import OPENERS, UNSEEN_OPENERS, nouns
from recipes.nano.scenes.scenes import Scene

MIN_AREA = 12
"""Visible pixels below which an object is not asked about."""

MIN_VISIBILITY = 0.5
"""Visible share below which a person could not name an object's shape and size."""


class _Texts(Sequence[str]):
    """Texts that are written only when one is asked for; counted from 0, never from the end."""

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(f"phrase {index} of {len(self)}")
        return self._text(index)

    def _text(self, index: int) -> str:
        raise NotImplementedError


class Phrases(_Texts):
    """All fillings of some patterns.

    Args:
        patterns: texts with named gaps, such as ``"the {a} left of the {b}"``.
        gaps: the words for each gap; every pattern has every gap, or texts occur more than once.
    """

    def __init__(self, patterns: Sequence[str], **gaps: Sequence[str]) -> None:
        self._patterns, self._gaps = patterns, gaps
        self._length = len(patterns)
        for words in gaps.values():
            self._length *= len(words)

    def __len__(self) -> int:
        return self._length

    def _text(self, index: int) -> str:
        index, which = divmod(index, len(self._patterns))
        filled = {}
        for gap, words in self._gaps.items():
            index, word = divmod(index, len(words))
            filled[gap] = words[word]
        return self._patterns[which].format(**filled)


class Joined(_Texts):
    """Several sequences of texts, one after the other."""

    def __init__(self, *parts: Sequence[str]) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def _text(self, index: int) -> str:
        for part in self._parts:
            if index < len(part):
                return part[index]
            index -= len(part)
        raise AssertionError("the index was checked")


@dataclass(frozen=True)
class Meaning:
    """One description or question, however it is worded.

    Attributes:
        kind: a name of :data:`~recipes.nano.language.expressions.KINDS`.
        form: what the description makes use of, such as ``colour shape``.
        targets: indices of all objects that it describes, ascending; empty where nothing answers. Of a plain
            question: the objects that it is about.
        wordings: the instructions that say it.
        unseen: further ones, which are kept from training.
        task: what is asked; ``None`` for a referring expression, be it of an image or of a video.
        answer: to a plain question.
        anchors: indices of the other objects that a relation names.
    """

    kind: str
    form: str
    targets: tuple[int, ...]
    wordings: Sequence[str]
    unseen: Sequence[str] = ()
    task: Task | None = None
    answer: str | None = None
    anchors: tuple[int, ...] = ()


Kind = Callable[[Scene, int], Iterator[Meaning]]


@dataclass(frozen=True, eq=False)
class View:
    """View of a scene in one frame.

    Attributes:
        scene: the whole truth.
        frame: which frame is looked at.
        side: the shorter side of the frame in pixels.
        areas: ``float[N]``, visible pixels of each object.
        centres: ``float[N, 2]``, middle ``(x, y)`` of its visible pixels; NaN where there are none.
        legible: ``bool[N]``, whether a person could name its colour and shape.
    """

    scene: Scene
    frame: int
    side: int
    areas: np.ndarray
    centres: np.ndarray
    legible: np.ndarray

    @property
    def is_clip(self) -> bool:
        """Whether there is more than one frame."""
        return len(self.scene.frames) > 1

    def members(self, look: Look) -> list[int]:
        """All objects of that look, legible or not."""
        things = self.scene.objects
        return [i for i, obj in enumerate(things) if all(getattr(obj, n) == v for n, v in look)]

    def looks(self, *forms: tuple[str, ...]) -> dict[Look, list[int]]:
        """Every look of those forms that an object has, with its objects; looks that hold an object which
        is neither legible nor out of sight are left out, for nobody could say how many they hold."""
        found: dict[Look, list[int]] = {}
        for form in forms:
            for obj in self.scene.objects:
                look = tuple((name, getattr(obj, name)) for name in form)
                if look not in found:
                    found[look] = self.members(look)
        return {
            look: [i for i in members if self.legible[i]]
            for look, members in found.items()
            if all(self.legible[i] or not self.areas[i] for i in members)
        }

    def anchors(self) -> list[tuple[Look, int]]:
        """Looks that exactly one object has, and it is legible."""
        found = self.looks(("shape",), ("colour",), ("colour", "shape"))
        return [(look, members[0]) for look, members in found.items() if len(members) == 1]


Look = tuple[tuple[str, str], ...]
"""Pairs of attribute and value; the empty look is that of every object."""


@lru_cache(maxsize=4)
def view(scene: Scene, frame: int) -> View:
    """Measures what is seen in ``frame``."""
    ids, count = scene.ids[frame].ravel(), len(scene.objects)
    height, width = scene.ids.shape[1:]
    areas = np.bincount(ids, minlength=count + 1)[1:].astype(float)
    grid = np.mgrid[0:height, 0:width].reshape(2, -1)
    with np.errstate(invalid="ignore"):
        y, x = (np.bincount(ids, weights=line, minlength=count + 1)[1:] / areas + 0.5 for line in grid)
    legible = (areas >= MIN_AREA) & (scene.visibility[frame] >= MIN_VISIBILITY)
    return View(scene, frame, min(height, width), areas, np.stack([x, y], axis=1), legible)


def sentences(bodies: Sequence[str], *more: str) -> tuple[str, ...]:
    """Patterns of noun phrases, each within each usual opener, and patterns that stand alone."""
    return (*(opener.format(body) for body, opener in product(bodies, OPENERS)), *more)


def unseen_sentences(bodies: Sequence[str], others: Sequence[str], *more: str) -> tuple[str, ...]:
    """Patterns kept from training: usual ``bodies`` in unseen openers, unseen ``others`` in usual ones."""
    fresh = tuple(opener.format(body) for body, opener in product(bodies, UNSEEN_OPENERS))
    return (*fresh, *(opener.format(body) for body, opener in product(others, OPENERS[:4])), *more)


def plurals(look: Look) -> tuple[str, ...]:
    """Nouns for several objects of that look."""
    return tuple(f"{noun}es" if noun.endswith("s") else f"{noun}s" for noun in nouns(look))
