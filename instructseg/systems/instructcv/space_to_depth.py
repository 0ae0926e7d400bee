"""Latents of a tiny model: patches of pixels, in the place of a VAE and without parameters."""

from __future__ import annotations

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn


class SpaceToDepth(nn.Module):
    """Parts of ``AutoencoderKL`` that the pipeline calls; exact in both directions.

    Args:
        patch: side ``P`` of a patch in pixels, a power of two.
    """

    place: torch.Tensor

    def __init__(self, patch: int) -> None:
        super().__init__()
        # the pipeline takes the number of halvings from the number of blocks
        blocks = (1,) * patch.bit_length()
        self.config = SimpleNamespace(
            block_out_channels=blocks, latent_channels=3 * patch**2, scaling_factor=1.0, patch=patch
        )

        self.register_buffer("place", torch.zeros(()), persistent=False)  # follows the pipeline's other parts

    @property
    def dtype(self) -> torch.dtype:
        """Of the pipeline."""
        return self.place.dtype

    @property
    def device(self) -> torch.device:
        """Of the pipeline."""
        return self.place.device

    def encode(self, image: torch.Tensor) -> SimpleNamespace:
        """``latents``: ``float[B, 3 P P, H/P, W/P]`` of ``float[B, 3, H, W]``, -1..1."""
        return SimpleNamespace(latents=F.pixel_unshuffle(image, self.config.patch))

    def decode(self, latents: torch.Tensor, return_dict: bool = False) -> tuple[torch.Tensor]:
        """The image of latents."""
        assert not return_dict, "the pipeline asks for a tuple"
        return (F.pixel_shuffle(latents, self.config.patch),)
