"""Batches of instructions on views, as the whole model learns them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from instructseg.processing import InstructSegProcessor
from instructseg.structures import MaskTargets, ModelInputs, Sample, Task
from recipes.mini.instructions import Asked, Known, ask, known
from recipes.mini.pasting import cut_out, paste
from recipes.mini.photographs import Photograph, Photographs, Region
from recipes.mini.views import View, draw_view
from recipes.mini.wording import worded
from recipes.mini.words import UNCOUNTED

TRIES = 12
"""Photographs looked at for one whose rules have something to ask."""


@dataclass(frozen=True)
class InstructedSource:
    """Batch ``i``: some views, each with several instructions (see ``engine.BatchSource``).

    Attributes:
        photographs: to cut views from.
        processor: brings frames and instructions to the model.
        weights: by source, how often it is drawn.
        views: of a batch.
        asked: instructions of a view, at most.
        seed: of all of it.
        pasted: share of the views that get another object of a kind that is in them.
        several: share of the views whose photograph has two objects of a kind.
    """

    photographs: Photographs
    processor: InstructSegProcessor
    weights: dict[str, float]
    views: int
    asked: int
    seed: int
    pasted: float = 0.25
    several: float = 0.4

    def batch(self, index: int) -> tuple[ModelInputs, list[MaskTargets]]:
        """Inputs and, row by row, their targets."""
        samples = self.samples(index)
        return self.processor(samples, training=True), self.processor.targets(samples)

    def names(self, index: int) -> Sequence[str]:
        """Names of the samples of batch ``index``."""
        return [sample.name for sample in self.samples(index)]

    def samples(self, index: int) -> list[Sample]:
        """The rows of batch ``index``, view by view."""
        rng = np.random.default_rng([self.seed, index])
        samples: list[Sample] = []
        for _ in range(self.views):
            photograph, what, asked = self._view(rng)
            samples += [_sample(rng, photograph, what, one) for one in asked]
        return samples

    def _view(self, rng: np.random.Generator) -> tuple[Photograph, Known, list[Asked]]:
        """A view of which the rules know something to ask."""
        for _ in range(TRIES):
            photograph = self._choose(rng)
            view = draw_view(rng, photograph, self.processor.config.num_mask_queries - 4)
            if rng.random() < self.pasted:
                view = self._with_another(rng, photograph, view)
            what = self._known(photograph, view)
            asked = ask(rng, what, self.asked)
            if asked:
                return photograph, what, asked
        raise ValueError("no rule has anything to ask about these photographs")

    def _known(self, photograph: Photograph, view: View) -> Known:
        covered: frozenset[str] = frozenset()
        if photograph.complete == "all":
            covered = self.photographs.categories[photograph.source]
        elif photograph.complete == "person":
            covered = frozenset({"person"})
        there = {region.category for region in view.regions}
        return known(view, covered, self.photographs.absent(photograph) - there - view.cut)

    def _choose(self, rng: np.random.Generator) -> Photograph:
        if rng.random() < self.several:
            return self.photographs.images[int(rng.choice(self._several))]
        sources = list(self.weights)
        share = np.array([self.weights[source] for source in sources])
        source = sources[int(rng.choice(len(sources), p=share / share.sum()))]
        return self.photographs.images[int(rng.choice(self.photographs.by_source[source]))]

    @cached_property
    def _several(self) -> list[int]:
        """Photographs with two to six known objects of a kind."""
        found = []
        for number, one in enumerate(self.photographs):
            singles = [region.category for region in one.regions if region.single]
            if one.complete != "some" and any(2 <= singles.count(kind) <= 6 for kind in set(singles)):
                found.append(number)
        return found

    @cached_property
    def _singles(self) -> dict[str, list[tuple[int, Region]]]:
        """By category, the objects that can be cut out."""
        found = defaultdict(list)
        for number, one in enumerate(self.photographs):
            for region in one.regions:
                if region.single and region.category != "object" and region.category not in UNCOUNTED:
                    found[region.category].append((number, region))
        return found

    def _with_another(self, rng: np.random.Generator, photograph: Photograph, view: View) -> View:
        """The view with one or two more objects of a kind that is in it, where they find a place."""
        kinds = sorted({r.category for r in view.regions if r.single and r.category in self._singles})
        if not kinds or photograph.complete == "some":
            return view
        kind = str(rng.choice(kinds))
        for _ in range(int(rng.integers(1, 3))):
            number, region = self._singles[kind][int(rng.integers(len(self._singles[kind])))]
            cut = cut_out(self.photographs.images[number], region)
            if cut is not None:
                view = paste(rng, view, kind, cut) or view
        return view


def _sample(rng: np.random.Generator, photograph: Photograph, what: Known, asked: Asked) -> Sample:
    """One row; what does not answer teaches masks as well."""
    view = what.view
    answers = np.zeros(len(view.regions), bool)
    answers[list(asked.answers)] = True
    masks = view.masks.astype(np.uint8)
    return Sample(
        view.frame,
        worded(rng, asked.text),
        Task.RES,
        masks=masks[answers],
        distractors=masks[~answers],
        name=f"{photograph.file.stem}: {asked.text}",
        meta={"kind": asked.kind},
    )
