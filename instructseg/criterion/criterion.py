"""Training loss of a batch: matching, loss terms, weighted sum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch

from instructseg.criterion.losses import class_loss, dice_loss, mask_loss, selection_loss, text_loss
from instructseg.criterion.matcher import match
from instructseg.criterion.points import PointSampler, sample_points
from instructseg.criterion.targets import TargetBatch, count_learned
from instructseg.structures import MaskTargets, SegOutput

MOST_POINTS = 4_194_304
"""Candidates of a mask, one per pixel of 2048 by 2048."""


@dataclass(frozen=True)
class CriterionConfig:
    """Weights of the losses and points that they are computed on; the defaults are the released ones.

    Attributes:
        class_weight: of the cross-entropy of each query's score.
        mask_weight: of the cross-entropy of the masks, in the loss and in the cost of a match.
        dice_weight: of the dice loss of the masks, in the loss and in the cost of a match.
        text_weight: of the cross-entropy of the text.
        selection_weight: of the cross-entropy of a softmax over a row's scores; it helps small models to
            separate the answer from similar objects, and was not part of the release.
        num_points: points on which a mask is compared.
        oversample_ratio: candidates per point among which the most uncertain are chosen, at least 1.
        importance_sample_ratio: share of the points that is chosen so, 0..1.
        deep_supervision: whether every decoder layer is trained alike, or the last alone.
    """

    class_weight: float = 2.0
    mask_weight: float = 5.0
    dice_weight: float = 5.0
    text_weight: float = 1.0
    selection_weight: float = 0.0
    num_points: int = 12544
    oversample_ratio: float = 3.0
    importance_sample_ratio: float = 0.75
    deep_supervision: bool = True

    def __post_init__(self) -> None:
        for name in (entry.name for entry in fields(self) if entry.name.endswith("_weight")):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a number not below 0, got {getattr(self, name)}")
        if self.mask_weight == self.dice_weight == 0:
            raise ValueError("mask_weight and dice_weight must not both be 0: queries are matched by them")
        if self.num_points < 1:
            raise ValueError(f"num_points must be at least 1, got {self.num_points}")
        if not 1 <= self.oversample_ratio < math.inf:
            raise ValueError(f"oversample_ratio must be at least 1, got {self.oversample_ratio}")
        if self.num_points * self.oversample_ratio > MOST_POINTS:
            raise ValueError(
                f"num_points times oversample_ratio must be at most {MOST_POINTS:,}, or the points of a few "
                f"masks fill the memory; got {self.num_points} times {self.oversample_ratio:g}"
            )
        if not 0 <= self.importance_sample_ratio <= 1:
            raise ValueError(f"importance_sample_ratio must be in [0, 1], got {self.importance_sample_ratio}")

    @classmethod
    def paper(cls) -> CriterionConfig:
        """The weights that the paper states: all 1."""
        return cls(class_weight=1.0, mask_weight=1.0, dice_weight=1.0, text_weight=1.0)


@dataclass(frozen=True, eq=False)
class SegLosses:
    """The losses of a batch, float32 scalars.

    Attributes:
        total: the loss to minimise, the sum of ``parts``.
        parts: ``mask``, ``dice``, ``class``, ``selection`` and ``text``, weighted, summed over the layers.
        raw: the same unweighted, by layer: ``mask`` for the last, ``mask_<i>`` for ``SegOutput.aux[i]``.
    """

    total: torch.Tensor
    parts: dict[str, torch.Tensor]
    raw: dict[str, torch.Tensor]


class SegCriterion:
    """Computes the losses, in float32 for any precision of the output.

    Args:
        sampler: of the points; random by default, with the numbers of ``config``.
    """

    def __init__(self, config: CriterionConfig, sampler: PointSampler | None = None) -> None:
        self.config = config
        self.sampler = sampler or PointSampler(
            config.num_points, config.oversample_ratio, config.importance_sample_ratio
        )

    def count(self, targets: Sequence[MaskTargets], labels: torch.Tensor | None = None) -> torch.Tensor:
        """Counts of the targets of a batch, see :func:`~instructseg.criterion.targets.count_learned`."""
        return count_learned(targets, labels)

    def __call__(
        self,
        output: SegOutput,
        targets: Sequence[MaskTargets],
        labels: torch.Tensor | None = None,
        counts: torch.Tensor | None = None,
    ) -> SegLosses:
        """Computes the losses of a batch; nothing is exchanged between processes.

        Args:
            targets: one per row of ``output.mask_logits``; none when that is ``None``.
            labels: ``int64[B, L]`` of all rows; ``None`` to learn no text.
            counts: the mean of :meth:`count` over all batches of the step, those of other processes too, by
                which the losses are divided: the mean of the batches' losses and gradients is then that of
                the undivided step. ``None`` where the batch is a step of its own.

        Returns:
            The losses. A kind without targets is 0.

        Raises:
            ValueError: when output, targets and labels do not fit together.
        """
        mask_logits, text_logits = output.mask_logits, output.text_logits
        reference = text_logits if mask_logits is None else mask_logits
        if reference is None:
            raise ValueError("the output has neither mask logits nor text logits: nothing to learn from")
        weights = {
            "mask": self.config.mask_weight,
            "dice": self.config.dice_weight,
            "class": self.config.class_weight,
            "selection": self.config.selection_weight,
            "text": self.config.text_weight,
        }
        zero = torch.zeros((), device=reference.device)
        raw = dict.fromkeys(weights, zero)
        counts = self.count(targets, labels) if counts is None else counts
        # sums without targets are 0: any divisor but 0 will do
        numbers = counts.where(counts > 0, 1.0).float().to(reference.device)
        with torch.autocast(reference.device.type, enabled=False):
            raw |= self._mask_losses(output, targets, numbers)
            if labels is not None:
                if text_logits is None:
                    raise ValueError("labels without text logits: give the labels to the model too")
                raw["text"] = text_loss(text_logits, labels, numbers[-1])
            layers = {name: [v for key, v in raw.items() if key.partition("_")[0] == name] for name in weights}
            parts = {name: weight * torch.stack(layers[name]).sum() for name, weight in weights.items()}
            return SegLosses(torch.stack(list(parts.values())).sum(), parts, raw)

    def _mask_losses(
        self, output: SegOutput, targets: Sequence[MaskTargets], numbers: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """The losses of every layer, last one first."""
        if output.mask_logits is None or output.seg_logits is None:
            if targets:
                raise ValueError(f"{len(targets)} targets for an output without masks")
            return {}
        batch = TargetBatch.pack(targets, output.mask_logits)
        layers = {"": (output.mask_logits, output.seg_logits)}
        if self.config.deep_supervision:
            layers |= {f"_{index}": layer for index, layer in enumerate(output.aux)}
        return {
            name + suffix: loss
            for suffix, layer in layers.items()
            for name, loss in self._layer_losses(*layer, batch, numbers).items()
        }

    def _layer_losses(
        self, mask_logits: torch.Tensor, seg_logits: torch.Tensor, targets: TargetBatch, numbers: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """The losses of one layer's masks ``float[B, Q, h, w]`` and scores ``float[B, Q]``.

        ``numbers``: as ``counts``, without zeros.
        """
        num_masks, num_answers, num_rows, num_answered, _ = numbers
        assert seg_logits.shape == mask_logits.shape[:2], (seg_logits.shape, mask_logits.shape)
        points = self.sampler.uniform(len(mask_logits), mask_logits.device)
        matches = match(mask_logits, targets, points, self.config.mask_weight, self.config.dice_weight)
        masks = mask_logits[matches.row, matches.query].float()  # (M, h, w)
        points = self.sampler.uncertain(masks.detach())
        logits = sample_points(masks[:, None], points)[:, 0]  # (M, S)
        labels, weights = targets.sample_some(matches.row, matches.mask, points)

        scores = seg_logits.float()
        positive = torch.zeros_like(scores)
        positive[matches.row, matches.query] = targets.is_answer[matches.row, matches.mask].float()
        return {
            "mask": mask_loss(logits, labels, weights, num_masks),
            "dice": dice_loss(logits, labels, weights, num_masks),
            "class": class_loss(scores, positive, num_answers, num_rows * scores.shape[1]),
            "selection": selection_loss(scores, positive, num_answered),
        }
