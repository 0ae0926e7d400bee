"""Views as few compact tensors, which travel fast between processes and to a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from instructseg.criterion.targets import TargetBatch
from instructseg.processing import InstructSegProcessor
from recipes.mini.build import PIXELS
from recipes.mini.views import View

_MEAN, _STD = PIXELS["seg_mean"][0], PIXELS["seg_std"][0]
_FINER = 2
"""Masks have so many times fewer rows than pixels: half a stride of the mask features."""


@dataclass(frozen=True, eq=False)
class PackedViews:
    """F views; N regions in the fullest of them.

    Attributes:
        seg: ``uint8[F, 3, S, S]``, the mask branch's pixels before normalisation.
        masks: ``bool[F, N, S/2, S/2]``, filled up with empty ones.
        counts: regions of each view.
    """

    seg: torch.Tensor
    masks: torch.Tensor
    counts: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.seg)

    def to(self, device: torch.device | str) -> PackedViews:
        """Moves the tensors to ``device``."""
        return replace(self, seg=self.seg.to(device), masks=self.masks.to(device))

    def pixels(self) -> torch.Tensor:
        """``float[F, 3, S, S]``, normalised."""
        return normalised(self.seg)

    def truth(self) -> TargetBatch:
        """The masks as targets, one row per view; all of them count as answers."""
        answers = torch.ones(self.masks.shape[:2], dtype=torch.bool, device=self.masks.device)
        return TargetBatch(self.masks.float(), self.counts, answers, None)


def normalised(pixels: torch.Tensor) -> torch.Tensor:
    """``uint8`` pixels as the trunk reads them."""
    return (pixels.float() - _MEAN) / _STD


def raw(pixels: torch.Tensor) -> torch.Tensor:
    """``uint8`` of normalised pixels: the inverse of :func:`normalised`."""
    return (pixels * _STD + _MEAN).round().clamp(0, 255).to(torch.uint8)


def pack_views(processor: InstructSegProcessor, views: Sequence[View]) -> PackedViews:
    """Packs views as the mask branch of ``processor`` sees them."""
    size = processor.config.image_size
    fullest = max(1, *(len(view.regions) for view in views))
    masks = np.zeros((len(views), fullest, size // _FINER, size // _FINER), bool)
    pixels = []
    for row, view in enumerate(views):
        frame, geometry = processor.encode_key_frame(view.frame)
        pixels.append(raw(frame))
        for column, mask in enumerate(view.masks):
            resized = processor.mask_branch.resize_mask(mask, geometry)
            masks[row, column] = resized[_FINER // 2 :: _FINER, _FINER // 2 :: _FINER]
    counts = tuple(len(view.regions) for view in views)
    return PackedViews(torch.stack(pixels), torch.from_numpy(masks), counts)
