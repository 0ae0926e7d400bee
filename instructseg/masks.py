"""Mask codecs: COCO polygons and run lengths, DAVIS palette pictures. Everything is numpy, pictures are PNG.

``H, W`` are the picture's height and width in pixels; a size is always ``(height, width)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from instructseg.files import atomic_path

if TYPE_CHECKING:
    from PIL.Image import Image

_STORED_MODES = ("P", "L", "1")

Polygons = Sequence[Sequence[float]] | Sequence[np.ndarray]
"""The outlines of one object, ``[x0, y0, x1, y1, ...]`` each, in pixels."""


def polygons_to_mask(polygons: Polygons, height: int, width: int) -> np.ndarray:
    """Fills polygons as COCO does.

    Args:
        polygons: outlines whose union is the mask; no outline gives an empty mask.
        height: of the picture.
        width: of the picture.

    Returns:
        ``bool[H, W]``.

    Raises:
        ValueError: an outline is no list of points, or the size is not positive.
    """
    from pycocotools import mask as coco

    outlines = _outlines(polygons, height, width)
    if not outlines:
        return np.zeros((height, width), dtype=bool)
    parts = coco.frPyObjects([outline.tolist() for outline in outlines], height, width)
    return rle_to_mask(coco.merge(parts))


def draw_polygons_official(polygons: Polygons, height: int, width: int) -> np.ndarray:
    """Fills polygons as the released RefCOCO evaluation does: points truncated to whole pixels, edges included.

    Use it for numbers that are compared with the published ones; :func:`polygons_to_mask` elsewhere.

    Args:
        polygons: outlines whose union is the mask; no outline gives an empty mask.
        height: of the picture.
        width: of the picture.

    Returns:
        ``bool[H, W]``.

    Raises:
        ValueError: an outline is no list of points, or the size is not positive.
    """
    import cv2

    mask = np.zeros((height, width), dtype=np.uint8)
    for outline in _outlines(polygons, height, width):
        # one call each: in one call for all, overlapping outlines would cancel out
        cv2.fillPoly(mask, [outline.astype(np.int32).reshape(-1, 2)], 1)
    return mask.astype(bool)


def mask_to_rle(mask: np.ndarray) -> dict[str, Any]:
    """Encodes a mask ``[H, W]``, true or non-zero inside.

    Returns:
        ``{"size": [H, W], "counts": str}``, compressed COCO run lengths, ready for JSON.

    Raises:
        ValueError: ``mask`` has not two axes.
    """
    from pycocotools import mask as coco

    encoded = coco.encode(np.asfortranarray(_two_axes(mask) != 0, dtype=np.uint8))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def rle_to_mask(rle: Mapping[str, Any], size: tuple[int, int] | None = None) -> np.ndarray:
    """Decodes COCO run lengths.

    Args:
        rle: ``{"size": [H, W], "counts": ...}``; the counts are a compressed string (``str`` or ``bytes``)
            or a plain list of run lengths, background first.
        size: ``(H, W)`` that the mask must have, usually the picture's; ``None`` takes any.

    Returns:
        ``bool[H, W]``.

    Raises:
        ValueError: the mask is of another size, or the counts are damaged.
    """
    if not isinstance(rle, Mapping) or not {"size", "counts"} <= set(rle):
        raise ValueError(f"an RLE mask is {{'size': [H, W], 'counts': ...}}, got {str(rle)[:60]}")
    height, width = (int(side) for side in rle["size"])
    if size is not None and (height, width) != tuple(size):
        raise ValueError(f"RLE mask of {height}x{width} pixels for a picture of {size[0]}x{size[1]}")
    counts = rle["counts"]
    runs = _runs(counts) if isinstance(counts, str | bytes) else np.asarray(counts, dtype=np.int64)
    # pycocotools reads beyond its memory when the runs are too few, hence the check and our own decoding
    if (runs < 0).any() or runs.sum() != height * width:
        raise ValueError(f"damaged RLE mask: runs of {runs.sum()} pixels for a size of {height}x{width}")
    values = np.arange(len(runs)) % 2 == 1
    return np.ascontiguousarray(np.repeat(values, runs).reshape(width, height).T)


def segmentation_to_mask(segmentation: Any, height: int, width: int) -> np.ndarray:
    """Decodes the ``segmentation`` of a COCO annotation: polygons, an RLE, or a list of RLEs (their union).

    Returns:
        ``bool[H, W]``; all false for an empty list.

    Raises:
        ValueError: see :func:`polygons_to_mask` and :func:`rle_to_mask`.
    """
    if isinstance(segmentation, Mapping):
        return rle_to_mask(segmentation, (height, width))
    if len(segmentation) and isinstance(segmentation[0], Mapping):
        return np.any([rle_to_mask(part, (height, width)) for part in segmentation], axis=0)
    return polygons_to_mask(segmentation, height, width)


def davis_palette() -> np.ndarray:
    """The colours of DAVIS and VOC label pictures, ``uint8[256, 3]`` RGB, by index.

    The bits of the index are dealt to red, green and blue in turn, most significant bit first.
    """
    index = np.arange(256)[:, None]
    bits = (index >> np.arange(8)) & 1
    channels = [sum(bits[:, 3 * k + c] << (7 - k) for k in range(3) if 3 * k + c < 8) for c in range(3)]
    return np.stack(channels, axis=1).astype(np.uint8)


def save_palette_png(path: str | Path, ids: np.ndarray) -> None:
    """Writes object ids ``uint8[H, W]`` as a palette picture with the colours of DAVIS; pixels keep their id.

    Raises:
        ValueError: ``ids`` has not two axes or is no ``uint8``.
    """
    from PIL import Image

    if _two_axes(ids).dtype != np.uint8:
        raise ValueError(f"object ids are uint8, got {ids.dtype}")
    image = Image.fromarray(ids, mode="L")
    image.putpalette(davis_palette().tobytes())
    _save_png(path, image)


def save_binary_png(path: str | Path, mask: np.ndarray) -> None:
    """Writes a mask ``[H, W]`` as a grey picture, 255 where it is true or non-zero and 0 elsewhere.

    Raises:
        ValueError: ``mask`` has not two axes.
    """
    from PIL import Image

    _save_png(path, Image.fromarray((_two_axes(mask) != 0).astype(np.uint8) * 255))


def load_index_png(path: str | Path) -> np.ndarray:
    """Reads the stored values of a palette, 8-bit grey or black-and-white picture: ids, not colours.

    Returns:
        ``uint8[H, W]``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, no picture, or one of colours.
    """
    image = _load_png(path)
    if image.mode not in _STORED_MODES:
        kind = "values of more than 8 bits" if image.mode[0] in "IF" else "colours"
        raise ValueError(f"{path} holds {kind} (mode {image.mode}), not object ids (mode P, L or 1)")
    return np.array(image, np.uint8)


def load_grey_png(path: str | Path) -> np.ndarray:
    """Reads a picture of a mask: the stored values as :func:`load_index_png`, of one with colours its grey.

    Returns:
        ``uint8[H, W]``, above 0 on the mask.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or no picture.
    """
    image = _load_png(path)
    return np.array(image if image.mode in _STORED_MODES else image.convert("L"), np.uint8)


def _load_png(path: str | Path) -> Image:
    """A picture of any mode. Raises as :func:`load_grey_png`."""
    from PIL import Image, UnidentifiedImageError

    with Path(path).open("rb") as file:
        try:
            image = Image.open(file)
            image.load()
        except UnidentifiedImageError:
            raise ValueError(f"{path} is no picture") from None
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
    return image


def _outlines(polygons: Polygons, height: int, width: int) -> list[np.ndarray]:
    """The outlines as ``float64[2n]`` each, checked."""
    if height < 1 or width < 1:
        raise ValueError(f"a mask has at least one pixel, got a size of {height}x{width}")
    outlines = []
    for i, polygon in enumerate(polygons):
        if np.isscalar(polygon):
            raise ValueError("polygons are a list of lists: put the one polygon into a list")
        outline = np.asarray(polygon, dtype=np.float64).reshape(-1)
        # below three points, pycocotools takes four numbers for a box
        if len(outline) % 2 or len(outline) < 6:
            raise ValueError(f"polygon {i} has {len(outline)} numbers: x and y of at least 3 points are needed")
        if not np.isfinite(outline).all():
            raise ValueError(f"polygon {i} has a coordinate that is not finite")
        outlines.append(outline)
    return outlines


def _runs(counts: str | bytes) -> np.ndarray:
    """Run lengths ``int64[n]`` of a compressed COCO string.

    A number is written in groups of 5 bits, the lowest first, as characters from ``0`` on; bit 5 says
    that another group follows, bit 4 of the last group is the sign. From the fourth on, a number is the
    difference to the one two places before.
    """
    groups = np.frombuffer(counts.encode() if isinstance(counts, str) else counts, dtype=np.uint8).astype(
        np.int64
    )
    groups -= ord("0")
    last = (groups & 0x20) == 0
    if not len(groups) or not last[-1] or groups.min() < 0 or groups.max() > 0x3F:
        raise ValueError(f"damaged RLE mask: '{str(counts)[:40]}' is no COCO string of run lengths")
    first = np.flatnonzero(np.concatenate([[True], last[:-1]]))
    size = np.diff(np.append(first, len(groups)))
    shift = 5 * (np.arange(len(groups)) - np.repeat(first, size))
    if shift.max() > 30:
        raise ValueError("damaged RLE mask: a run length of more than 32 bits")
    runs = np.add.reduceat((groups & 0x1F) << shift, first)
    runs -= ((groups[last] & 0x10) != 0) * (np.int64(1) << 5 * size)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def _two_axes(mask: np.ndarray) -> np.ndarray:
    if mask.ndim != 2:
        raise ValueError(f"a mask is [H, W], got the shape {tuple(mask.shape)}")
    return mask


def _save_png(path: str | Path, image: Any) -> None:
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")
