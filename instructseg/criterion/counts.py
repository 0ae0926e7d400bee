"""How much a batch has to learn from: what the sums of its losses are divided by.

A step may be split into several batches and over several processes. Its losses are those of the undivided step
only if each sum is divided by what the whole step has, not by what one batch happens to have.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from instructseg.structures import IGNORE_LABEL, MaskTargets


def count_learned(targets: Sequence[MaskTargets], labels: torch.Tensor | None) -> torch.Tensor:
    """Counts what is learned in a batch; neither the model nor its device is needed.

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
