"""Batches of instructions on views, as the whole model learns them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch

from instructseg.processing import InstructSegProcessor
from instructseg.structures import MaskTargets, Sample, Task
from recipes.mini.instructions import ask
from recipes.mini.known import Asked, Known, known_of
from recipes.mini.packing import pack_views, raw
from recipes.mini.pasting import cut_out, paste
from recipes.mini.photographs import Photograph, Photographs, Region
from recipes.mini.views import View, draw_view
from recipes.mini.whole import NO_CATEGORY, InstructedViews
from recipes.mini.wording import worded
from recipes.mini.words import SYNONYMS, UNCOUNTED

MOST_REFERENCES = 4
OTHER_KIND = 0.5
"""Share of the pasted objects that are of any kind, not one that is in the view already."""
_PLACES = {category: place for place, category in enumerate(SYNONYMS)}
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
        pasted: share of the views that get another object.
        several: share of the views whose photograph has two objects of a kind.
        moving: share of the batches whose views have reference frames, as of a camera that moves.
    """

    photographs: Photographs
    processor: InstructSegProcessor
    weights: dict[str, float]
    views: int
    asked: int
    seed: int
    pasted: float = 0.4
    several: float = 0.4
    moving: float = 0.25

    def batch(self, index: int) -> tuple[InstructedViews, list[MaskTargets]]:
        """Views with their instructions; the truth is in the batch, so there are no targets beside it."""
        rng, drawn, references = self._drawn(index)
        views = [what.view for _, what, _ in drawn]
        packed = pack_views(self.processor, views)
        rows = [(number, one) for number, (_, _, asked) in enumerate(drawn) for one in asked]
        input_ids, roles = self.processor.encode_text(
            [worded(rng, one.text) for _, one in rows], Task.RVOS if references else Task.RES, references
        )
        answers = np.zeros((len(rows), packed.masks.shape[1]), bool)
        for row, (_, one) in enumerate(rows):
            answers[row, list(one.answers)] = True
        return InstructedViews(
            packed,
            torch.stack([self._clips(rng, view.frame, references) for view in views]),
            self._cells(views, packed.masks.shape[1]),
            input_ids,
            roles,
            _categories(views, packed.masks.shape[1]),
            torch.tensor([number for number, _ in rows]),
            torch.from_numpy(answers),
            tuple(one.kind for _, one in rows),
        ), []

    def names(self, index: int) -> Sequence[str]:
        """Names of the samples of batch ``index``."""
        return [sample.name for sample in self.samples(index)]

    def _clips(self, rng: np.random.Generator, frame: np.ndarray, references: int) -> torch.Tensor:
        """``uint8[1+R, 3, S, S]``: the frame, and itself as a moving camera sees it at other times."""
        shown = [frame, *(_moved(rng, frame) for _ in range(references))]
        return torch.stack([raw(self.processor.encode_clip(one)) for one in shown])

    def _cells(self, views: Sequence[View], most: int) -> torch.Tensor:
        """``float[F, N, P]``, see :class:`InstructedViews`."""
        side = round(self.processor.config.num_image_tokens**0.5)
        cells = np.zeros((len(views), most, side, side), np.float32)
        for row, view in enumerate(views):
            for column, mask in enumerate(view.masks):
                shares = cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
                cells[row, column] = shares
        return torch.from_numpy(cells).flatten(2)

    def samples(self, index: int) -> list[Sample]:
        """The rows of batch ``index``, view by view."""
        rng, drawn, _ = self._drawn(index)
        return [_sample(rng, photograph, what, one) for photograph, what, asked in drawn for one in asked]

    def _drawn(
        self, index: int
    ) -> tuple[np.random.Generator, list[tuple[Photograph, Known, list[Asked]]], int]:
        """The views of batch ``index``, its reference frames, and the generator, next for the wording."""
        rng = np.random.default_rng([self.seed, index])
        drawn = [self._view(rng) for _ in range(self.views)]
        references = int(rng.integers(1, MOST_REFERENCES + 1)) if rng.random() < self.moving else 0
        return rng, drawn, references

    def _view(self, rng: np.random.Generator) -> tuple[Photograph, Known, list[Asked]]:
        """A view of which the rules know something to ask."""
        for _ in range(TRIES):
            photograph = self._choose(rng)
            view = draw_view(rng, photograph, self.processor.config.num_mask_queries - 4)
            if rng.random() < self.pasted:
                view = self._with_another(rng, photograph, view)
            what = known_of(self.photographs, photograph, view)
            asked = ask(rng, what, self.asked)
            if asked:
                return photograph, what, asked
        raise ValueError("no rule has anything to ask about these photographs")

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
        """The view with one or two more objects of a kind, where they find a place."""
        kinds = sorted({r.category for r in view.regions if r.single and r.category in self._singles})
        if photograph.complete == "all" and rng.random() < OTHER_KIND:
            kinds = sorted(self._singles)  # rare kinds as often as usual ones
        if not kinds or photograph.complete == "some":
            return view
        kind = str(rng.choice(kinds))
        for _ in range(int(rng.integers(1, 3))):
            number, region = self._singles[kind][int(rng.integers(len(self._singles[kind])))]
            cut = cut_out(self.photographs.images[number], region)
            if cut is not None:
                view = paste(rng, view, kind, cut) or view
        return view


def _categories(views: Sequence[View], most: int) -> torch.Tensor:
    """``int64[F, N]``, see :class:`InstructedViews`: places in :data:`SYNONYMS`."""
    found = torch.full((len(views), most), NO_CATEGORY)
    for row, view in enumerate(views):
        for column, region in enumerate(view.regions):
            found[row, column] = _PLACES.get(region.category, NO_CATEGORY)
    return found


def _moved(rng: np.random.Generator, frame: np.ndarray) -> np.ndarray:
    """The frame from a little farther off, nearer or beside."""
    height, width = frame.shape[:2]
    scale = float(np.exp(rng.uniform(-0.15, 0.15)))
    x, y = rng.uniform(-0.12, 0.12, 2) * (width, height)
    move = np.array(
        [[scale, 0, (1 - scale) * width / 2 + x], [0, scale, (1 - scale) * height / 2 + y]], np.float32
    )
    return cv2.warpAffine(frame, move, (width, height), borderMode=cv2.BORDER_REFLECT)


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
