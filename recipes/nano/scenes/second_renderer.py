"""A renderer that shares no line with ``painting``: what a model learned from one, it must do on the other.

Five styles: ``second`` (other outlines, textures and backgrounds, soft shadows, blur, noise, JPEG), ``paper``
(shapes cut from coloured paper and photographed at an angle in uneven light), ``flat`` (outlined flat colours
on white), ``digital`` (the colours of CSS and exact edges on white, black or an even grey) and ``coloured``
(the same on an even ground of any colour). Outlines are drawn with Pillow at four times the size.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from recipes.nano.scenes.objects import PURE_COLOURS, SceneObject
from recipes.nano.scenes.scenes import Background, Render, Scene
from recipes.nano.scenes.second_grounds import paint_ground
from recipes.nano.scenes.second_outlines import Outline, draw_outline

SUPERSAMPLING = 4


@dataclass(frozen=True)
class Style:
    """Appearance of objects; pairs are the smallest and the largest value.

    Attributes:
        uneven: how far edges wander, in radii.
        shadow: strength of the shadows, 0..1.
        rim: width of a dark outline in radii; 0 for none.
        tilt: how far a corner of the image moves inwards, as a share of the side.
        light: how much darker the darkest place is, as a share.
        blur: in pixels.
        noise: standard deviation, of 255.
        quality: of JPEG; 100 and above leave it out.
        checked: chance that plain objects have a faint pattern of checks.
        pure: whether the colours are those of CSS.
    """

    uneven: tuple[float, float]
    shadow: tuple[float, float] = (0.0, 0.0)
    rim: tuple[float, float] = (0.0, 0.0)
    tilt: tuple[float, float] = (0.0, 0.0)
    light: tuple[float, float] = (0.0, 0.0)
    blur: tuple[float, float] = (0.0, 0.0)
    noise: tuple[float, float] = (0.0, 0.0)
    quality: tuple[int, int] = (100, 100)
    checked: float = 0.0
    pure: bool = False


_LOOKS: Mapping[str, Style] = MappingProxyType(
    {
        "second": Style(
            uneven=(0.01, 0.045), shadow=(0.0, 0.45), blur=(0.0, 0.7), noise=(0.0, 4.0), quality=(60, 95),
            checked=0.25,
        ),
        "paper": Style(
            uneven=(0.03, 0.06), shadow=(0.3, 0.55), tilt=(0.02, 0.08), light=(0.05, 0.25), blur=(0.4, 0.9),
            noise=(2.0, 6.0), quality=(70, 95),
        ),
        "flat": Style(uneven=(0.0, 0.03), rim=(0.05, 0.12)),
        "digital": Style(uneven=(0.0, 0.0), pure=True),
        "coloured": Style(uneven=(0.0, 0.0), pure=True),
    }
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Tile:
    """One object in one frame.

    Attributes:
        top, left: of the tile in the frame; may be negative.
        cover, inner: ``float32[h, w]``, 0..1: the whole object, and what lies inside of its rim.
        u, v: ``float32[h, w]``, the object's own coordinates in radii.
    """

    top: int
    left: int
    cover: np.ndarray
    inner: np.ndarray
    u: np.ndarray
    v: np.ndarray


def _render(
    style: Style, rng: np.random.Generator, background: np.ndarray, objects: Sequence[SceneObject]
) -> Scene:
    """As :func:`~recipes.nano.scenes.scenes.render`; with a tilt the objects' paths are those that are seen."""
    if style.pure:
        objects = [replace(obj, rgb=PURE_COLOURS[obj.colour]) for obj in objects]
    height, width = background.shape[:2]
    warp = _warp(rng, style, height, width)
    rim, shadow = rng.uniform(*style.rim), rng.uniform(*style.shadow)
    checked = bool(rng.random() < style.checked)
    reach = rng.uniform((-1, -0.4), (1, 1.6))
    outlines: dict[tuple[object, ...], Outline] = {}
    for obj in objects:  # what looks the same has one outline
        look = (obj.shape, obj.rgb, obj.radius, obj.angle)
        if look not in outlines:
            outlines[look] = draw_outline(rng, obj.shape, rng.uniform(*style.uneven))
    finish = _Finish.draw(rng, style, height, width)
    length = len(objects[0].centres)
    frames = np.empty((length, height, width, 3), np.uint8)
    ids = np.zeros((length, height, width), np.uint8)
    visibility = np.zeros((length, len(objects)), np.float32)
    for t in range(length):
        canvas, whole = background.copy(), []
        for number, obj in enumerate(objects, start=1):
            outline = outlines[obj.shape, obj.rgb, obj.radius, obj.angle]
            tile = _tile(obj, t, outline, warp, rim)
            _cast(canvas, tile, reach * obj.radius * 0.16, shadow, obj.radius)
            whole.append(_put(canvas, ids[t], number, tile, _surface(obj, tile, checked, rim > 0)))
        seen = np.bincount(ids[t].ravel(), minlength=len(objects) + 1)[1:]
        visibility[t] = seen / np.maximum(whole, 1)
        frames[t] = finish(rng, canvas)
    shown = tuple(replace(obj, centres=_apply(warp, obj.centres)) for obj in objects)
    return Scene(frames, ids, shown, visibility)


def _warp(rng: np.random.Generator, style: Style, height: int, width: int) -> np.ndarray:
    """``float[3, 3]`` homography that moves each corner of the frame inwards."""
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], float)
    inwards = rng.uniform(*style.tilt, (4, 2)) * (width, height) * [(1, 1), (-1, 1), (-1, -1), (1, -1)]
    rows, wanted = [], []
    for (x, y), (u, v) in zip(corners, corners + inwards, strict=True):
        rows += [(x, y, 1, 0, 0, 0, -u * x, -u * y), (0, 0, 0, x, y, 1, -v * x, -v * y)]
        wanted += [u, v]
    return np.append(np.linalg.solve(np.array(rows), np.array(wanted)), 1.0).reshape(3, 3)


def _apply(warp: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points ``float[N, 2]`` by a homography."""
    seen = np.column_stack([points, np.ones(len(points))]) @ warp.T
    moved: np.ndarray = seen[:, :2] / seen[:, 2:]
    return moved


def _tile(obj: SceneObject, t: int, outline: Outline, warp: np.ndarray, rim: float) -> _Tile:
    turn = np.array([[math.cos(obj.angle), math.sin(obj.angle)], [-math.sin(obj.angle), math.cos(obj.angle)]])
    centre = obj.centres[t]

    def placed(contour: np.ndarray) -> np.ndarray:
        return _apply(warp, contour @ turn * obj.radius + centre)

    solids, holes = (list(map(placed, part)) for part in (outline.solids, outline.holes))
    corners = np.concatenate(solids)
    left, top = (math.floor(value) - 1 for value in corners.min(axis=0))
    right, bottom = (math.ceil(value) + 2 for value in corners.max(axis=0))
    size = (right - left, bottom - top)
    large = Image.new("L", (size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING))
    draw = ImageDraw.Draw(large)
    for parts, value in ((solids, 255), (holes, 0)):
        for contour in parts:
            draw.polygon(
                [tuple(p) for p in ((contour - (left, top)) * SUPERSAMPLING - 0.5).tolist()], fill=value
            )
    inner = large
    if rim:
        steps = max(1, round(rim * obj.radius * SUPERSAMPLING))
        inner = large.filter(ImageFilter.MinFilter(2 * steps + 1))
    cover, inside = (
        np.asarray(part.resize(size, Image.Resampling.BOX), np.float32) / 255 for part in (large, inner)
    )
    middle = _apply(warp, centre[None])[0]
    across = (np.arange(left, right, dtype=np.float32) + 0.5 - middle[0])[None] / obj.radius
    down = (np.arange(top, bottom, dtype=np.float32) + 0.5 - middle[1])[:, None] / obj.radius
    u = across * math.cos(obj.angle) + down * math.sin(obj.angle)
    v = down * math.cos(obj.angle) - across * math.sin(obj.angle)
    return _Tile(top, left, cover, inside, u.astype(np.float32), v.astype(np.float32))


def _surface(obj: SceneObject, tile: _Tile, checked: bool, outlined: bool) -> np.ndarray:
    """``float32[h, w, 3]``: colour, texture and outline."""
    base = np.array(obj.rgb, np.float32)
    bright = float(base @ (0.299, 0.587, 0.114)) > 120
    accent = base * 0.55 if bright else base + (255 - base) * 0.55
    if obj.texture == "striped":  # hatching
        share = np.clip((0.12 - np.abs((tile.u + tile.v) % 0.5 - 0.25)) * obj.radius + 0.5, 0, 1)
    elif obj.texture == "dotted":  # in staggered rows
        row = np.floor(tile.v / 0.46)
        du, dv = (tile.u + 0.25 * (row % 2)) % 0.5 - 0.25, tile.v - (row + 0.5) * 0.46
        share = np.clip((0.15 - np.hypot(du, dv)) * obj.radius + 0.5, 0, 1)
    elif checked:
        share = 0.14 * ((np.floor(tile.u / 0.35) + np.floor(tile.v / 0.35)) % 2)
    else:
        share = np.zeros_like(tile.u)
    surface: np.ndarray = base + (share * np.minimum(1, tile.inner))[..., None] * (accent - base)
    if outlined:
        surface = np.array([38, 38, 42], np.float32) + tile.inner[..., None] * (surface - (38, 38, 42))
    return surface.astype(np.float32)


def _window(shape: tuple[int, ...], top: int, left: int, size: tuple[int, ...]) -> tuple[slice, ...]:
    """Rows and columns of a frame that a tile lies on, and those of the tile."""
    rows = slice(max(0, top), max(0, min(shape[0], top + size[0])))
    columns = slice(max(0, left), max(0, min(shape[1], left + size[1])))
    shown = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
    return (rows, columns, *shown)


def _cast(canvas: np.ndarray, tile: _Tile, shift: np.ndarray, strength: float, radius: float) -> None:
    """Darkens what lies in the shadow of a tile."""
    if not strength:
        return
    soft = 0.07 * radius + 0.6
    margin = math.ceil(3 * soft)
    shadow = Image.fromarray((np.pad(tile.cover, margin) * 255).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(soft)
    )
    top, left = tile.top - margin + round(shift[1]), tile.left - margin + round(shift[0])
    rows, columns, down, across = _window(canvas.shape, top, left, shadow.size[::-1])
    if rows.start < rows.stop and columns.start < columns.stop:
        part = np.asarray(shadow, np.float32)[down, across, None] / 255
        canvas[rows, columns] *= 1 - strength * part


def _put(canvas: np.ndarray, ids: np.ndarray, number: int, tile: _Tile, surface: np.ndarray) -> int:
    """Paints a tile; returns the pixels of the whole object."""
    inside = tile.cover >= 0.5
    rows, columns, down, across = _window(canvas.shape, tile.top, tile.left, tile.cover.shape)
    if rows.start < rows.stop and columns.start < columns.stop:
        canvas[rows, columns] += tile.cover[down, across, None] * (
            surface[down, across] - canvas[rows, columns]
        )
        ids[rows, columns][inside[down, across]] = number
    return int(inside.sum())


@dataclass(frozen=True, eq=False)
class _Finish:
    """Effects on a whole frame: light, blur, noise, compression."""

    light: np.ndarray
    blur: float
    noise: float
    quality: int

    @classmethod
    def draw(cls, rng: np.random.Generator, style: Style, height: int, width: int) -> _Finish:
        """The same for all frames of a scene."""
        darkest, turn = rng.uniform(*style.light), rng.uniform(0, 2 * math.pi)
        down, across = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
        along = 0.5 + 0.7 * ((across - 0.5) * math.cos(turn) + (down - 0.5) * math.sin(turn))
        tint = 1 + rng.uniform(-0.3, 0.3, 3) * darkest * 0.5  # lamps are a little warm or cold
        light = (1 - darkest * np.clip(along, 0, 1)[..., None]) * tint
        blur, noise = rng.uniform(*style.blur), rng.uniform(*style.noise)
        quality = int(rng.integers(style.quality[0], style.quality[1] + 1))
        return cls(light.astype(np.float32), blur, noise, quality)

    def __call__(self, rng: np.random.Generator, canvas: np.ndarray) -> np.ndarray:
        """``uint8[H, W, 3]`` of ``float32[H, W, 3]``."""
        lit = canvas * self.light
        if self.noise:
            lit = lit + rng.normal(0, self.noise, lit.shape)
        image = Image.fromarray(np.clip(np.rint(lit), 0, 255).astype(np.uint8))
        if self.blur:
            image = image.filter(ImageFilter.GaussianBlur(self.blur))
        if self.quality < 100:
            stored = io.BytesIO()
            image.save(stored, "JPEG", quality=self.quality)
            image = Image.open(stored)
        return np.asarray(image)


def _ground(style: str, rng: np.random.Generator, kind: str, height: int, width: int) -> np.ndarray:
    """Of the style, whatever kind the own renderer would paint."""
    return paint_ground(rng, style, height, width)


STYLES: Mapping[str, tuple[Background, Render]] = MappingProxyType(
    {name: (partial(_ground, name), partial(_render, style)) for name, style in _LOOKS.items()}
)
"""Name -> what :func:`~recipes.nano.scenes.scenes.draw_scene` takes to draw in that style."""
