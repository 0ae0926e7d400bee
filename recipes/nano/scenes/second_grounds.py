"""Backgrounds of the second renderer, drawn with Pillow: paper, wood, felt, gradients, lines, none at all."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter


def _plain(height: int, width: int, colour: np.ndarray) -> np.ndarray:
    return np.broadcast_to(colour.astype(np.float32), (height, width, 3)).copy()


def _dull(rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """A grey with a little of a colour, 0..255."""
    return np.clip(rng.uniform(low, high) + rng.uniform(-14, 14, 3), 0, 255)


def _stretched(rng: np.random.Generator, size: tuple[int, int], cells: tuple[int, int]) -> np.ndarray:
    """Smooth noise ``float32[H, W]`` of -1..1, of so many cells down and across."""
    height, width = size
    grid = Image.fromarray(rng.integers(0, 256, cells, dtype=np.uint8))
    return np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC), np.float32) / 127.5 - 1


def _fibres(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Paper with short fibres in it."""
    ground = Image.fromarray(_plain(height, width, _dull(rng, 205, 240)).astype(np.uint8))
    draw = ImageDraw.Draw(ground)
    for _ in range(height * width // 220):
        x, y, turn, length = (
            rng.uniform(0, width),
            rng.uniform(0, height),
            rng.uniform(0, math.pi),
            rng.uniform(2, 9),
        )
        shade = tuple(int(v) for v in np.clip(_dull(rng, 170, 235), 0, 255))
        draw.line((x, y, x + length * math.cos(turn), y + length * math.sin(turn)), fill=shade)
    return np.asarray(ground.filter(ImageFilter.GaussianBlur(0.6)), np.float32)


def _wood(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Planks with grain along them."""
    base = np.array([168, 138, 108]) * rng.uniform(0.75, 1.2) + rng.uniform(-12, 12, 3)
    grain = 14 * _stretched(rng, (height, width), (int(rng.integers(24, 60)), 3))
    grain += 8 * _stretched(rng, (height, width), (height // 2, 2))
    plank = height / rng.uniform(2, 4)
    gaps = (np.arange(height) % plank < 1.2)[:, None] * 40.0
    ground = np.clip(base + (grain - gaps)[..., None], 0, 255).astype(np.float32)
    return ground.transpose(1, 0, 2).copy() if rng.random() < 0.5 and height == width else ground


def _felt(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A dull cloth."""
    weave = rng.normal(0, 5, (height, width)) + 8 * _stretched(rng, (height, width), (5, 5))
    return np.clip(_dull(rng, 90, 200) + weave[..., None], 0, 255).astype(np.float32)


def _radial(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Two dull colours that run into each other around a point."""
    down, across = np.mgrid[0:height, 0:width]
    away = np.hypot(down - rng.uniform(0, height), across - rng.uniform(0, width)) / math.hypot(height, width)
    one, other = _dull(rng, 120, 240), _dull(rng, 120, 240)
    return (one + np.clip(away, 0, 1)[..., None] * (other - one)).astype(np.float32)


def _lines(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A clutter of grey lines and arcs."""
    level = rng.uniform(140, 235)
    ground = Image.fromarray(_plain(height, width, np.full(3, level)).astype(np.uint8))
    draw = ImageDraw.Draw(ground)
    for _ in range(int(rng.integers(8, 26))):
        shade = int(np.clip(level + rng.choice((-1, 1)) * rng.uniform(12, 45), 60, 245))
        x, y, u, v = (rng.uniform(-0.1, 1.1) * side for side in (width, height, width, height))
        thick = int(rng.integers(1, 3))
        if rng.random() < 0.6:
            draw.line((x, y, u, v), fill=(shade,) * 3, width=thick)
        else:
            start = float(rng.uniform(0, 360))
            box = (min(x, u), min(y, v), max(x, u), max(y, v))
            draw.arc(box, start, start + rng.uniform(40, 200), fill=(shade,) * 3, width=thick)
    return np.asarray(ground.filter(ImageFilter.GaussianBlur(0.5)), np.float32)


def _white(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """White, now and then ruled or squared with faint lines."""
    ground = _plain(height, width, np.full(3, rng.uniform(247, 255)))
    if rng.random() < 0.3:
        pitch, shade = int(rng.integers(9, 20)), rng.uniform(5, 18)
        ground[::pitch] -= shade
        if rng.random() < 0.5:
            ground[:, ::pitch] -= shade
    return ground


def _even(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """White, black or any grey."""
    level = (255, 0, int(rng.integers(256)))[int(rng.integers(3))]
    return _plain(height, width, np.full(3, level))


def _coloured(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Any colour."""
    return _plain(height, width, rng.integers(0, 256, 3))


GROUNDS = {
    "second": (_fibres, _wood, _felt, _radial, _lines),
    "paper": (_wood, _felt, _felt, _fibres),
    "flat": (_white,),
    "digital": (_even,),
    "coloured": (_coloured,),
}
"""Style -> painters of ``(rng, height, width)`` that give ``float32[H, W, 3]``, 0..255."""


def paint_ground(rng: np.random.Generator, style: str, height: int, width: int) -> np.ndarray:
    """A background ``float32[H, W, 3]``, 0..255, of a style: a name of :data:`GROUNDS`."""
    painters = GROUNDS[style]
    return painters[int(rng.integers(len(painters)))](rng, height, width)
