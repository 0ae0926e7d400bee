"""Pieces of photographs to train on: cut, mirrored, with other colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance

from recipes.mini.photographs import Photograph, Region

SMALLEST_SHARE = 0.3
"""Area of the smallest piece, as a share of the photograph's."""
LEAST_LEFT = 0.25
"""Share of an object that must be left in a piece for it to be named there."""
LEAST_PIXELS = 48


@dataclass(frozen=True, eq=False)
class View:
    """A piece of a photograph.

    Attributes:
        frame: ``uint8[H, W, 3]``.
        regions: those left in it.
        masks: ``bool[N, H, W]``, theirs.
        cut: categories of which something is left that is too little to be named.
        mirrored: whether left and right are exchanged.
        entire: whether nothing was cut off or pasted in, so that what people said of the photograph is true.
    """

    frame: np.ndarray
    regions: tuple[Region, ...]
    masks: np.ndarray
    cut: frozenset[str]
    mirrored: bool = False
    entire: bool = False


def whole_view(photograph: Photograph, most: int) -> View:
    """The photograph as it is, with its ``most`` largest regions."""
    return _view(photograph.pixels(), photograph.regions, np.s_[:, :], False, most)


def draw_view(rng: np.random.Generator, photograph: Photograph, most: int, mirrors: bool = True) -> View:
    """A random piece, with the ``most`` largest regions left in it."""
    frame = photograph.pixels()
    height, width = frame.shape[:2]
    share = 1.0 if rng.random() < 0.25 else float(rng.uniform(SMALLEST_SHARE, 1.0))
    stretch = float(np.exp(rng.uniform(-0.2, 0.2)))
    h, w = (
        min(side, max(32, int(side * share**0.5 * by)))
        for side, by in ((height, stretch), (width, 1 / stretch))
    )
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    view = _view(
        _other_colours(rng, frame),
        photograph.regions,
        np.s_[top : top + h, left : left + w],
        mirrors and rng.random() < 0.5,
        most,
    )
    return view if view.regions else whole_view(photograph, most)


def _view(
    frame: np.ndarray, regions: tuple[Region, ...], piece: tuple[slice, slice], mirrored: bool, most: int
) -> View:
    across = slice(None, None, -1) if mirrored else slice(None)
    kept, cut = [], set()
    for region in regions:
        full = region.mask()
        mask = full[piece][:, across]
        left, before = int(mask.sum()), max(1, int(full.sum()))
        if left >= LEAST_PIXELS and (left >= LEAST_LEFT * before or not region.single):
            kept.append((left, region, mask))
        elif left:
            cut.add(region.category)
    kept.sort(key=lambda entry: -entry[0])
    cut |= {region.category for _, region, _ in kept[most:]}
    kept = kept[:most]
    shown = np.ascontiguousarray(frame[piece][:, across])
    masks = np.stack([mask for *_, mask in kept]) if kept else np.zeros((0, *shown.shape[:2]), bool)
    entire = shown.shape == frame.shape
    return View(shown, tuple(region for _, region, _ in kept), masks, frozenset(cut), mirrored, entire)


def _other_colours(rng: np.random.Generator, frame: np.ndarray) -> np.ndarray:
    image = Image.fromarray(frame)
    for kind in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        if rng.random() < 0.5:
            image = kind(image).enhance(float(rng.uniform(0.7, 1.3)))
    return np.asarray(image)
