"""Filmed sequences with true masks, as the recipes and measurements read them.

::

    folder/
      expressions.json          {NAME: [expression, ...], ...}
      NAME/frames/, NAME/masks/ images and grey masks, in the order of their names
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from instructseg.files import read_object
from instructseg.masks import load_grey_png
from instructseg.media import load_image


@dataclass(frozen=True, eq=False)
class FilmedVideo:
    """A sequence about one object.

    Attributes:
        name: of its folder.
        texts: expressions for the object.
        frames: ``uint8[T, H, W, 3]`` RGB.
        masks: ``bool[T, H, W]``.
    """

    name: str
    texts: tuple[str, ...]
    frames: np.ndarray
    masks: np.ndarray


def read_filmed(folder: Path, most: int | None = None) -> Iterator[FilmedVideo]:
    """The sequences of a folder, in the order of ``expressions.json``.

    Args:
        folder: see the head of this file.
        most: frames of each, from the first one; ``None`` for all.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: frames and masks of a sequence differ in number.
    """
    for name, texts in read_object(folder / "expressions.json").items():
        frames, masks = (sorted((folder / name / kind).iterdir()) for kind in ("frames", "masks"))
        if len(frames) != len(masks):
            raise ValueError(f"{folder / name} has {len(frames)} frames and {len(masks)} masks")
        yield FilmedVideo(
            name,
            tuple(texts),
            np.stack([load_image(path) for path in frames[:most]]),
            np.stack([load_grey_png(path) > 0 for path in masks[:most]]),
        )
