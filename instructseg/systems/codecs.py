"""Answers as images, and back: masks, class maps, boxes, overlays, depth, presence.

InstructCV (arXiv 2310.00390, section 2.1 and appendix A.3) and InstructSeq (arXiv 2311.18835, section 3.1)
turn every answer into an RGB image. Each codec is a pair of pure functions; what comes back is exact where the
image is undamaged, but for depth, which has 256 levels.

Letters: ``H, W`` pixels, ``K`` classes, ``N`` boxes. Images are ``uint8[H, W, 3]`` RGB.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import cv2
import numpy as np

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels, the last two exclusive."""
Rgb = tuple[int, int, int]
"""0..255 each."""
COLOURS: dict[str, Rgb] = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
    "red": (255, 0, 0),
    "green": (0, 128, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
    "orange": (255, 165, 0),
    "purple": (128, 0, 128),
    "brown": (165, 42, 42),
    "pink": (255, 192, 203),
}
"""Colours that an instruction can name, as CSS has them."""
MEDIAN, SMOOTHING, EXTENT = 3, 25.0, 0.5
"""Of the box decoder: side of the median filter, range of the bilateral one in grey levels, and least share of
its box that the hull of a contour covers; a rectangle has 1, a triangle 0.5."""

OVERLAY = 0.6
"""Share of an overlay's colour; the rest is the image's."""


def encode_mask(mask: np.ndarray) -> np.ndarray:
    """White on black, of ``bool[H, W]``."""
    return np.repeat((mask.astype(np.uint8) * 255)[..., None], 3, axis=2)


def decode_mask(image: np.ndarray, threshold: float = 127.5) -> np.ndarray:
    """``bool[H, W]``: pixels whose channels have a mean above the threshold (0..255)."""
    return np.asarray(image.mean(2) > threshold)


def even_palette(count: int) -> np.ndarray:
    """``uint8[count, 3]``: colours on an even grid of the RGB cube, black first, as distant as the grid allows.

    Raises:
        ValueError: fewer than 1.
    """
    if count < 1:
        raise ValueError(f"a palette has at least 1 colour, not {count}")
    steps = 2
    while steps**3 < count:
        steps += 1
    grid = np.array(list(product(np.linspace(0, 255, steps), repeat=3)))
    # evenly over the grid, which counts up from black to white
    chosen = np.rint(np.linspace(0, len(grid) - 1, count)).astype(int)
    return np.rint(grid[chosen]).astype(np.uint8)


def encode_classes(classes: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """The image of a class map ``int[H, W]``, each below ``K``, in colours ``uint8[K, 3]``."""
    return palette[classes]


def decode_classes(image: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """``int64[H, W]``: the class whose colour is nearest (Euclidean)."""
    pixels, colours = image.astype(np.float32), palette.astype(np.float32)
    distances = [((pixels - colour) ** 2).sum(2) for colour in colours]  # one class at a time: K maps, no cube
    return np.argmin(distances, axis=0)


def encode_boxes(image: np.ndarray, boxes: Sequence[Box], colour: Rgb, width: int = 1) -> np.ndarray:
    """A copy with boxes drawn along their inner edge.

    Args:
        image: not modified.
        boxes: may reach beyond the image.
        colour: of the lines.
        width: of the lines in pixels.
    """
    drawn = image.copy()
    for left, top, right, bottom in boxes:
        left, top = max(left, 0), max(top, 0)
        inner = image[top + width : max(bottom - width, 0), left + width : max(right - width, 0)]
        drawn[top : max(bottom, 0), left : max(right, 0)] = colour
        drawn[top + width : top + width + inner.shape[0], left + width : left + width + inner.shape[1]] = inner
    return drawn


def decode_boxes(
    drawn: np.ndarray, image: np.ndarray | None, colour: Rgb, *, least: int = 8, smooth: bool = True
) -> list[Box]:
    """Boxes of one colour in an image, the largest first.

    As appendix A.3 of InstructCV describes it: median and bilateral filters, the colour's range in HSV,
    closing with 3 x 3, outer contours, of which short and not rectangular ones are refused. Its released
    evaluation then keeps boxes that overlap the ground truth; nothing of that is here.

    Args:
        drawn: with the boxes.
        image: the same without; what has not changed is no line, whatever its colour, nor what is nearer to it
            than to ``colour``, such as the halo of a line. ``None`` where unknown.
        colour: of the lines; saturated.
        least: shortest perimeter in pixels.
        smooth: whether the filters are applied; they remove lines thinner than two pixels.
    """
    shown = drawn
    if smooth:
        shown = cv2.bilateralFilter(cv2.medianBlur(drawn, MEDIAN), 5, SMOOTHING, SMOOTHING)
    hue, saturation, value = cv2.split(cv2.cvtColor(shown, cv2.COLOR_RGB2HSV))
    wanted = cv2.cvtColor(np.array([[colour]], np.uint8), cv2.COLOR_RGB2HSV)[0, 0]
    turn = np.abs(hue.astype(int) - int(wanted[0]))
    line = (np.minimum(turn, 180 - turn) <= 15) & (saturation >= 90) & (value >= 80)
    if image is not None:
        changed = _distance(shown, image)
        line &= (changed >= 30) & (changed > _distance(shown, np.array(colour)))
    closed = cv2.morphologyEx(line.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    found = []
    for contour in contours:
        left, top, width, height = cv2.boundingRect(contour)
        hull = cv2.contourArea(cv2.convexHull(contour))
        if 2 * (width + height) >= least and hull > EXTENT * (width - 1) * (height - 1):
            found.append((left, top, left + width, top + height))
    return sorted(found, key=lambda box: (box[0] - box[2]) * (box[3] - box[1]))


def _distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Euclidean distance of colours ``[H, W, 3]`` or ``[3]``, ``float[H, W]``."""
    return np.asarray(np.linalg.norm(one.astype(np.float32) - other.astype(np.float32), axis=-1))


def box_overlap(one: Sequence[float] | np.ndarray, other: Sequence[float] | np.ndarray) -> float:
    """Intersection over union, 0..1, of boxes (left, top, right, bottom) in any unit; 0 without an area."""
    across = max(0, min(one[2], other[2]) - max(one[0], other[0]))
    down = max(0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = sum(max(0, box[2] - box[0]) * max(0, box[3] - box[1]) for box in (one, other))
    return float(across * down / (areas - across * down)) if areas else 0.0


def encode_overlay(image: np.ndarray, mask: np.ndarray, colour: Rgb, strength: float = OVERLAY) -> np.ndarray:
    """A copy with a colour over ``bool[H, W]``, of ``strength`` 0..1; the rest is the image's own."""
    drawn = image.copy()
    mixed = (1 - strength) * image[mask].astype(np.float32) + strength * np.array(colour, np.float32)
    drawn[mask] = np.rint(mixed).astype(np.uint8)
    return drawn


def decode_overlay(drawn: np.ndarray, image: np.ndarray, least: float = 60.0) -> np.ndarray:
    """``bool[H, W]``: pixels that differ from the image without overlay by ``least`` or more in a channel."""
    return np.asarray(np.abs(drawn.astype(np.float32) - image.astype(np.float32)).max(2) >= least)


def encode_depth(metres: np.ndarray, far: float = 10.0) -> np.ndarray:
    """Grey ``floor(255 y / far)`` of a depth ``float[H, W]``; what lies farther is white."""
    grey = np.floor(np.clip(metres / far, 0, 1) * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def decode_depth(image: np.ndarray, far: float = 10.0) -> np.ndarray:
    """``float32[H, W]`` in metres, from the mean of the channels; at most ``far / 255`` too small."""
    return (image.astype(np.float32).mean(2) * (far / 255)).astype(np.float32)


def encode_presence(present: bool, colours: tuple[Rgb, Rgb], size: tuple[int, int]) -> np.ndarray:
    """One of two colours, the first for yes, over an image of ``size``, height and width."""
    return np.full((*size, 3), colours[0 if present else 1], np.uint8)


def decode_presence(image: np.ndarray, colours: tuple[Rgb, Rgb]) -> float:
    """0..1, above 0.5 for yes: nearness of the image to the first colour rather than to the second (L1).

    Raises:
        ValueError: both colours are the same.
    """
    if colours[0] == colours[1]:
        raise ValueError(f"the colours for yes and no are both {colours[0]}: name two")
    yes, no = (float(np.abs(image.astype(np.float32) - np.array(colour)).mean()) for colour in colours)
    return no / (yes + no)
