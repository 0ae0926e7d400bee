"""Rows and pictures of different lengths to one batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def pad_sequences(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    """Rows to ``int64[B, L]``, padded on the right with ``value``; ``L`` is the longest row.

    Raises:
        ValueError: there is no row.
    """
    if not rows:
        raise ValueError("an empty batch: give at least one row")
    padded = torch.full((len(rows), max(map(len, rows))), value, dtype=torch.int64)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = torch.tensor(row, dtype=torch.int64)
    return padded


def stack_clips(clips: Sequence[Sequence[torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Key frames with their references to one tensor.

    Args:
        clips: per picture ``float[3, S, S]`` of the key frame, then of its references.

    Returns:
        ``float[F, 1+R, 3, S, S]``, zeros where a picture has fewer than R references, and ``int64[F]``,
        how many it has.
    """
    frames = max(map(len, clips))
    stacked = clips[0][0].new_zeros(len(clips), frames, *clips[0][0].shape)
    for target, clip in zip(stacked, clips, strict=True):
        for index, pixels in enumerate(clip):
            target[index] = pixels
    return stacked, torch.tensor([len(clip) - 1 for clip in clips], dtype=torch.int64)
