"""The smallest model, criterion and batches that the trainer can be handed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from instructseg.structures import IGNORE_LABEL, MaskTargets, ModelInputs, Role, SegOutput


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.dropout = nn.Dropout(0.5)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.conv(pixels))


class TinyModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = Encoder()
        self.words = nn.Embedding(7, 4)
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 4)

    def forward(self, inputs: ModelInputs, aux: bool = False) -> SegOutput:
        features = self.backbone(inputs.seg_pixels)  # (B, 4, H, W)
        query = self.head(self.norm(self.words(inputs.input_ids).mean(1)))  # (B, 4)
        logits = torch.einsum("bc,bchw->bhw", query, features)[:, None]
        return SegOutput(logits, logits.mean((2, 3)))


@dataclass(frozen=True)
class TinyLosses:
    total: torch.Tensor
    parts: dict[str, torch.Tensor] = field(default_factory=dict)


def noisy_criterion(output: SegOutput, targets: list[MaskTargets], labels: torch.Tensor | None) -> TinyLosses:
    """Draws from all three random generators, as augmentation and point sampling do."""
    masks = torch.stack([target.masks for target in targets]).float()
    noise = random.random() + float(np.random.rand()) + torch.rand(())  # noqa: NPY002
    mask = nn.functional.binary_cross_entropy_with_logits(output.mask_logits.float(), masks)
    return TinyLosses(mask * noise, {"loss_mask": mask, "noise": noise})


class TinySource:
    """Batch ``index`` is random, but a function of ``index``."""

    def __init__(self, rows: int = 2) -> None:
        self.rows = rows

    def batch(self, index: int) -> tuple[ModelInputs, list[MaskTargets]]:
        generator = torch.Generator().manual_seed(index)
        ids = torch.randint(7, (self.rows, 3), generator=generator)
        pixels = torch.randn(self.rows, 3, 4, 4, generator=generator)
        inputs = ModelInputs(
            input_ids=ids,
            roles=torch.full_like(ids, Role.TEXT),
            clip_pixels=pixels[:, None],
            num_references=torch.zeros(self.rows, dtype=torch.long),
            seg_pixels=pixels,
            labels=torch.full_like(ids, IGNORE_LABEL),
        )
        return inputs, [MaskTargets(image[:1] > 0) for image in pixels]

    def names(self, index: int) -> list[str]:
        return [f"sample-{index}-{row}" for row in range(self.rows)]
