"""Ground truth of a batch as rectangular tensors, and its counts. S = points, M = matched masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from instructseg.criterion.points import sample_points
from instructseg.structures import IGNORE_LABEL, MaskTargets


@dataclass(frozen=True, eq=False)
class TargetBatch:
    """The masks of all rows; a row with fewer than N is filled up with empty ones.

    Attributes:
        masks: ``float32[B, N, H, W]``, 0..1; N is at least 1.
        counts: how many masks each row really has.
        is_answer: ``bool[B, N]``, false for distractors and filling.
        ignore: ``float32[B, H, W]``, positive on pixels that do not count; ``None`` when all count.
    """

    masks: torch.Tensor
    counts: tuple[int, ...]
    is_answer: torch.Tensor
    ignore: torch.Tensor | None

    @classmethod
    def pack(cls, targets: Sequence[MaskTargets], logits: torch.Tensor) -> TargetBatch:
        """Packs the rows, on the device of ``logits``.

        Args:
            targets: one per row.
            logits: ``float[B, Q, h, w]`` mask logits that the targets will be compared with.

        Raises:
            ValueError: when numbers of rows, masks or pixels do not fit together; names the row.
        """
        rows, _, h, w = logits.shape
        if len(targets) != rows:
            raise ValueError(f"{len(targets)} targets for {rows} rows of mask logits: give one per row")
        size = tuple(targets[0].masks.shape[-2:]) if targets else (h, w)
        if size[0] % h or size[1] % w or size[0] // h != size[1] // w:
            raise ValueError(f"masks of {size} pixels for logits of {(h, w)}: pad them to a whole multiple")
        counts = tuple(len(target.masks) for target in targets)
        masks = torch.zeros(rows, max(counts, default=0) or 1, *size, device=logits.device)
        is_answer = torch.zeros(masks.shape[:2], dtype=torch.bool, device=logits.device)
        any_ignored = any(target.ignore is not None for target in targets)
        ignore = torch.zeros(rows, *size, device=logits.device) if any_ignored else None
        for row, (target, count) in enumerate(zip(targets, counts, strict=True)):
            _check(row, target, size)
            masks[row, :count] = target.masks
            is_answer[row, :count] = True if target.is_answer is None else target.is_answer
            if ignore is not None and target.ignore is not None:
                ignore[row] = target.ignore
        return cls(masks, counts, is_answer, ignore)

    def sample(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Reads all masks at the points of their row.

        Args:
            points: ``float32[B, S, 2]``.

        Returns:
            Labels ``float32[B, N, S]`` in 0..1, and weights ``float32[B, S]``, 0 on ignored places, else 1.
        """
        return sample_points(self.masks, points), _weights(self.ignore, points)

    def sample_some(
        self, row: torch.Tensor, mask: torch.Tensor, points: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Reads some masks at points of their own.

        Args:
            row: ``int64[M]``, the row of each mask.
            mask: ``int64[M]``, its number in the row.
            points: ``float32[M, S, 2]``.

        Returns:
            Labels ``float32[M, S]`` and weights ``float32[M, S]``, as :meth:`sample`.
        """
        labels = sample_points(self.masks[row, mask][:, None], points)[:, 0]
        return labels, _weights(None if self.ignore is None else self.ignore[row], points)


def count_learned(targets: Sequence[MaskTargets], labels: torch.Tensor | None) -> torch.Tensor:
    """Counts the targets of a batch, the divisors of its losses.

    A step may be split into several batches and over several processes. Its losses are those of the undivided
    step only if each sum is divided by the count of the whole step, not by that of one batch.

    Args:
        targets: one per row that has mask logits.
        labels: ``int64[B, L]`` of all rows; ``None`` where no text is learned.

    Returns:
        ``float64[5]`` on the CPU: masks, answers among them, rows of ``targets``, rows with an answer, and
        learned tokens. Vectors of several batches may be added up and averaged.
    """
    answers = [
        len(target.masks) if target.is_answer is None else int(target.is_answer.sum()) for target in targets
    ]
    masks = sum(len(target.masks) for target in targets)
    tokens = 0 if labels is None else int((labels[:, 1:] != IGNORE_LABEL).sum())
    numbers = (masks, sum(answers), len(targets), sum(number > 0 for number in answers), tokens)
    return torch.tensor(numbers, dtype=torch.float64)


def _weights(ignore: torch.Tensor | None, points: torch.Tensor) -> torch.Tensor:
    """0 where the four pixels that a point is read from touch an ignored one, else 1."""
    if ignore is None:
        return points.new_ones(points.shape[:2])
    return (sample_points(ignore[:, None], points)[:, 0] == 0).to(points.dtype)


def _check(row: int, target: MaskTargets, size: tuple[int, ...]) -> None:
    shape = tuple(target.masks.shape)
    if len(shape) != 3 or shape[1:] != size:
        raise ValueError(f"row {row}: masks of shape {shape}, expected (N, {size[0]}, {size[1]}) as in row 0")
    if target.is_answer is not None and tuple(target.is_answer.shape) != shape[:1]:
        raise ValueError(f"row {row}: is_answer of shape {tuple(target.is_answer.shape)} for {shape[0]} masks")
    if target.ignore is not None and tuple(target.ignore.shape) != size:
        raise ValueError(f"row {row}: ignore of shape {tuple(target.ignore.shape)} for masks of {size} pixels")
