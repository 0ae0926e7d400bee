"""Photographs from a folder, as backgrounds of drawn scenes."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from instructseg.media import load_image

LONGEST_SIDE = 512
"""Pixels to which a larger photograph is shrunk, so that thousands fit into memory."""
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})


@lru_cache(maxsize=8)
def read_photos(folder: str | Path) -> tuple[np.ndarray, ...]:
    """``uint8[h, w, 3]`` RGB of each image of a folder and of the folders in it, by name.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: there is no image in it, or one is damaged.
    """
    import cv2

    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"no folder of photographs {root}")
    photos = []
    for file in sorted(file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES):
        photo = load_image(file)
        scale = LONGEST_SIDE / max(photo.shape[:2])
        if scale < 1:
            size = tuple(max(1, round(side * scale)) for side in photo.shape[1::-1])
            photo = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
        photos.append(photo)
    if not photos:
        raise ValueError(f"no picture in {root}: there should be {', '.join(sorted(SUFFIXES))} files")
    return tuple(photos)
