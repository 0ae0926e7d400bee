"""Images as codes, and back: ``VQModel`` of diffusers, or its quantizer on patches of pixels.

Letters: ``B`` images of side ``S``, ``h`` cells of a side, ``K`` codes, ``C`` numbers of a latent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class VisualCodes(nn.Module):
    """Codes of square images.

    Args:
        settings: of diffusers' ``VQModel``, of whose blocks each but the last halves the side; or ``patch`` and
            ``num_vq_embeddings``: the latents are then patches of that side, as flat drawings need no more.
        size: ``S``, pixels, a multiple of the side of a cell.

    Raises:
        ImportError: diffusers is missing.
        ValueError: the size is no multiple.
    """

    def __init__(self, settings: dict[str, Any], size: int) -> None:
        super().__init__()
        try:
            from diffusers import VQModel
            from diffusers.models.autoencoders.vae import VectorQuantizer
        except ImportError as error:
            raise ImportError("images as tokens need an extra package: pip install diffusers") from error
        self.patch, cell = int(settings.get("patch", 0)), cell_side(settings)
        if size % cell:
            raise ValueError(f"the side of a coded image must be a multiple of {cell}, not {size}")
        self.size, self.side, self.count = size, size // cell, int(settings["num_vq_embeddings"])
        self.vq: Any = None if self.patch else VQModel(**settings)
        self.patches: Any = VectorQuantizer(self.count, 3 * self.patch**2, beta=0.25) if self.patch else None

    @property
    def codebook(self) -> torch.Tensor:
        """Latents of the codes, ``float[K, C]``."""
        weight: torch.Tensor = self._quantizer.embedding.weight
        return weight

    @property
    def _quantizer(self) -> Any:
        return self.patches if self.patch else self.vq.quantize

    def latents(self, images: torch.Tensor) -> torch.Tensor:
        """What is quantized, ``float[B, C, h, h]``, of images ``float[B, 3, S, S]``, -1..1."""
        return F.pixel_unshuffle(images, self.patch) if self.patch else self.vq.encode(images).latents

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """For training: images back from their codes, the loss of the codebook, and the codes.

        Args:
            images: ``float[B, 3, S, S]``, -1..1.

        Returns:
            ``float[B, 3, S, S]``, a scalar, and ``int64[B, h, h]``.
        """
        chosen, loss, (_, _, numbers) = self._quantizer(self.latents(images))
        return self._draw(chosen), loss, numbers.view(len(images), self.side, self.side)

    @torch.no_grad()
    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Codes ``int64[B, h, h]`` of images ``float[B, 3, S, S]``, -1..1."""
        latents = self.latents(images)
        _, _, (_, _, numbers) = self._quantizer(latents)
        return numbers.view(len(images), *latents.shape[2:])

    @torch.no_grad()
    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Images ``float[B, 3, S, S]``, about -1..1, of codes ``int64[B, h, h]``."""
        return self._draw(self.codebook[codes].permute(0, 3, 1, 2))

    def _draw(self, latents: torch.Tensor) -> torch.Tensor:
        if self.patch:
            return F.pixel_shuffle(latents, self.patch)
        drawn: torch.Tensor = self.vq.decode(latents, force_not_quantize=True).sample
        return drawn


def cell_side(settings: dict[str, Any]) -> int:
    """Pixels of a side of a code's cell, by the settings of :class:`VisualCodes`."""
    return int(settings.get("patch") or 2 ** (len(settings["block_out_channels"]) - 1))


def prepare_images(images: Sequence[np.ndarray], size: int) -> torch.Tensor:
    """Images ``uint8[H, W, 3]`` RGB to ``float32[B, 3, S, S]`` of -1..1, stretched to squares of ``size``."""
    resized = [cv2.resize(one, (size, size), interpolation=cv2.INTER_AREA) for one in images]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() / 127.5 - 1


def restore_image(drawn: torch.Tensor, height: int, width: int) -> np.ndarray:
    """A decoded image ``float[3, S, S]`` of -1..1 as ``uint8[height, width, 3]``, enlarged smoothly."""
    pixels = (drawn.float().clamp(-1, 1).permute(1, 2, 0).cpu().numpy() + 1) * 127.5
    return np.rint(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)).astype(np.uint8)
