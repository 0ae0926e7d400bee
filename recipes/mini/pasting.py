"""Two of a kind: cut-outs of the same category put into a view, so that side, order and size can be asked."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from recipes.mini.photographs import Photograph, Region
from recipes.mini.views import View

LEAST_AREA, MOST_AREA = 0.006, 0.35
"""Of an object that is cut out, as shares of its photograph."""
MOST_ENLARGED = 2.0
MOST_HIDDEN = 0.5
"""Share of an object that a cut-out may hide."""


def cut_out(photograph: Photograph, region: Region) -> tuple[np.ndarray, np.ndarray] | None:
    """The object's piece of the photograph and its mask; ``None`` where it is too small or too large."""
    mask = region.mask()
    if not LEAST_AREA <= mask.mean() <= MOST_AREA:
        return None
    rows, columns = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
    piece = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return photograph.pixels()[piece], mask[piece]


def paste(
    rng: np.random.Generator, view: View, category: str, cut: tuple[np.ndarray, np.ndarray]
) -> View | None:
    """The view with a cut-out somewhere in it; ``None`` where it finds no place.

    Its outline is softened by a pixel, so that the seam is no clue. Masks of what it hides shrink.
    """
    pixels, mask = cut
    height, width = view.frame.shape[:2]
    share = float(rng.uniform(0.15, 0.45))
    scale = min(
        share * (height * width / max(1, mask.sum())) ** 0.5,
        height * 0.9 / mask.shape[0],
        width * 0.9 / mask.shape[1],
        MOST_ENLARGED,
    )
    size = (max(4, int(mask.shape[1] * scale)), max(4, int(mask.shape[0] * scale)))
    piece = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    soft = cv2.GaussianBlur(
        cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR), (3, 3), 0
    )
    if rng.random() < 0.5:
        piece, soft = piece[:, ::-1], soft[:, ::-1]
    for _ in range(8):
        top, left = int(rng.integers(height - size[1] + 1)), int(rng.integers(width - size[0] + 1))
        place = np.s_[top : top + size[1], left : left + size[0]]
        new = np.zeros((height, width), bool)
        new[place] = soft > 0.5
        hidden = [(one & new).sum() / max(1, one.sum()) for one in view.masks]
        if not new.any() or (hidden and max(hidden) > MOST_HIDDEN):
            continue
        frame = view.frame.copy()
        blend = soft[..., None]
        frame[place] = np.rint(frame[place] * (1 - blend) + piece * blend).astype(np.uint8)
        masks = np.concatenate([view.masks & ~new, new[None]])
        regions = (*view.regions, Region(category, True, {}, (height, width)))
        return replace(view, frame=frame, regions=regions, masks=masks, entire=False)
    return None
