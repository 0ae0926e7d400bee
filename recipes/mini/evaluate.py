"""What ``mini`` can do on photographs that it has not seen: cases, answers, and how they compare.

Answers are those that a user gets from :class:`~instructseg.inference.ImagePredictor`. The table and the
command are in :mod:`recipes.mini.table`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from instructseg.evaluation.iou import intersection_union
from instructseg.inference import ImagePredictor
from instructseg.masks import mask_iou
from recipes.mini.instructions import RULES
from recipes.mini.known import Asked, known_of
from recipes.mini.photographs import Photograph, Photographs
from recipes.mini.views import View, whole_view
from recipes.mini.words import MAIN, SYNONYMS

MOST_OF_A_KIND = 6
"""References of one kind that are asked of one photograph."""


@dataclass(frozen=True)
class Case:
    """One instruction on a photograph.

    Attributes:
        photograph: its file's stem.
        source: its set.
        kind: of the rule; ``category`` for all of a category, ``main`` for the salient object.
        category: of that kind, else empty.
        text: the instruction.
        wanted: numbers of the regions that answer.
    """

    photograph: str
    source: str
    kind: str
    category: str
    text: str
    wanted: tuple[int, ...]


@dataclass(frozen=True)
class Result:
    """How one case went.

    Attributes:
        case: what was asked.
        presence: of the answer, 0..1.
        overlap: intersection and union of the answer with what is wanted.
        nearest: whether no region overlaps the answer more than the wanted one, where one is wanted.
        chance, largest: IoU of a region at random, and of the largest one.
    """

    case: Case
    presence: float
    overlap: tuple[int, int]
    nearest: bool
    chance: float
    largest: float

    @property
    def iou(self) -> float:
        """Of the answer."""
        return self.overlap[0] / max(1, self.overlap[1])

    @property
    def absent(self) -> bool:
        """Whether nothing answers."""
        return not self.case.wanted

    @property
    def right(self) -> bool:
        """Whether it is the right object: IoU above one half, and with no other more."""
        return self.iou > 0.5 and self.nearest


def cases_of(photographs: Photographs, photograph: Photograph, view: View) -> Iterator[Case]:
    """Every category of a photograph as a whole, and references that the rules make, in plain words."""
    seed = sum(photograph.file.stem.encode())
    rng = np.random.default_rng(seed)

    def case(kind: str, text: str, answers: Iterable[int], category: str = "") -> Case:
        wanted = tuple(sorted(answers))
        return Case(photograph.file.stem, photograph.source, kind, category, text, wanted)

    for category in dict.fromkeys(region.category for region in view.regions):
        numbers = [i for i, region in enumerate(view.regions) if region.category == category]
        if category == "object":
            yield case("main", MAIN[seed % len(MAIN)], numbers, "object")
        else:
            name = SYNONYMS.get(category, (category,))[0]
            yield case("category", f"the {name}", numbers, category)
    what = known_of(photographs, photograph, view)
    made: dict[str, dict[str, Asked]] = defaultdict(dict)
    for rule in RULES:
        for one in rule(rng, what):
            made[one.kind][one.text] = one
    for kind, asked in made.items():
        if kind not in ("name", "main"):  # asked above
            texts = sorted(asked)
            for place in rng.permutation(len(texts))[:MOST_OF_A_KIND]:
                yield case(kind, texts[place], asked[texts[place]].answers)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two masks; 1 where both are empty."""
    return mask_iou(one, other, empty=1.0)


def answers_of(
    predictor: ImagePredictor, image: Any, texts: Sequence[str], union: bool, zoom: int = 1
) -> list[tuple[np.ndarray, float]]:
    """The mask, ``bool[H, W]``, of everything that answers each text, and its presence, 0..1."""
    found: dict[int, tuple[np.ndarray, float]] = {}
    # a threshold of 0: emptiness is judged by the presence, at all thresholds at once
    options: dict[str, Any] = {"union": True} if union else {}
    for one in predictor.predict(image, list(texts), threshold=0.0, zoom=zoom, **options) if texts else []:
        mask, _ = found.get(one.instruction_id, (np.zeros_like(one.mask), 0.0))
        found[one.instruction_id] = (mask | one.mask, one.presence)
    return [found[number] for number in range(len(texts))]


def judge(case: Case, masks: np.ndarray, mask: np.ndarray, presence: float) -> Result:
    """Compares an answer with the regions ``bool[N, H, W]`` of the photograph."""
    wanted: np.ndarray = np.any(masks[list(case.wanted)], axis=0)
    each = [iou(other, wanted) for other in masks]
    met = [iou(other, mask) for other in masks]
    others = [value for number, value in enumerate(met) if number not in case.wanted]
    nearest = iou(mask, wanted) >= max(others, default=0.0)
    largest = each[int(np.argmax([other.sum() for other in masks]))]
    return Result(case, presence, intersection_union(mask, wanted), nearest, float(np.mean(each)), largest)


def evaluate(
    predictor: ImagePredictor, photographs: Photographs, wordings: Sequence[str] = ("{}",)
) -> list[Result]:
    """All cases of all photographs; the wordings take turns, one for each photograph."""
    results = []
    for number, photograph in enumerate(photographs):
        wording = wordings[number % len(wordings)]
        view = whole_view(photograph, 200)
        cases = list(cases_of(photographs, photograph, view))
        image = predictor.encode(view.frame)
        for union in (True, False):
            asked = [case for case in cases if (case.kind == "category") == union]
            found = answers_of(predictor, image, [wording.format(case.text) for case in asked], union)
            results += [judge(case, view.masks, *one) for case, one in zip(asked, found, strict=True)]
    return results
