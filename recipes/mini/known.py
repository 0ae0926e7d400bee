"""What is known of a view: its regions, what is measured of them, what is surely not there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from recipes.mini.looks import Look
from recipes.mini.photographs import Photograph, Photographs
from recipes.mini.views import View
from recipes.mini.words import PEOPLE, SYNONYMS, UNCOUNTED, plural

SMALLEST = 0.002
"""Share of the frame below which an object is too small to be asked for by place, size or colour."""


@dataclass(frozen=True)
class Asked:
    """An instruction.

    Attributes:
        text: what is asked for, without the words around it.
        answers: numbers of the regions that answer; empty where nothing does.
        kind: of the rule: ``name``, ``described``, ``side``, ``order``, ``size``, ``colour``, ``relation``,
            ``all``, ``part``, ``group``, ``purpose``, ``main``, ``not``, ``and``, ``said``, ``absent``.
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


def known_of(photographs: Photographs, photograph: Photograph, view: View) -> Known:
    """Measures a view of a photograph; what was pasted or cut off is not absent."""
    there = {region.category for region in view.regions}
    absent = photographs.absent(photograph) - there - view.cut
    return known(view, photographs.covered(photograph), absent)


def call(rng: np.random.Generator, category: str, many: bool = False) -> str:
    """A word for a category, the usual one more often than its synonyms."""
    words = SYNONYMS.get(category, (category,))
    if category == "person" and not many and rng.random() < 0.35:
        return str(rng.choice(PEOPLE))
    word = words[0] if rng.random() < 0.6 else str(rng.choice(words))
    return plural(word) if many and category not in UNCOUNTED else word
