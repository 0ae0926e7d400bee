"""The lesson of names: masks of everything that is annotated, and which words are theirs.

The language model does not run: its states for a few thousand short phrases are computed once. A query's score
for a phrase is what it will be later, its similarity with the classifier, here that of the pooled text alone.
So one pass over an image learns all names at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from instructseg.criterion.losses import dice_loss, mask_loss
from instructseg.criterion.matcher import Matches, match
from instructseg.criterion.points import PointSampler, sample_points
from instructseg.model import InstructSeg
from instructseg.model.vmtf import masked_mean
from instructseg.processing import InstructSegProcessor
from instructseg.structures import MaskTargets
from recipes.lesson import LessonOutput
from recipes.mini.packing import PackedViews, pack_views
from recipes.mini.photographs import Photograph, Photographs
from recipes.mini.views import View, draw_view
from recipes.mini.words import GROUPS, MAIN, PEOPLE, PURPOSES, SYNONYMS, UNCOUNTED, compatible, plural

UNKNOWN = -1.0
"""In a table of names: right or wrong, nobody knows."""
_POINTS = 1600


@dataclass(frozen=True)
class Phrase:
    """A text and the categories that it names; ``main`` names the one salient object instead."""

    text: str
    categories: frozenset[str]
    main: bool = False

    def says(self, category: str) -> float:
        """1, 0 or :data:`UNKNOWN` for an object of that category."""
        if self.main or category == "object":
            return 1.0 if self.main and category == "object" else UNKNOWN
        if category in self.categories:
            return 1.0
        return UNKNOWN if any(compatible(category, other) for other in self.categories) else 0.0


def all_phrases() -> list[Phrase]:
    """The phrases of the lesson, those of a category beside each other."""
    phrases = []
    for category, words in SYNONYMS.items():
        kinds = frozenset({category})
        for word in words:
            forms = [word, f"the {word}"]
            if category not in UNCOUNTED:
                forms += [
                    f"{'an' if word[0] in 'aeiou' else 'a'} {word}",
                    plural(word),
                    f"all the {plural(word)}",
                ]
            phrases += [Phrase(text, kinds) for text in forms]
    phrases += [Phrase(f"the {word}", frozenset({"person"})) for word in PEOPLE]
    for word, kinds in GROUPS.items():
        phrases += [Phrase(text, kinds) for text in (f"the {word}", word, plural(word))]
    phrases += [Phrase(text, kinds) for text, kinds in PURPOSES.items()]
    return phrases + [Phrase(text, frozenset(), main=True) for text in MAIN]


@dataclass(frozen=True, eq=False)
class NamedViews:
    """F views with K phrases; N regions in the fullest of them.

    Attributes:
        views: pixels and masks.
        phrases: ``int64[K]``, numbers of :func:`all_phrases`.
        named: ``float[F, N, K]``, 1 where the phrase names the region, 0 where not, or :data:`UNKNOWN`.
        others: ``float[F, K]``, the same for whatever else is in the view: 0 or :data:`UNKNOWN`.
        labels: ``None``: no text is learned.
    """

    views: PackedViews
    phrases: torch.Tensor
    named: torch.Tensor
    others: torch.Tensor
    labels: None = None

    def __len__(self) -> int:
        return len(self.views)

    def to(self, device: torch.device | str) -> NamedViews:
        """Moves the tensors to ``device``."""
        moved = {name: getattr(self, name).to(device) for name in ("views", "phrases", "named", "others")}
        return replace(self, **moved)


@dataclass(frozen=True)
class NamedSource:
    """Batch ``i`` of views (see ``engine.BatchSource``).

    Attributes:
        photographs: to cut them from.
        processor: brings frames to the model's sizes.
        weights: by source, how often it is drawn.
        count: views of a batch.
        seed: of the views.
        phrases: of :func:`all_phrases`.
        absent: phrases of a batch that name nothing in it, more or less.
    """

    photographs: Photographs
    processor: InstructSegProcessor
    weights: dict[str, float]
    count: int
    seed: int
    phrases: tuple[Phrase, ...]
    absent: int = 40

    def batch(self, index: int) -> tuple[NamedViews, list[MaskTargets]]:
        """Views; the truth is in the batch, so there are no targets beside it."""
        rng = np.random.default_rng([self.seed, index])
        chosen = self._choose(rng)
        most = self.processor.config.num_mask_queries - 4
        views = [draw_view(rng, photograph, most) for photograph in chosen]
        numbers = self._phrases(rng, views)
        asked = [self.phrases[number] for number in numbers]
        packed = pack_views(self.processor, views)
        named = torch.full((*packed.masks.shape[:2], len(asked)), UNKNOWN)
        for row, view in enumerate(views):
            for column, region in enumerate(view.regions):
                named[row, column] = torch.tensor([phrase.says(region.category) for phrase in asked])
        others = torch.tensor(
            [[self._others(p, v, phrase) for phrase in asked] for p, v in zip(chosen, views, strict=True)]
        )
        return NamedViews(packed, torch.tensor(numbers), named, others), []

    def names(self, index: int) -> Sequence[str]:
        """Files of batch ``index``."""
        return [one.file.name for one in self._choose(np.random.default_rng([self.seed, index]))]

    def _choose(self, rng: np.random.Generator) -> list[Photograph]:
        images = self.photographs.images
        sources = list(self.weights)
        share = np.array([self.weights[source] for source in sources])
        picked = rng.choice(len(sources), self.count, p=share / share.sum())
        places = self.photographs.by_source
        return [images[int(rng.choice(places[sources[number]]))] for number in picked]

    def _phrases(self, rng: np.random.Generator, views: Sequence[View]) -> list[int]:
        """Two phrases for each category in sight, all wide ones that fit, and some that do not."""
        there = {region.category for view in views for region in view.regions}
        fitting: dict[frozenset[str], list[int]] = {}
        others = []
        for number, phrase in enumerate(self.phrases):
            if phrase.main or phrase.categories & there:
                fitting.setdefault(phrase.categories, []).append(number)
            else:
                others.append(number)
        found = [int(n) for group in fitting.values() for n in rng.permutation(group)[:2]]
        return sorted({*found, *(int(n) for n in rng.permutation(others)[: self.absent])})

    def _others(self, photograph: Photograph, view: View, phrase: Phrase) -> float:
        """0 where everything that the phrase names is among the regions, so that nothing else is it."""
        if phrase.main:
            return UNKNOWN
        known = phrase.categories <= self.photographs.covered(photograph)
        return 0.0 if known and not phrase.categories & view.cut else UNKNOWN


class NamesLesson(nn.Module):
    """Proposes every region of a view and compares each proposal with phrases."""

    def __init__(self, model: InstructSeg, states: torch.Tensor) -> None:
        """``states`` is ``float[all phrases, D]`` of :func:`phrase_states`."""
        super().__init__()
        self.model = model
        self.states: torch.Tensor
        self.register_buffer("states", states, persistent=False)
        self.sampler = PointSampler(_POINTS, 3.0, 0.75)

    def forward(self, batch: NamedViews, aux: bool = True) -> LessonOutput:
        """Losses of a batch."""
        model, decoder = self.model, self.model.mask_decoder
        features = model.encode_frame(seg_pixels=batch.views.pixels())
        assert features.mask_features is not None
        truth = batch.views.truth()
        tokens = model.mask_queries.new_zeros(len(batch), *model.mask_queries.shape)
        unasked = tokens.new_zeros(len(batch), model.config.decoder_dim)
        embedded: list[torch.Tensor] = []
        listener = decoder.score_proj.register_forward_hook(lambda _module, _inputs, out: embedded.append(out))
        try:
            layers = decoder(tokens, unasked, features.levels, features.mask_features, None, True)
        finally:
            listener.remove()
        classifier = model.vmtf.classifier(text_alone(model, self.states[batch.phrases]))  # (K, C)
        regions = features.mask_features.new_tensor(float(max(1, sum(truth.counts))))
        sums = dict.fromkeys(("mask", "dice", "name", "pick", "which"), features.mask_features.new_zeros(()))
        figures: dict[str, float] = {}
        for (logits, _), queries in list(zip(layers, embedded, strict=True))[1:]:
            found = match(logits, truth, self.sampler.uniform(len(batch), logits.device), 5.0, 5.0)
            masks = logits[found.row, found.query].float()
            points = self.sampler.uncertain(masks.detach())
            labels, weights = truth.sample_some(found.row, found.mask, points)
            at = sample_points(masks[:, None], points)[:, 0]
            scores = torch.einsum("fqc,kc->fqk", queries, classifier)
            wanted = _wanted(batch, found, scores)
            new = {
                "mask": 2.0 * mask_loss(at, labels, weights, regions),
                "dice": 2.0 * dice_loss(at, labels, weights, regions),
                **_name_losses(scores, wanted),
            }
            sums = {name: value + new[name] for name, value in sums.items()}
            figures = _figures(scores, wanted, at, labels)
        return LessonOutput(sums, figures)


def text_alone(model: InstructSeg, pooled: torch.Tensor) -> torch.Tensor:
    """The classifier's input ``float[K, 2V]`` where nothing visual is fused into ``float[K, D]``."""
    projected = model.vmtf.pooled_proj(pooled)
    return torch.cat((projected, torch.zeros_like(projected)), dim=-1)


@torch.no_grad()
def phrase_states(
    model: InstructSeg, processor: InstructSegProcessor, texts: Sequence[str], batch: int = 256
) -> torch.Tensor:
    """Pooled last hidden states of phrases without an image, ``float[len(texts), D]``."""
    tokenizer, chat = processor.tokenizer, processor.config.chat
    found = []
    for first in range(0, len(texts), batch):
        said = [f"{chat.head('', text)} [SEG] {chat.end}" for text in texts[first : first + batch]]
        ids = tokenizer(said, add_special_tokens=False, padding=True, return_tensors="pt")
        mask = ids["attention_mask"].bool()
        device = model.mask_queries.device
        embeds = model.language.word_table()(ids["input_ids"].to(device))
        states = model.language.hidden_states(embeds, mask.to(device))
        inner = mask.clone()
        inner[:, 0] = False  # [CLS]
        inner[torch.arange(len(inner)), mask.sum(1) - 1] = False  # [SEP]
        found.append(masked_mean(states, inner.to(device)))
    return torch.cat(found)


def _wanted(batch: NamedViews, found: Matches, scores: torch.Tensor) -> torch.Tensor:
    """``float[F, Q, K]``: 1, 0 or :data:`UNKNOWN` for each query and phrase."""
    wanted = batch.others[:, None].expand(scores.shape).clone()
    wanted[found.row, found.query] = batch.named[found.row, found.mask]
    return wanted


def _name_losses(scores: torch.Tensor, wanted: torch.Tensor) -> dict[str, torch.Tensor]:
    """Focal loss of each score; softmax over queries for each phrase; softmax over phrases for each query."""
    known, right = wanted != UNKNOWN, wanted == 1
    target = right.float()
    plain = F.binary_cross_entropy_with_logits(scores, target, reduction="none")
    off = (scores.sigmoid() - target).abs()
    share = torch.where(right, 0.6, 0.4)  # of positives and negatives
    focal = (share * off**2 * plain)[known].sum() / right.sum().clamp(min=1)
    masked = scores.masked_fill(~known, -1e4)

    def selection(dim: int) -> torch.Tensor:
        has = right.any(dim)
        said = masked.log_softmax(dim).masked_fill(~right, -1e4).logsumexp(dim)
        return -said[has].sum() / has.sum().clamp(min=1)

    return {"name": 4.0 * focal, "pick": 0.3 * selection(1), "which": 0.5 * selection(2)}


@torch.no_grad()
def _figures(
    scores: torch.Tensor, wanted: torch.Tensor, at: torch.Tensor, labels: torch.Tensor
) -> dict[str, float]:
    """Share of phrases whose best query is right, of regions whose best phrase is; IoU at sampled points."""
    right = wanted == 1
    masked = scores.masked_fill(wanted == UNKNOWN, -1e4)
    phrases, regions = right.any(1), right.any(2)
    picked = right.gather(1, masked.argmax(1, keepdim=True)).squeeze(1)[phrases]
    called = right.gather(2, masked.argmax(2, keepdim=True)).squeeze(2)[regions]
    inside, there = at > 0, labels > 0.5
    iou = (inside & there).sum(1) / (inside | there).sum(1).clamp(min=1)
    return {
        "picked": picked.float().mean().item() if len(picked) else 0.0,
        "called": called.float().mean().item() if len(called) else 0.0,
        "edge_iou": iou.mean().item() if len(iou) else 0.0,
    }
