"""Samples as a data set gives them, drawn for people: picture or clip, instruction, truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from instructseg.structures import IGNORE_PIXEL, Sample
from instructseg.visualization.overlay import Colour, colour, draw_masks
from instructseg.visualization.video import contact_sheet

SMALLEST_SIDE = 256
"""Smaller pictures are enlarged by a whole number, so that their caption can be read."""

IGNORED: Colour = (150, 150, 150)


def draw_sample(sample: Sample) -> np.ndarray:
    """The key frame with its masks, and below it what was asked and answered.

    Returns:
        ``uint8[H', W', 3]`` RGB, the caption below the picture.
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
        masks: of each frame ``uint8[N, H, W]``, 1 on the target, :data:`IGNORE_PIXEL` where not to count;
            ``None`` where the truth is unknown.
        lines: the first is the instruction; it tells where nothing answers or nothing is known.

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


def _below(picture: np.ndarray, texts: Sequence[str], tints: Sequence[Colour]) -> np.ndarray:
    """The picture with lines of text on a strip below it."""
    nothing = np.zeros(picture.shape[:2], bool)
    return draw_masks(picture, [nothing] * len(texts), texts, colors=tints, below=True)


def _draw(frame: np.ndarray, masks: np.ndarray | None) -> np.ndarray:
    """All that is meant in one colour, what does not count in another; enlarged where it is small."""
    times = -(-SMALLEST_SIDE // min(frame.shape[:2]))
    frame = frame.repeat(times, 0).repeat(times, 1)
    if masks is None or not len(masks):
        return frame
    masks = masks.repeat(times, 1).repeat(times, 2)
    return draw_masks(frame, [(masks == IGNORE_PIXEL).any(0), (masks == 1).any(0)], colors=[IGNORED, colour(0)])
