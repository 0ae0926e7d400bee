"""Codes of drawn objects: vectors that both halves of a small model agree on.

One code stands for one object of a scene: that it is there, its colour, shape, size, texture and place. The
mask branch learns to say the code of each object query; the SigLIP side to say, patch by patch, the code of the
object under the patch; the language model reads such patches and learns which code answers an instruction. Each
can be trained alone, and they fit when they are put together.
"""

from __future__ import annotations

import math

import numpy as np

from recipes.nano.scenes.objects import COLOURS, SHAPES, SIZES, TEXTURES
from recipes.nano.scenes.scenes import Scene

_WAVES = np.arange(1, 5) * math.pi
_CLASSES = (("colour", tuple(COLOURS)), ("shape", tuple(SHAPES)), ("size", tuple(SIZES)), ("texture", TEXTURES))

PLACE_DIM = 2 * (1 + 2 * len(_WAVES))
FIELDS: dict[str, slice] = {}
"""Field of a code -> its columns; the fields of classes hold one-hot vectors."""


def _columns() -> int:
    start = 2  # there it is, and a constant
    for name, values in _CLASSES:
        FIELDS[name] = slice(start, start + len(values))
        start += len(values)
    FIELDS["radius"] = slice(start, start + 1)
    FIELDS["place"] = slice(start + 1, start + 1 + PLACE_DIM)
    return start + 1 + PLACE_DIM


CODE_DIM = _columns()
"""Columns of the code of an object."""
PATCH_DIM = CODE_DIM + PLACE_DIM + 1
"""Columns of the code of a patch: the object under it, its own place, and how much of it the object covers."""

MIN_SHARE = 0.15
"""Share of a patch that an object covers at least where the patch is said to show it."""

MIN_PART = 0.2
"""Least part of an object in a patch for the patch to show it, however little it covers: a small object in the
corner of four patches is shown, too."""

NOTHING = np.zeros(CODE_DIM, np.float32)
NOTHING[:2] = (-1, 1)
"""The code that no object has: column 0 says -1 instead of 1."""


def place(points: np.ndarray) -> np.ndarray:
    """``float[N, 2]`` points ``(x, y)`` as shares of width and height to ``float32[N, PLACE_DIM]``."""
    waves = points[..., None] * _WAVES
    parts = (2 * points[..., None] - 1, 0.7 * np.sin(waves), 0.7 * np.cos(waves))
    return np.concatenate(parts, axis=-1).reshape(len(points), -1).astype(np.float32)


def object_codes(scene: Scene, t: int) -> np.ndarray:
    """Codes ``float32[N, CODE_DIM]`` of the objects of a scene in frame ``t``, by what is visible of them."""
    height, width = scene.ids.shape[1:]
    codes = np.tile(NOTHING, (len(scene.objects), 1))
    codes[:, 0] = 1
    centres = np.zeros((len(scene.objects), 2))
    for i, obj in enumerate(scene.objects):
        for name, values in _CLASSES:
            codes[i, FIELDS[name].start + values.index(getattr(obj, name))] = 1
        codes[i, FIELDS["radius"]] = 2 * math.log(obj.radius / (0.15 * min(height, width)))
        rows, columns = np.nonzero(scene.ids[t] == i + 1)
        x, y = (columns.mean(), rows.mean()) if len(rows) else obj.centres[t]
        centres[i] = (x + 0.5) / width, (y + 0.5) / height
    codes[:, FIELDS["place"]] = place(centres)
    return codes


def patch_codes(scene: Scene, t: int, grid: int, codes: np.ndarray | None = None) -> np.ndarray:
    """Codes ``float32[grid * grid, PATCH_DIM]`` of the patches of frame ``t``, row by row.

    Args:
        grid: patches along a side; they cover the frame, whatever its aspect.
        codes: :func:`object_codes` of the frame, if they are at hand.
    """
    codes = object_codes(scene, t) if codes is None else codes
    which, covered = patch_things(scene, t, grid)
    centres = (np.stack(np.meshgrid(np.arange(grid), np.arange(grid)), axis=-1).reshape(-1, 2) + 0.5) / grid
    shown = np.where(which[:, None] >= 0, codes[which], NOTHING)
    return np.concatenate((shown, place(centres), covered[:, None]), axis=1).astype(np.float32)


def patch_things(scene: Scene, t: int, grid: int) -> tuple[np.ndarray, np.ndarray]:
    """The object that each patch of frame ``t`` shows ``int64[grid * grid]``, -1 for none; and the share of
    the patch which the object that has most of it covers ``float64[grid * grid]``."""
    things = patch_shares(scene.ids[t], grid, len(scene.objects))[:, 1:]
    fits = (things > MIN_SHARE) | (things > MIN_PART * things.sum(0).clip(min=1e-9))
    return np.where(fits.any(1), (things * fits).argmax(1), -1), things.max(1)


def patch_shares(ids: np.ndarray, grid: int, things: int) -> np.ndarray:
    """Share of each patch that shows the background (column 0) or object ``i`` (column ``i + 1``).

    Args:
        ids: ``uint8[H, W]``.
        grid: patches along a side.
    """
    height, width = ids.shape
    rows, columns = np.arange(height) * grid // height, np.arange(width) * grid // width
    patch = rows[:, None] * grid + columns[None]
    counts = np.bincount((patch * (things + 1) + ids).ravel(), minlength=grid * grid * (things + 1))
    counts = counts.reshape(grid * grid, things + 1)
    return counts / counts.sum(1, keepdims=True)
