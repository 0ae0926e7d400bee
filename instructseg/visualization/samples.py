"""Drawings of data set samples: image or video, instruction, truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from instructseg.structures import IGNORE_PIXEL, Sample
from instructseg.visualization.contact_sheet import contact_sheet
from instructseg.visualization.overlay import Colour, colour, draw_masks

SMALLEST_SIDE = 256
"""Smaller images are enlarged by a whole number, for a readable caption."""

IGNORED: Colour = (150, 150, 150)


def draw_sample(sample: Sample) -> np.ndarray:
    """The key frame with its masks, and instruction and answer below.

    Returns:
        ``uint8[H', W', 3]`` RGB, the caption below the image.
    """
    lines = [sample.instruction] if sample.answer is None else [sample.instruction, sample.answer]
    if not sample.task.has_mask:
        return _below(_draw(sample.key_frame, None), lines, [colour(i) for i in range(len(lines))])
    return draw_clip([sample.key_frame], [sample.masks], lines)


def draw_clip(
    frames: Sequence[np.ndarray], masks: Sequence[np.ndarray | None], lines: Sequence[str]
) -> np.ndarray:
    """Frames with their masks as a contact sheet, and ``lines`` below.

    Args:
        frames: ``uint8[H, W, 3]`` RGB each, at least one.
        masks: of each frame ``uint8[N, H, W]``, 1 on the target, :data:`IGNORE_PIXEL` where not counted;
            ``None`` where the truth is unknown.
        lines: the first is the instruction, marked if nothing answers it or the truth is unknown.

    Returns:
        ``uint8[H', W', 3]`` RGB, the caption below the frames.

    Raises:
        ValueError: there is no frame, or a mask is not of its frame's size.
    """
    cells = [_draw(frame, found) for frame, found in zip(frames, masks, strict=True)]
    sheet = contact_sheet(cells, columns=4)
    truth = [found for found in masks if found is not None]
    note = (
        " (the truth is unknown)"
        if not truth
        else ""
        if any((m == 1).any() for m in truth)
        else " (nothing here)"
    )
    texts, tints = [lines[0] + note, *lines[1:]], [colour(i) for i in range(len(lines))]
    if any((found == IGNORE_PIXEL).any() for found in truth):
        texts, tints = [*texts, "not counted"], [*tints, IGNORED]
    return _below(sheet, texts, tints)


def _below(image: np.ndarray, texts: Sequence[str], tints: Sequence[Colour]) -> np.ndarray:
    """The image with lines of text on a strip below it."""
    nothing = np.zeros(image.shape[:2], bool)
    return draw_masks(image, [nothing] * len(texts), texts, colors=tints, below=True)


def _draw(frame: np.ndarray, masks: np.ndarray | None) -> np.ndarray:
    """Targets in one colour, ignored pixels in another; small images enlarged."""
    times = -(-SMALLEST_SIDE // min(frame.shape[:2]))
    frame = frame.repeat(times, 0).repeat(times, 1)
    if masks is None or not len(masks):
        return frame
    masks = masks.repeat(times, 1).repeat(times, 2)
    return draw_masks(frame, [(masks == IGNORE_PIXEL).any(0), (masks == 1).any(0)], colors=[IGNORED, colour(0)])
