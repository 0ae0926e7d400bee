"""Paints backgrounds and objects, anti-aliased, in plain numpy and OpenCV."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable, Sequence
from types import MappingProxyType

import numpy as np

from recipes.nano.scenes.objects import SHAPES, SceneObject

SUPERSAMPLING = 4
_FRACTION_BITS = 4
_RIM = 0.1
_INK = (24, 24, 26)


def paint_object(frame: np.ndarray, ids: np.ndarray, number: int, obj: SceneObject, t: int) -> int:
    """Paints one object over what is there.

    Args:
        frame: ``float32[H, W, 3]``, 0..255, changed in place.
        ids: ``uint8[H, W]``, set to ``number`` where the object covers at least half of a pixel.
        number: 1..255.

    Returns:
        Pixels of the whole object, hidden and outside ones included.
    """
    import cv2

    x, y = obj.centres[t]
    shape = SHAPES[obj.shape]
    half = shape.reach * obj.radius + 1
    left, top = math.floor(x - half), math.floor(y - half)
    side = math.ceil(2 * half) + 1
    turn = np.array([[math.cos(obj.angle), math.sin(obj.angle)], [-math.sin(obj.angle), math.cos(obj.angle)]])
    # OpenCV counts from pixel centres, we count from the corner of the first pixel
    contours = [
        ((c @ turn * obj.radius + (x - left, y - top)) * SUPERSAMPLING - 0.5) * 2**_FRACTION_BITS
        for c in shape.contours
    ]
    canvas = np.zeros((side * SUPERSAMPLING, side * SUPERSAMPLING), np.uint8)
    cv2.fillPoly(canvas, [c.round().astype(np.int32) for c in contours], 255, shift=_FRACTION_BITS)
    cover = cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA)
    whole = int((cover >= 128).sum())
    height, width = ids.shape
    rows = slice(max(0, top), min(height, top + side))
    columns = slice(max(0, left), min(width, left + side))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return whole
    # a plain rim keeps the outline of a textured object legible
    inner = _inside(cover, _RIM * obj.radius)
    shown = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
    alpha, textured = (part[shown][..., None] / np.float32(255) for part in (cover, inner))
    surface = _surface(obj, x, y, rows, columns, textured)
    if obj.rim:
        line = 1 - _inside(cover, obj.rim * obj.radius)[shown][..., None] / np.float32(255)
        surface = surface + line * (np.asarray(_INK, np.float32) - surface)
    frame[rows, columns] += alpha * (surface - frame[rows, columns])
    ids[rows, columns][cover[shown] >= 128] = number
    return whole


def _inside(cover: np.ndarray, width: float) -> np.ndarray:
    """``uint8[h, w]``: what lies farther from the edge than ``width`` pixels, and than one."""
    import cv2

    inside: np.ndarray = cv2.erode(cover, np.ones((3, 3), np.uint8), iterations=max(1, round(width)))
    return inside


def _surface(
    obj: SceneObject, x: float, y: float, rows: slice, columns: slice, textured: np.ndarray
) -> np.ndarray:
    """``float32[h, w, 3]``: the object's colour lit from above, with as much texture as ``textured`` says."""
    across = ((np.arange(columns.start, columns.stop) + 0.5 - x) / obj.radius).astype(np.float32)[None]
    down = ((np.arange(rows.start, rows.stop) + 0.5 - y) / obj.radius).astype(np.float32)[:, None]
    base = np.asarray(obj.rgb, np.float32)
    surface: np.ndarray = np.broadcast_to(base, (down.shape[0], across.shape[1], 3))
    if obj.texture != "plain":
        u = across * math.cos(obj.angle) + down * math.sin(obj.angle)
        v = down * math.cos(obj.angle) - across * math.sin(obj.angle)
        share = textured * _TEXTURES[obj.texture](u, v, obj.radius)[..., None]
        surface = base + share * (_accent(base) - base)
    if not obj.shaded:
        return surface
    shade = 1 - 0.1 * (across * 0.6 + down * 0.8)
    return np.clip(surface * shade[..., None], 0, 255)


def _accent(base: np.ndarray) -> np.ndarray:
    """A shade of the same colour that stands out from it: darker if it is bright, brighter if not."""
    bright = float(base @ (0.299, 0.587, 0.114)) > 120
    return base * 0.5 if bright else base + (255 - base) * 0.6


def _stripes(u: np.ndarray, v: np.ndarray, radius: float) -> np.ndarray:
    period = 0.56
    distance = np.abs((u + v * 0 + period / 4) % period - period / 2) - period * 0.31
    return np.clip(distance * radius + 0.5, 0, 1)


def _dots(u: np.ndarray, v: np.ndarray, radius: float) -> np.ndarray:
    pitch = 0.58
    du, dv = (u + pitch / 2) % pitch - pitch / 2, (v + pitch / 2) % pitch - pitch / 2
    return np.clip((pitch * 0.32 - np.hypot(du, dv)) * radius + 0.5, 0, 1)


_TEXTURES = {"striped": _stripes, "dotted": _dots}


def paint_background(
    rng: np.random.Generator, kind: str, height: int, width: int, photos: Sequence[np.ndarray] = ()
) -> np.ndarray:
    """A background ``float32[H, W, 3]``, 0..255.

    Args:
        kind: a name of :data:`BACKGROUNDS`, or ``photo``.
        height: in pixels.
        width: in pixels.
        photos: ``uint8[h, w, 3]`` RGB each; one of them is cropped for ``photo``.
    """
    if kind == "photo":
        return _photo(rng, photos[int(rng.integers(len(photos)))], height, width)
    down, across = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j].astype(np.float32)
    return BACKGROUNDS[kind](rng, down, across)


def paint_even_ground(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """White, black, any grey between or any colour, the same all over: ``float32[H, W, 3]``, 0..255."""
    colour = 255 * np.array(colorsys.hsv_to_rgb(*rng.uniform((0, 0.2, 0.15), 1)))
    level = (255.0, 0.0, rng.uniform(0, 255), colour)[int(rng.choice(4, p=[0.25, 0.12, 0.23, 0.4]))]
    return np.full((height, width, 3), level, np.float32)


def _dull(rng: np.random.Generator, value: tuple[float, float] = (0.25, 0.95)) -> np.ndarray:
    """A colour weak enough not to be taken for one of the objects' ones, ``float32[3]``, 0..255."""
    tint = rng.uniform(0, 1, 3)
    strength = rng.uniform(0, 0.38)
    level = rng.uniform(*value)
    return (255 * level * (1 - strength * tint)).astype(np.float32)


def _mix(share: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return one + np.clip(share, 0, 1)[..., None] * (other - one)


def _white(rng: np.random.Generator, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    return np.full((*down.shape, 3), rng.uniform(248, 255), np.float32)


def _flat(rng: np.random.Generator, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    return np.broadcast_to(_dull(rng), (*down.shape, 3)).copy()


def _gradient(rng: np.random.Generator, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    turn = rng.uniform(0, 2 * math.pi)
    share = 0.5 + (down - 0.5) * math.sin(turn) + (across - 0.5) * math.cos(turn)
    return _mix(share, _dull(rng), _dull(rng))


def _noise(rng: np.random.Generator, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    import cv2

    height, width = down.shape
    cells = rng.uniform(0, 1, (int(rng.integers(4, 12)), int(rng.integers(4, 12)))).astype(np.float32)
    share = cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)
    grain = rng.uniform(-0.5, 0.5, (height, width)) * rng.uniform(0, 0.5)
    return _mix((share + grain).astype(np.float32), _dull(rng), _dull(rng))


def _bars(rng: np.random.Generator, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    turn, bars = rng.uniform(0, math.pi), rng.uniform(4, 12)
    wave = np.sin((down * math.sin(turn) + across * math.cos(turn)) * bars * 2 * math.pi)
    one = _dull(rng)
    return _mix(0.5 + wave * rng.uniform(0.5, 2), one, one * rng.uniform(0.78, 0.92))


def _horizon(rng: np.random.Generator, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    line = rng.uniform(0.3, 0.75) + (across - 0.5) * rng.uniform(-0.15, 0.15)
    sky, ground = _dull(rng, (0.65, 0.95)), _dull(rng, (0.25, 0.6))
    ground_share = (down - line) * down.shape[0] + 0.5
    return _mix(ground_share, sky * (0.85 + 0.15 * down[..., None]), ground * (0.8 + 0.25 * down[..., None]))


def _photo(rng: np.random.Generator, photo: np.ndarray, height: int, width: int) -> np.ndarray:
    import cv2

    scale = min(photo.shape[0] / height, photo.shape[1] / width) * rng.uniform(0.5, 1)
    h, w = max(1, int(height * scale)), max(1, int(width * scale))
    top, left = (int(rng.integers(0, size + 1)) for size in (photo.shape[0] - h, photo.shape[1] - w))
    crop = np.ascontiguousarray(photo[top : top + h, left : left + w], np.float32)
    return cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR)


Painter = Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray]

BACKGROUNDS: MappingProxyType[str, Painter] = MappingProxyType(
    {
        "white": _white,
        "flat": _flat,
        "gradient": _gradient,
        "noise": _noise,
        "stripes": _bars,
        "horizon": _horizon,
    }
)
"""Name -> painter of ``(rng, down, across)``, the coordinates ``float32[H, W]`` running from 0 to 1."""
