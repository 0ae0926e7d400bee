"""Contact sheets: several frames of a video as one image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def contact_sheet(
    frames: Sequence[np.ndarray],
    columns: int,
    *,
    width: int | None = None,
    gap: int = 8,
    background: tuple[int, int, int] = (255, 255, 255),
) -> np.ndarray:
    """Lays frames out in rows, left to right and top to bottom, without a margin around them.

    Args:
        frames: ``uint8[H, W, 3]`` RGB each, at least one; smaller ones are centred in cells of the largest
            height and width.
        columns: frames of a row; fewer frames make fewer columns.
        width: of the sheet in pixels, to which it is made smaller with all in it; ``None`` keeps the pixels.
        gap: pixels between frames, before the sheet is made smaller.
        background: RGB of gaps and empty cells.

    Returns:
        ``uint8[H', W', 3]`` RGB.

    Raises:
        ValueError: there is no frame, one is no image, or ``columns``, ``width`` or ``gap`` makes no sense.
    """
    if not len(frames):
        raise ValueError("a contact sheet needs at least one frame")
    if columns < 1 or gap < 0 or (width is not None and width < 1):
        raise ValueError(f"columns and width are at least 1, gap at least 0; got {columns}, {width}, {gap}")
    for i, frame in enumerate(frames):
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise ValueError(f"frame {i} must be uint8[H, W, 3], got {frame.dtype}{list(frame.shape)}")
    columns = min(columns, len(frames))
    rows = -(-len(frames) // columns)
    cell_h, cell_w = max(frame.shape[0] for frame in frames), max(frame.shape[1] for frame in frames)
    shape = (rows * (cell_h + gap) - gap, columns * (cell_w + gap) - gap, 3)
    sheet = np.full(shape, background, dtype=np.uint8)
    for i, frame in enumerate(frames):
        h, w = frame.shape[:2]
        top = i // columns * (cell_h + gap) + (cell_h - h) // 2
        left = i % columns * (cell_w + gap) + (cell_w - w) // 2
        sheet[top : top + h, left : left + w] = frame
    return sheet if width is None or width >= sheet.shape[1] else _smaller(sheet, width)


def _smaller(image: np.ndarray, width: int) -> np.ndarray:
    """Scaled down to ``width`` by averaging, which leaves no stair steps."""
    import cv2

    height = max(1, round(image.shape[0] * width / image.shape[1]))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
