"""The lesson of instructions: the whole model, every row an instruction on a view.

Rows of a view share its features and its masks. Every region is learned as a mask, those that answer also as
the choice. A pointer, which the model itself does not have, asks the language model's image tokens where the
answer is: the shortest way for what an instruction means to reach it. Another head, not the model's either,
names the category of each matched query, so that all regions of a view teach what things look like, not only
those that are asked for.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn import functional as F

from instructseg.criterion.losses import dice_loss, mask_loss
from instructseg.criterion.matcher import match
from instructseg.criterion.points import PointSampler, sample_points
from instructseg.criterion.targets import TargetBatch
from instructseg.model import InstructSeg
from instructseg.model.vmtf import masked_mean
from instructseg.structures import ModelInputs, Role
from recipes.lesson import LessonOutput
from recipes.mini.packing import PackedViews, normalised

NO_CATEGORY = -100
"""Of a salient object that nobody has named, and of no region at all."""
_POINTS = 1600


@dataclass(frozen=True, eq=False)
class InstructedViews:
    """F views with B instructions; N regions in the fullest of them, P image tokens of a frame.

    Attributes:
        views: pixels and masks.
        clips: ``uint8[F, 1+R, 3, S, S]``, the language side's pixels: the view, then its references.
        cells: ``float[F, N, P]``, the share of each token's cell that a region covers.
        input_ids, roles: ``int64[B, L]``.
        categories: ``int64[F, N]``, of each region, or :data:`NO_CATEGORY`.
        image_index: ``int64[B]``, the view of each row.
        answers: ``bool[B, N]``, the regions that answer.
        kinds: of the rules, row by row, for figures.
        labels: ``None``: no text is learned.
    """

    views: PackedViews
    clips: torch.Tensor
    cells: torch.Tensor
    input_ids: torch.Tensor
    roles: torch.Tensor
    categories: torch.Tensor
    image_index: torch.Tensor
    answers: torch.Tensor
    kinds: tuple[str, ...]
    labels: None = None

    def __len__(self) -> int:
        return len(self.input_ids)

    def to(self, device: torch.device | str) -> InstructedViews:
        """Moves the tensors to ``device``."""
        names = ("views", "clips", "cells", "input_ids", "roles", "categories", "image_index", "answers")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def inputs(self) -> ModelInputs:
        """What the model reads."""
        references = self.clips.shape[1] - 1
        count = torch.full((len(self.views),), references, device=self.clips.device)
        return ModelInputs(
            self.input_ids,
            self.roles,
            normalised(self.clips),
            count,
            self.views.pixels(),
            image_index=self.image_index,
        )


class InstructionsLesson(nn.Module):
    """Masks of every region of a view, the choice of those that answer, and where they are."""

    def __init__(self, model: InstructSeg, categories: int, width: int = 128) -> None:
        """How many ``categories`` there are, and the ``width`` of the pointer."""
        super().__init__()
        self.model = model
        states = model.config.text_config.hidden_size
        self.asking, self.place = nn.Linear(states, width), nn.Linear(states, width)
        self.level = nn.Parameter(torch.tensor(-2.0))  # most cells hold no answer
        self.naming = nn.Linear(model.config.decoder_dim, categories)
        self.sampler = PointSampler(_POINTS, 3.0, 0.75)

    def forward(self, batch: InstructedViews, aux: bool = True) -> LessonOutput:
        """Losses of a batch."""
        model, inputs, row_view = self.model, batch.inputs(), batch.image_index
        embeds = model._embed_inputs(inputs, row_view)
        states = model.reason(embeds, batch.roles, whole=True)
        features = model.encode_frame(seg_pixels=inputs.seg_pixels)
        embedded: list[torch.Tensor] = []
        listener = model.mask_decoder.score_proj.register_forward_hook(
            lambda _module, _inputs, out: embedded.append(out)
        )
        try:
            output = model.decode(features, states, row_view, aux=True)
        finally:
            listener.remove()
        assert output.mask_logits is not None and output.seg_logits is not None
        with torch.autocast(output.mask_logits.device.type, enabled=False):
            counts = tuple(batch.views.counts[view] for view in row_view.tolist())
            truth = TargetBatch(batch.views.masks[row_view].float(), counts, batch.answers, None)
            points = self.sampler.uniform(len(batch), row_view.device)
            # one matching for all layers: a query is one region from the first layer to the last
            found = match(output.mask_logits, truth, points, 5.0, 5.0)
            right = torch.zeros_like(output.seg_logits, dtype=torch.float32)
            right[found.row, found.query] = batch.answers[found.row, found.mask].float()
            regions = right.new_tensor(float(max(1, sum(counts))))
            sums = dict.fromkeys(("mask", "dice", "score", "pick"), right.new_zeros(()))
            for logits, scores in (*output.aux[1:], (output.mask_logits, output.seg_logits)):
                masks = logits[found.row, found.query].float()
                places = self.sampler.uncertain(masks.detach())
                labels, weights = truth.sample_some(found.row, found.mask, places)
                at = sample_points(masks[:, None], places)[:, 0]
                new = {
                    "mask": 2.0 * mask_loss(at, labels, weights, regions),
                    "dice": 2.0 * dice_loss(at, labels, weights, regions),
                    **_choice_losses(scores.float(), right),
                }
                sums = {name: value + new[name] for name, value in sums.items()}
            named = self.naming(embedded[-1][found.row, found.query].float())
            called = batch.categories[row_view[found.row], found.mask]
            known = (called != NO_CATEGORY).sum().clamp(min=1)
            sums["kind"] = (
                0.5 * F.cross_entropy(named, called, ignore_index=NO_CATEGORY, reduction="sum") / known
            )
            sums["point"] = 1.5 * self._pointing(states.hidden, states.text, states.text_mask, batch)
        return LessonOutput(sums, _figures(output.seg_logits, right, batch.kinds))

    def _pointing(
        self, hidden: torch.Tensor, text: torch.Tensor, text_mask: torch.Tensor, batch: InstructedViews
    ) -> torch.Tensor:
        """Cross-entropy of each image token with the share of its cell that the answers cover."""
        tokens = hidden[batch.roles == Role.IMAGE].view(len(hidden), -1, hidden.shape[-1]).float()
        asked = self.asking(masked_mean(text, text_mask).float())
        logits = torch.einsum("bpc,bc->bp", self.place(tokens), asked) / asked.shape[-1] ** 0.5 + self.level
        cells = batch.cells[batch.image_index]  # (B, N, P)
        wanted = (cells * batch.answers[..., None]).amax(1)
        loss = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        # the cells of small answers are few: each row weighs the same
        return (loss.sum(1) / wanted.sum(1).clamp(min=2)).mean()


def _choice_losses(scores: torch.Tensor, right: torch.Tensor) -> dict[str, torch.Tensor]:
    """Focal loss of each score, and a softmax over the queries of rows with an answer."""
    plain = F.binary_cross_entropy_with_logits(scores, right, reduction="none")
    off = (scores.sigmoid() - right).abs()
    share = torch.where(right == 1, 0.6, 0.4)
    focal = (share * off**2 * plain).sum() / right.sum().clamp(min=1)
    has = right.any(1)
    said = scores.log_softmax(1).masked_fill(right == 0, -1e4).logsumexp(1)
    return {"score": 4.0 * focal, "pick": -0.6 * (said * has).sum() / has.sum().clamp(min=1)}


@torch.no_grad()
def _figures(scores: torch.Tensor, right: torch.Tensor, kinds: tuple[str, ...]) -> dict[str, float]:
    """By kind of rule: the share of rows whose best query is right; where nothing is, whose best is below 0."""
    best = scores.argmax(1)
    rows = range(len(kinds))
    chosen = right[rows, best].tolist()
    there, top = right.any(1).tolist(), scores.amax(1).tolist()
    found: dict[str, list[float]] = defaultdict(list)
    for row, kind in enumerate(kinds):
        found[f"right/{kind}"].append(chosen[row] if there[row] else float(top[row] < 0))
    return {name: sum(values) / len(values) for name, values in found.items()}
