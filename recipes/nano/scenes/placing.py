"""Samples objects and trajectories that are visible and stand out from the background."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from recipes.nano.scenes.casting import PLOTS, Looks, Role, edge_path
from recipes.nano.scenes.objects import COLOURS, MOTIONS, PURE_COLOURS, SHAPES, SIZES, SceneObject
from recipes.nano.scenes.scene_config import SceneConfig

_LAYOUTS, _PLACES = 20, 60
# perceptual distance (CIE Lab) within which a colour gets lost before another, and the share of a
# background that may lie so close to an object's colour
_LOST, _LOST_SHARE = 30.0, 0.04
# in a fine scene: share of objects that are small, and ratio of their radii to that of the scene
_ALIKE, _SPREAD = 0.9, (0.8, 1.25)


def place_objects(rng: np.random.Generator, config: SceneConfig, background: np.ndarray) -> list[SceneObject]:
    """Objects of colours that ``background`` leaves visible, the farthest first, as the configuration says.

    Args:
        background: ``float32[H, W, 3]``, 0..255.

    Raises:
        ValueError: the configuration leaves no room for its smallest number of objects.
    """
    height, width = background.shape[:2]
    lost = _lost_shares(background, config.colours)
    place = _lay_out if config.purpose == "any" else _play
    for _ in range(_LAYOUTS):
        objects = place(rng, config, (width, height), lost)
        if len(objects) >= config.objects[0]:
            return objects
    raise ValueError(
        f"no room for {config.objects[0]} objects in a frame of {height} x {width}: lower objects or radius"
    )


def choice(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
    """One of the names, each as likely as its weight."""
    total = np.cumsum(list(weights.values()))
    return list(weights)[int(np.searchsorted(total, rng.random() * total[-1], side="right"))]


def _lost_shares(background: np.ndarray, colours: Sequence[str]) -> dict[str, float]:
    """Colour -> share of the background before which it would be hard to see."""
    import cv2

    sampled = cv2.resize(background, (32, 32), interpolation=cv2.INTER_NEAREST) / np.float32(255)
    seen = cv2.cvtColor(sampled, cv2.COLOR_RGB2LAB)
    named = np.array([[COLOURS[c] for c in colours]], np.float32) / np.float32(255)
    apart = seen[:, :, None] - cv2.cvtColor(named, cv2.COLOR_RGB2LAB)[0]
    shares = (np.linalg.norm(apart, axis=-1) < _LOST).mean(axis=(0, 1))
    return dict(zip(colours, shares.tolist(), strict=True))


def _lay_out(
    rng: np.random.Generator, config: SceneConfig, size: tuple[int, int], lost: Mapping[str, float]
) -> list[SceneObject]:
    objects: list[SceneObject] = []
    for _ in range(int(rng.integers(config.objects[0], config.objects[1] + 1))):
        colour, shape = _pair(rng, config, objects, lost)
        for _ in range(_PLACES):
            obj = _draw_object(rng, config, size, colour, shape)
            if obj is not None and all(_apart(obj, other, config.overlap) for other in objects):
                objects.append(obj)
                break
    # the first one drawn is not always the farthest
    return [objects[i] for i in rng.permutation(len(objects))]


def _play(
    rng: np.random.Generator, config: SceneConfig, size: tuple[int, int], lost: Mapping[str, float]
) -> list[SceneObject]:
    """The objects of a plot; none where one of them found no place."""
    first, rest = (_legible(config.pairs(held), lost) for held in (config.held_out, False))
    roles = PLOTS[config.purpose](Looks(rng, first, rest or first, config.textures, config.objects))
    objects: list[SceneObject] = []
    for role in roles:
        twin = objects[role.twin] if role.twin is not None else None
        for _ in range(_PLACES):
            obj = _draw_object(rng, config, size, role.colour, role.shape, role, twin)
            if obj is not None and all(_apart(obj, other, config.overlap) for other in objects):
                objects.append(obj)
                break
        else:
            return []
    return [objects[i] for i in rng.permutation(len(objects))]


def _legible(pairs: Sequence[tuple[str, str]], lost: Mapping[str, float]) -> list[tuple[str, str]]:
    """Colours that stand out from the background, or those that do most on a photo."""
    legible = [p for p in pairs if lost[p[0]] <= _LOST_SHARE]
    if not legible and pairs:
        least = min(lost[c] for c, _ in pairs)
        legible = [p for p in pairs if lost[p[0]] == least]
    return legible


def _pair(
    rng: np.random.Generator, config: SceneConfig, objects: Sequence[SceneObject], lost: Mapping[str, float]
) -> tuple[str, str]:
    """Colour and shape of the next object: legible, and often related to an object already there."""
    pairs = config.pairs(held_out=config.held_out and not objects)
    legible = _legible(pairs, lost)
    if objects and rng.random() < config.related:
        other = objects[int(rng.integers(len(objects)))]
        parts = [(0,), (1,), (0, 1)][int(rng.choice(3, p=[0.4, 0.4, 0.2]))]
        alike = [p for p in legible if all(p[i] == (other.colour, other.shape)[i] for i in parts)]
        legible = alike or legible
    return legible[int(rng.integers(len(legible)))]


def _draw_object(
    rng: np.random.Generator,
    config: SceneConfig,
    size: tuple[int, int],
    colour: str,
    shape: str,
    role: Role | None = None,
    twin: SceneObject | None = None,
) -> SceneObject | None:
    """An object on a path inside the frame, or as its role says; none where the frame is too small."""
    role = role or Role(colour, shape)
    side = min(size)
    size_name, share = _size(rng, config, role.size)
    radius = side * share
    if twin is not None:
        radius = twin.radius
    motion, step = "still", (0.0, 0.0)
    if config.frames > 1 and (role.motion or rng.random() >= config.still):
        moving = [name for name in MOTIONS if name != "still"]
        motion = role.motion or moving[int(rng.integers(len(moving)))]
        step = MOTIONS[motion][int(rng.integers(len(MOTIONS[motion])))]
    travel = rng.uniform(config.travel[0], config.travel[1]) if role.speed is None else role.speed
    path = side * travel * np.array(step)
    margin = 0.9 * SHAPES[shape].reach * radius + np.abs(path) / 2
    room = np.array(size) - 2 * margin
    along = np.linspace(-0.5, 0.5, config.frames) if config.frames > 1 else np.zeros(1)
    if role.edge:
        centres = edge_path(rng, role, size, radius, along)
    elif room.min() < 0:
        centres = None
    else:
        centres = margin + rng.uniform(0, 1, 2) * room + along[:, None] * path
    if centres is None:
        return None
    if twin is not None:
        return replace(twin, motion=motion, centres=centres)
    tilt = math.radians(SHAPES[shape].tilt)
    return SceneObject(
        colour=colour,
        shape=shape,
        size=size_name,
        texture=(role.texture or choice(rng, config.textures)) if SHAPES[shape].textured else "plain",
        motion=motion,
        rgb=_own_colour(rng, colour),
        radius=float(radius),
        angle=float(rng.uniform(-tilt, tilt)),
        centres=centres,
    )


def _size(rng: np.random.Generator, config: SceneConfig, given: str | None) -> tuple[str, float]:
    """Name of a size, ``given`` where there is one, and a radius of it as a share of the shorter side."""
    if config.around and given is None and rng.random() < _ALIKE:
        return "small", float(np.clip(config.around * rng.uniform(*_SPREAD), config.finest, config.small_end))
    name = given or choice(rng, {"small": 0.35, "medium": 0.4, "big": 0.25})
    band = rng.uniform(*SIZES[name])
    return name, float(config.radius[0] * (config.radius[1] / config.radius[0]) ** band)


def _own_colour(rng: np.random.Generator, colour: str) -> tuple[float, float, float]:
    """An RGB close to the named one: hue within 5 degrees, a strong colour paler or darker by an eighth."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(c / 255 for c in COLOURS[colour]))
    hue = (hue + rng.uniform(-0.014, 0.014)) % 1
    value *= 1 - 0.125 * saturation * rng.random()  # white stays white
    saturation *= rng.uniform(0.875, 1)
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return 255 * red, 255 * green, 255 * blue


def as_programs_draw(
    rng: np.random.Generator, objects: Sequence[SceneObject], ground: float
) -> list[SceneObject]:
    """The same objects with purer colours, unlit, and with lines around them if so drawn."""
    share = rng.uniform(0, 1)
    rim = rng.uniform(0.05, 0.14) if ground > 100 and rng.random() < 0.5 else 0.0
    drawn = []
    for obj in objects:
        rgb = tuple(
            own + share * (pure - own) for own, pure in zip(obj.rgb, PURE_COLOURS[obj.colour], strict=True)
        )
        drawn.append(replace(obj, rgb=rgb, shaded=False, rim=rim))  # type: ignore[arg-type]
    return drawn


def _apart(one: SceneObject, other: SceneObject, overlap: float) -> bool:
    """Whether two paths keep their distance, in the middle frame and, more loosely, in the others."""
    distance = np.hypot(*(one.centres - other.centres).T) / (one.radius + other.radius)
    return bool(distance.min() >= 1.1 - 2 * overlap and distance[len(distance) // 2] >= 1.1 - overlap)
