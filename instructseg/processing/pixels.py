"""Resizing and normalisation of frames for both encoders, and of masks for the mask branch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from instructseg.structures import Geometry

RGB = tuple[float, float, float]


def check_frame(frame: np.ndarray) -> None:
    """Checks the type and shape of a frame.

    Raises:
        ValueError: not ``uint8[H, W, 3]``, or without a pixel.
    """
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise ValueError(f"a frame must be uint8[H, W, 3] RGB, not {frame.dtype}{list(frame.shape)}")
    if not frame.size:
        raise ValueError(f"a frame of {frame.shape[0]}x{frame.shape[1]} pixels has no pixels")


@dataclass(frozen=True)
class MaskBranchPixels:
    """Input of the mask branch: aspect kept, long side ``size``, padded on the right and at the bottom.

    Attributes:
        size: of the padded square, in pixels; a multiple of 32.
        mean, std: per channel, of raw values 0..255.
        pad_value: raw value of the padding, put there before normalising, as released.
    """

    size: int = 1024
    mean: RGB = (123.675, 116.28, 103.53)
    std: RGB = (58.395, 57.12, 57.375)
    pad_value: int = 128

    def __post_init__(self) -> None:
        if self.size <= 0 or self.size % 32:
            raise ValueError(f"image_size {self.size} is not a positive multiple of 32")

    def geometry(self, height: int, width: int) -> Geometry:
        """Sizes of a frame of ``height`` x ``width`` before and after resizing and padding."""
        if height <= 0 or width <= 0:
            raise ValueError(f"a frame of {height}x{width} pixels has no pixels")
        # detectron2's ResizeShortestEdge in its own order of operations: a half may fall either way
        scale = self.size / min(height, width)
        new_height, new_width = (self.size, scale * width) if height < width else (scale * height, self.size)
        shrink = self.size / max(new_height, new_width)
        resized = (max(1, int(new_height * shrink + 0.5)), max(1, int(new_width * shrink + 0.5)))
        return Geometry((height, width), resized, (self.size, self.size))

    def __call__(self, frame: np.ndarray) -> tuple[torch.Tensor, Geometry]:
        """``uint8[H, W, 3]`` to ``float32[3, size, size]`` and its geometry."""
        check_frame(frame)
        geometry = self.geometry(*frame.shape[:2])
        height, width = geometry.resized
        canvas = np.full((*geometry.padded, 3), self.pad_value, np.uint8)
        canvas[:height, :width] = _resize(frame, geometry.resized, Image.Resampling.BILINEAR)
        pixels = (
            torch.from_numpy(canvas).permute(2, 0, 1).to(torch.float32, memory_format=torch.contiguous_format)
        )
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        return pixels.sub_(mean).div_(std), geometry

    def resize_mask(self, mask: np.ndarray, geometry: Geometry) -> np.ndarray:
        """Resizes a mask to the padded size without mixing values, so that ignored pixels stay ignored.

        Args:
            mask: ``uint8[H, W]`` at the frame's own size.

        Returns:
            ``uint8[size, size]``, 0 on the padding.

        Raises:
            ValueError: mask and frame differ in size.
        """
        if mask.shape != geometry.original:
            raise ValueError(
                f"a mask of {mask.shape} does not fit a frame of {geometry.original} (height, width)"
            )
        height, width = geometry.resized
        padded = np.zeros(geometry.padded, np.uint8)
        padded[:height, :width] = _resize(
            mask.astype(np.uint8, copy=False), geometry.resized, Image.Resampling.NEAREST
        )
        return padded


@dataclass(frozen=True)
class ClipPixels:
    """Input of SigLIP: the whole frame squashed to a square.

    Attributes:
        size: of the square, in pixels.
        mean, std: per channel, of values 0..1.
    """

    size: int = 384
    mean: RGB = (0.5, 0.5, 0.5)
    std: RGB = (0.5, 0.5, 0.5)

    def __call__(self, frame: np.ndarray) -> torch.Tensor:
        """``uint8[H, W, 3]`` to ``float32[3, size, size]``."""
        check_frame(frame)
        resized = _resize(frame, (self.size, self.size), Image.Resampling.BICUBIC)
        # scaled in double precision as SiglipImageProcessor does, so that both agree to the last bit
        scaled = (resized * (1 / 255)).astype(np.float32)
        pixels = torch.from_numpy(np.ascontiguousarray(scaled.transpose(2, 0, 1)))
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        return pixels.sub_(mean).div_(std)


def stack_frames(images: Sequence[Sequence[torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Stacks key frames with their references in one tensor.

    Args:
        images: per image ``float[3, S, S]`` of the key frame, then of its references.

    Returns:
        ``float[F, 1+R, 3, S, S]``, zeros where an image has fewer than R references, and ``int64[F]``,
        their numbers.
    """
    frames = max(map(len, images))
    stacked = images[0][0].new_zeros(len(images), frames, *images[0][0].shape)
    for target, shown in zip(stacked, images, strict=True):
        for index, pixels in enumerate(shown):
            target[index] = pixels
    return stacked, torch.tensor([len(shown) - 1 for shown in images], dtype=torch.int64)


def _resize(array: np.ndarray, size: tuple[int, int], how: Image.Resampling) -> np.ndarray:
    """``uint8[H, W(, 3)]`` to ``size`` (height, width)."""
    height, width = size
    return np.array(Image.fromarray(np.ascontiguousarray(array)).resize((width, height), how))
