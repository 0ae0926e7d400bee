"""Mask codecs: COCO polygons and run lengths, DAVIS palette images. Masks are numpy arrays, images are PNG.

``H, W`` are the image's height and width in pixels; a size is always ``(height, width)``.
"""

from __future__ import annotations

import reprlib
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from instructseg.files import atomic_path
from instructseg.polygons import FARTHEST, clip_outline, fill_polygon, is_usual

if TYPE_CHECKING:
    from PIL.Image import Image

_STORED_MODES = ("P", "L", "1")
MAX_PIXELS = 178_956_970
"""Pixels of the largest mask: as many as Pillow takes for an image."""
_FAR = 1e6
"""Pixels from the origin at which outlines are cut for OpenCV, which counts in 32 bits."""

Polygons = Sequence[Sequence[float]] | Sequence[np.ndarray]
"""The outlines of one object, ``[x0, y0, x1, y1, ...]`` each, in pixels."""


def polygons_to_mask(polygons: Polygons, height: int, width: int) -> np.ndarray:
    """Fills polygons as COCO does.

    Args:
        polygons: outlines whose union is the mask; no outline gives an empty mask.
        height: of the image.
        width: of the image.

    Returns:
        ``bool[H, W]``.

    Raises:
        ValueError: an outline is no list of points, or the size is no size of an image.
    """
    from pycocotools import mask as coco

    outlines, mask = outlines_of(polygons), np.zeros(mask_size((height, width)), dtype=bool)
    usual = [outline.tolist() for outline in outlines if is_usual(outline)]
    if usual:
        mask = rle_to_mask(coco.merge(coco.frPyObjects(usual, height, width)))
    for outline in outlines:
        if not is_usual(outline):
            mask |= fill_polygon(outline, height, width)
    return mask


def draw_polygons_official(polygons: Polygons, height: int, width: int) -> np.ndarray:
    """Fills polygons as the released RefCOCO evaluation does: points truncated to whole pixels, edges included.

    Use it for numbers that are compared with the published ones; :func:`polygons_to_mask` elsewhere, whose
    arguments, result and errors it has.
    """
    import cv2

    mask = np.zeros(mask_size((height, width)), dtype=np.uint8)
    for outline in outlines_of(polygons):
        # one call each: in one call for all, overlapping outlines would cancel out
        cv2.fillPoly(mask, [whole_points(outline.reshape(-1, 2))], 1)
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
        size: ``(H, W)`` that the mask must have, usually that of the image; ``None`` takes any.

    Returns:
        ``bool[H, W]``.

    Raises:
        ValueError: the mask is of another size, or the counts are damaged.
    """
    if not isinstance(rle, Mapping) or not {"size", "counts"} <= set(rle):
        raise ValueError(f"an RLE mask is {{'size': [H, W], 'counts': ...}}, got {reprlib.repr(rle)}")
    height, width = mask_size(rle["size"])
    if size is not None and (height, width) != tuple(size):
        raise ValueError(f"RLE mask of {height}x{width} pixels for an image of {size[0]}x{size[1]}")
    runs = run_lengths(rle["counts"])
    # pycocotools reads beyond its memory when the runs are too few, hence the check and our own decoding
    if (runs < 0).any() or runs.sum() != height * width:
        raise ValueError(f"damaged RLE mask: runs of {runs.sum()} pixels for a size of {height}x{width}")
    values = np.arange(len(runs)) % 2 == 1
    return np.ascontiguousarray(np.repeat(values, runs).reshape(width, height).T)


def mask_size(size: Any) -> tuple[int, int]:
    """Parses ``(H, W)`` of a file: two whole numbers, also written as 40.0.

    Raises:
        ValueError: it is no size, or one of more than :data:`MAX_PIXELS`.
    """
    sides = list(size) if isinstance(size, Sequence | np.ndarray) and not isinstance(size, str | bytes) else []
    # a bool is an int
    whole = [int(side) for side in sides if type(side) is not bool and _is_whole(side)]
    if len(sides) != 2 or len(whole) != 2 or min(whole) < 1:
        raise ValueError(f"a size is [height, width] of at least one pixel each, got {_sides(size)}")
    if whole[0] * whole[1] > MAX_PIXELS:
        raise ValueError(f"a mask of {whole[0]}x{whole[1]} pixels is too large")
    return whole[0], whole[1]


def _is_whole(number: Any) -> bool:
    if isinstance(number, float | np.floating):
        return bool(np.isfinite(number)) and float(number).is_integer()
    return isinstance(number, int | np.integer)


def _sides(size: Any) -> str:
    pair = isinstance(size, tuple | list) and len(size) == 2
    return "x".join(reprlib.repr(side) for side in size) if pair else reprlib.repr(size)


def run_lengths(counts: Any) -> np.ndarray:
    """Run lengths ``int64[n]``, background first, of the ``counts`` of an RLE in any of its forms.

    Raises:
        ValueError: it is neither a COCO string nor a list of whole numbers.
    """
    if isinstance(counts, str | bytes | bytearray):
        return _runs(counts if isinstance(counts, str) else bytes(counts))
    if isinstance(counts, np.ndarray):
        counts = counts.tolist()
    if not isinstance(counts, Sequence) or not all(_is_whole(run) and type(run) is not bool for run in counts):
        raise ValueError("damaged RLE mask: its counts are neither a text nor a list of whole numbers")
    if not all(0 <= run <= MAX_PIXELS for run in counts):
        raise ValueError("damaged RLE mask: a run is negative or longer than any mask")
    return np.array(counts, dtype=np.int64)


def segmentation_to_mask(segmentation: Any, height: int, width: int) -> np.ndarray:
    """Decodes the ``segmentation`` of a COCO annotation: polygons, an RLE, or a list of RLEs (their union).

    Returns:
        ``bool[H, W]``; all false for an empty list.

    Raises:
        ValueError: see :func:`polygons_to_mask` and :func:`rle_to_mask`.
    """
    if isinstance(segmentation, Mapping):
        return rle_to_mask(segmentation, (height, width))
    if not isinstance(segmentation, Sequence) or isinstance(segmentation, str | bytes):
        raise ValueError(f"a segmentation is a list of polygons or an RLE, got {reprlib.repr(segmentation)}")
    if any(isinstance(part, Mapping) for part in segmentation):
        mask = np.zeros(mask_size((height, width)), dtype=bool)
        for part in segmentation:
            mask |= rle_to_mask(part, (height, width))
        return mask
    return polygons_to_mask(segmentation, height, width)


def davis_palette() -> np.ndarray:
    """The colours of DAVIS and VOC label images, ``uint8[256, 3]`` RGB, by index.

    The bits of the index are dealt to red, green and blue in turn, most significant bit first.
    """
    index = np.arange(256)[:, None]
    bits = (index >> np.arange(8)) & 1
    channels = [sum(bits[:, 3 * k + c] << (7 - k) for k in range(3) if 3 * k + c < 8) for c in range(3)]
    return np.stack(channels, axis=1).astype(np.uint8)


def save_palette_png(path: str | Path, ids: np.ndarray) -> None:
    """Writes object ids ``uint8[H, W]`` as a palette image with the colours of DAVIS; pixels keep their id.

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
    """Writes a mask ``[H, W]`` as a grey image, 255 where it is true or non-zero and 0 elsewhere.

    Raises:
        ValueError: ``mask`` has not two axes.
    """
    from PIL import Image

    _save_png(path, Image.fromarray((_two_axes(mask) != 0).astype(np.uint8) * 255))


def load_index_png(path: str | Path) -> np.ndarray:
    """Reads the stored values of a palette, 8-bit grey or black-and-white image: ids, not colours.

    Returns:
        ``uint8[H, W]``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, no image, or holds colours.
    """
    image = _load_png(path)
    if image.mode not in _STORED_MODES:
        kind = "values of more than 8 bits" if image.mode[0] in "IF" else "colours"
        raise ValueError(f"{path} holds {kind} (mode {image.mode}), not object ids (mode P, L or 1)")
    return np.array(image, np.uint8)


def load_grey_png(path: str | Path) -> np.ndarray:
    """Reads an image of a mask: stored values as :func:`load_index_png`, or the grey of colours.

    Returns:
        ``uint8[H, W]``, above 0 on the mask.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or no image.
    """
    image = _load_png(path)
    return np.array(image if image.mode in _STORED_MODES else image.convert("L"), np.uint8)


def _load_png(path: str | Path) -> Image:
    """An image of any mode. Raises as :func:`load_grey_png`."""
    from PIL import Image, UnidentifiedImageError

    with Path(path).open("rb") as file:
        try:
            image = Image.open(file)
            mask_size((image.height, image.width))  # before it is unpacked
            image.load()
        except UnidentifiedImageError:
            raise ValueError(f"{path} is no image") from None
        except Image.DecompressionBombError as error:
            raise ValueError(f"{path} is too large: {error}") from error
        # all that Pillow's decoders are known to raise on damaged files
        except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
    return image


def outlines_of(polygons: Any) -> list[np.ndarray]:
    """The outlines of polygons as ``float64[2n]`` each.

    Raises:
        ValueError: it is no list of polygons, one has fewer than three points, or a number is no coordinate.
    """
    if not isinstance(polygons, Sequence | np.ndarray) or isinstance(polygons, str | bytes):
        raise ValueError(f"polygons are a list of lists, got {reprlib.repr(polygons)}")
    outlines = []
    for i, polygon in enumerate(polygons):
        if np.isscalar(polygon):
            raise ValueError("polygons are a list of lists: put the one polygon into a list")
        outline = numbers(polygon, f"polygon {i}").reshape(-1)
        # below three points, pycocotools takes four numbers for a box
        if len(outline) % 2 or len(outline) < 6:
            raise ValueError(f"polygon {i} has {len(outline)} numbers: x and y of at least 3 points are needed")
        outlines.append(outline)
    return outlines


def numbers(values: Any, what: str) -> np.ndarray:
    """``float64`` coordinates from lists of numbers, of the shape that they have.

    Raises:
        ValueError: it holds something else, or a number that is not finite or no coordinate; ``what`` names it.
    """
    try:
        found = np.asarray(values)
    except ValueError:  # lists of different lengths
        found = np.empty(0, object)
    # numpy takes true for 1 among numbers, and texts of digits for numbers
    if (found.dtype.kind not in "iuf" and found.size) or _holds_bool(values):
        raise ValueError(f"{what} is no list of numbers: {reprlib.repr(values)}")
    found = found.astype(np.float64)
    if not np.isfinite(found).all():
        raise ValueError(f"{what} has a coordinate that is not finite")
    if np.abs(found).max(initial=0) > FARTHEST:
        raise ValueError(f"{what} has a coordinate beyond {FARTHEST:.0e} pixels")
    return found


def _holds_bool(values: Any) -> bool:
    """Whether a bool is in lists of lists; an array has none among its numbers."""
    if not isinstance(values, list | tuple):
        return isinstance(values, bool)
    kinds = set(map(type, values))
    return bool in kinds or (not kinds <= {int, float} and any(map(_holds_bool, values)))


def whole_points(points: np.ndarray) -> np.ndarray:
    """``float64[n, 2]`` to ``int32[n, 2]``, truncated, not rounded; clipped far outside the image."""
    return clip_outline(points, _FAR).astype(np.int32)


def _runs(counts: str | bytes) -> np.ndarray:
    """Run lengths ``int64[n]`` of a compressed COCO string.

    A number is written in groups of 5 bits, the lowest first, as characters from ``0`` on; bit 5 marks
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


def mask_bounds(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """``(left, top, right, bottom)`` of ``bool[H, W]`` in pixels, the last two exclusive; ``None`` if empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def mask_iou(mask: np.ndarray, other: np.ndarray, empty: float = 0.0) -> float:
    """IoU of two masks ``bool[H, W]``, 0..1; ``empty`` where both are empty."""
    either = np.count_nonzero(mask | other)
    return np.count_nonzero(mask & other) / either if either else empty


def _two_axes(mask: np.ndarray) -> np.ndarray:
    if mask.ndim != 2:
        raise ValueError(f"a mask is [H, W], got the shape {tuple(mask.shape)}")
    return mask


def _save_png(path: str | Path, image: Any) -> None:
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")
