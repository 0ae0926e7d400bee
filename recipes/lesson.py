"""What a lesson hands to the trainer: it computes its own losses; its batches on another device."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch

_Batch = TypeVar("_Batch")


@dataclass(frozen=True, eq=False)
class LessonOutput:
    """What a lesson computed: losses by name, and figures for people; a criterion's result for the trainer.

    Attributes:
        losses: weighted, scalars.
        figures: shares and errors that are only reported.
    """

    losses: dict[str, torch.Tensor]
    figures: dict[str, float]

    @property
    def total(self) -> torch.Tensor:
        """The loss."""
        return torch.stack(list(self.losses.values())).sum()

    @property
    def parts(self) -> dict[str, torch.Tensor | float]:
        """Losses and figures, as they are logged."""
        return {**self.losses, **self.figures}


def own_losses(output: LessonOutput, _targets: object, _labels: object) -> LessonOutput:
    """The criterion of a lesson: what it computed itself."""
    return output


def moved(batch: _Batch, device: torch.device | str) -> _Batch:
    """A copy of a dataclass with its tensors on ``device``; other fields stay."""
    given: Any = batch
    values = {entry.name: getattr(given, entry.name) for entry in fields(given)}
    tensors = {name: value.to(device) for name, value in values.items() if isinstance(value, torch.Tensor)}
    result: _Batch = replace(given, **tensors)
    return result
