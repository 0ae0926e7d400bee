"""Draws scenes of simple things of which everything is known: what they are, where, and how they move."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np

from instructseg.data.casting import CLIP_PLOTS, PLOTS, Looks, Role, edge_path
from instructseg.data.objects import (
    COLOURS,
    HELD_OUT,
    MOTIONS,
    PURE_COLOURS,
    SHAPES,
    SIZES,
    TEXTURES,
    SceneObject,
)
from instructseg.data.painting import BACKGROUNDS, paint_background, paint_even_ground, paint_object

_LAYOUTS, _PLACES = 20, 60
# perceptual distance (CIE Lab) within which a colour gets lost before another, and the share of a
# background that may lie so close to an object's colour
_LOST, _LOST_SHARE = 30.0, 0.04


MIN_SPAN = 2.5
"""Smallest ratio of the largest radius to the smallest for which small, medium and big are told apart."""


@dataclass(frozen=True)
class SceneConfig:
    """What scenes look like. Pairs are the smallest and the largest value, both included.

    Attributes:
        height: of the frames, in pixels.
        width: of the frames, in pixels.
        max_aspect: longer side over shorter side.
        frames: of a scene; 1 is an image, where nothing moves.
        objects: how many; a scene without room for what was drawn has fewer, but not below the smallest.
        radius: of an object, as a share of the shorter side; they differ by ``MIN_SPAN`` at least.
        overlap: how far two objects may run into each other in the middle frame, as a share of the sum
            of their radii; twice as far in the others.
        travel: of a moving object over the whole clip, as a share of the shorter side.
        still: chance that an object of a clip stays where it is.
        related: chance that an object takes its colour, its shape or both from an earlier one.
        colours: names of :data:`~instructseg.data.objects.COLOURS`.
        shapes: names of :data:`~instructseg.data.objects.SHAPES`.
        textures: name -> weight; a shape without room for one stays plain.
        backgrounds: name -> weight; ``photo`` counts where there are ``photos``.
        photos: ``uint8[h, w, 3]`` RGB each.
        digital: share of scenes that look as if made with a drawing program: an even ground, colours on the
            way to those of CSS, no light, and lines around half of what stands on a bright ground.
        purpose: what the scene is for: ``any``, or a name of :data:`~instructseg.data.casting.PLOTS`, which
            settle looks and motions; ``objects`` then bounds how many where the purpose leaves a choice.
        held_out: false never draws a pair of :data:`~instructseg.data.objects.HELD_OUT`; true draws one
            in every scene.

    Raises:
        ValueError: on an unknown name or an empty range.
    """

    height: Sequence[int] = (96, 192)
    width: Sequence[int] = (96, 192)
    max_aspect: float = 1.6
    frames: int = 1
    objects: Sequence[int] = (2, 5)
    radius: Sequence[float] = (0.08, 0.27)
    overlap: float = 0.12
    travel: Sequence[float] = (0.2, 0.5)
    still: float = 0.25
    related: float = 0.5
    colours: Sequence[str] = tuple(COLOURS)
    shapes: Sequence[str] = tuple(SHAPES)
    textures: Mapping[str, float] = field(default_factory=lambda: {"plain": 0.6, "striped": 0.2, "dotted": 0.2})
    backgrounds: Mapping[str, float] = field(
        default_factory=lambda: {**dict.fromkeys(BACKGROUNDS, 1.0), "photo": 4.0}
    )
    photos: Sequence[np.ndarray] = field(default=(), repr=False, compare=False)
    digital: float = 0.0
    purpose: str = "any"
    held_out: bool = False

    def __post_init__(self) -> None:
        for name, lowest in (("height", 32), ("width", 32), ("objects", 1), ("radius", 0.02), ("travel", 0)):
            value = getattr(self, name)
            if len(value) != 2 or not lowest <= value[0] <= value[1]:
                raise ValueError(f"{name} must be two rising numbers of at least {lowest}, got {value}")
        if self.radius[1] < MIN_SPAN * self.radius[0]:
            raise ValueError(f"the largest radius must be {MIN_SPAN} times the smallest, got {self.radius}")
        if not 0 <= self.digital <= 1:
            raise ValueError(f"digital must be a share of 0 to 1, got {self.digital}")
        if self.frames < 1:
            raise ValueError(f"frames must be at least 1, got {self.frames}")
        if self.objects[1] > 254:
            raise ValueError(f"objects must be at most 254, got {self.objects[1]}")
        if self.max_aspect < max(self.height[0] / self.width[1], self.width[0] / self.height[1], 1):
            raise ValueError(f"no frame of these heights and widths has max_aspect {self.max_aspect}")
        for name, known in (
            ("colours", COLOURS),
            ("shapes", SHAPES),
            ("textures", TEXTURES),
            ("backgrounds", [*BACKGROUNDS, "photo"]),
        ):
            chosen = getattr(self, name)
            if not chosen or set(chosen) - set(known):
                raise ValueError(f"{name} must be some of {', '.join(known)}, got {', '.join(chosen)}")
        if self.purpose not in ("any", *PLOTS):
            raise ValueError(f"purpose must be any or one of {', '.join(PLOTS)}, got {self.purpose}")
        if self.purpose in CLIP_PLOTS and self.frames < 2:
            raise ValueError(f"the purpose {self.purpose} needs at least 2 frames, got {self.frames}")
        if not self.background_weights():
            raise ValueError("backgrounds has only photo, but there are no photos")
        if not self.pairs(self.held_out):
            where = "in" if self.held_out else "outside"
            raise ValueError(f"the colours and shapes leave no pair {where} HELD_OUT")

    def background_weights(self) -> dict[str, float]:
        """Those of ``backgrounds`` that can be painted."""
        return {name: w for name, w in self.backgrounds.items() if name != "photo" or len(self.photos)}

    def pairs(self, held_out: bool) -> list[tuple[str, str]]:
        """The configuration's pairs of colour and shape in, or outside, ``HELD_OUT``."""
        return [p for p in product(self.colours, self.shapes) if (p in HELD_OUT) == held_out]


@dataclass(frozen=True, eq=False)
class Scene:
    """A clip (an image where ``T = 1``) with its truth.

    Attributes:
        frames: ``uint8[T, H, W, 3]`` RGB.
        ids: ``uint8[T, H, W]``: 0 on the background, ``i + 1`` on the visible part of ``objects[i]``.
        objects: from the farthest to the nearest.
        visibility: ``float32[T, N]``, visible share of each object, 0..1; what lies outside the frame is
            not visible.
    """

    frames: np.ndarray
    ids: np.ndarray
    objects: tuple[SceneObject, ...]
    visibility: np.ndarray

    def window(self, frames: Sequence[int]) -> Scene:
        """The same scene with these of its frames alone."""
        chosen = list(frames)
        objects = tuple(replace(thing, centres=thing.centres[chosen]) for thing in self.objects)
        return Scene(self.frames[chosen], self.ids[chosen], objects, self.visibility[chosen])

    def mask(self, i: int, t: int) -> np.ndarray:
        """``uint8[H, W]``, 1 on the visible part of ``objects[i]`` in frame ``t``."""
        return (self.ids[t] == i + 1).astype(np.uint8)

    def area(self, i: int, t: int) -> int:
        """Visible pixels of ``objects[i]`` in frame ``t``."""
        return int(np.count_nonzero(self.ids[t] == i + 1))


def render(background: np.ndarray, objects: Sequence[SceneObject]) -> Scene:
    """Paints objects, the first one farthest, on a background at each frame of their paths.

    Args:
        background: ``float32[H, W, 3]``, 0..255.
        objects: at least one, with paths of the same length.
    """
    length = len(objects[0].centres)
    frames = np.empty((length, *background.shape), np.uint8)
    ids = np.zeros((length, *background.shape[:2]), np.uint8)
    visibility = np.zeros((length, len(objects)), np.float32)
    for t in range(length):
        canvas = background.copy()
        whole = [paint_object(canvas, ids[t], i + 1, thing, t) for i, thing in enumerate(objects)]
        seen = np.bincount(ids[t].ravel(), minlength=len(objects) + 1)[1:]
        visibility[t] = seen / np.maximum(whole, 1)
        frames[t] = np.rint(canvas)
    return Scene(frames, ids, tuple(objects), visibility)


Background = Callable[[np.random.Generator, str, int, int], np.ndarray]
Render = Callable[[np.random.Generator, np.ndarray, Sequence[SceneObject]], Scene]


def draw_scene(
    rng: np.random.Generator,
    config: SceneConfig,
    background_of: Background | None = None,
    rendered: Render | None = None,
) -> Scene:
    """Draws a scene; a function of the generator's state and the configuration alone.

    Args:
        rng: source of the draw.
        config: what it looks like.
        background_of: paints ``float32[H, W, 3]`` of a kind, a height and a width instead of
            :func:`~instructseg.data.painting.paint_background`.
        rendered: paints the objects on it instead of :func:`render`.

    Raises:
        ValueError: the configuration leaves no room for its smallest number of objects.
    """
    height, width = _frame_size(rng, config)
    kind = _choice(rng, config.background_weights())
    # no draw where it cannot be one: scenes of a seed stay what they were
    digital = background_of is None and bool(config.digital) and rng.random() < config.digital
    if digital:
        background = paint_even_ground(rng, height, width)
    elif background_of is None:
        background = paint_background(rng, kind, height, width, config.photos)
    else:
        background = background_of(rng, kind, height, width)
    lost = _lost_shares(background, config.colours)
    for _ in range(_LAYOUTS):
        if config.purpose == "any":
            objects = _lay_out(rng, config, (width, height), lost)
        else:
            objects = _play(rng, config, (width, height), lost)
        if len(objects) >= config.objects[0]:
            if digital:
                objects = _as_programs_draw(rng, objects, float(background.mean()))
            return render(background, objects) if rendered is None else rendered(rng, background, objects)
    raise ValueError(
        f"no room for {config.objects[0]} objects in a frame of {height} x {width}: lower objects or radius"
    )


def _frame_size(rng: np.random.Generator, config: SceneConfig) -> tuple[int, int]:
    while True:
        height = int(rng.integers(config.height[0], config.height[1] + 1))
        width = int(rng.integers(config.width[0], config.width[1] + 1))
        if max(height, width) <= config.max_aspect * min(height, width):
            return height, width


def _choice(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
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
            thing = _draw_object(rng, config, size, colour, shape)
            if thing is not None and all(_apart(thing, other, config.overlap) for other in objects):
                objects.append(thing)
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
            thing = _draw_object(rng, config, size, role.colour, role.shape, role, twin)
            if thing is not None and all(_apart(thing, other, config.overlap) for other in objects):
                objects.append(thing)
                break
        else:
            return []
    return [objects[i] for i in rng.permutation(len(objects))]


def _legible(pairs: Sequence[tuple[str, str]], lost: Mapping[str, float]) -> list[tuple[str, str]]:
    """Those that stand out from the background; a photo may hold every colour, then those that do most."""
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
    size_name = role.size or _choice(rng, {"small": 0.35, "medium": 0.4, "big": 0.25})
    band = rng.uniform(*SIZES[size_name])
    radius = side * config.radius[0] * (config.radius[1] / config.radius[0]) ** band
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
        texture=(role.texture or _choice(rng, config.textures)) if SHAPES[shape].textured else "plain",
        motion=motion,
        rgb=_own_colour(rng, colour),
        radius=float(radius),
        angle=float(rng.uniform(-tilt, tilt)),
        centres=centres,
    )


def _own_colour(rng: np.random.Generator, colour: str) -> tuple[float, float, float]:
    """An RGB close to the named one: hue within 5 degrees, a strong colour paler or darker by an eighth."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(c / 255 for c in COLOURS[colour]))
    hue = (hue + rng.uniform(-0.014, 0.014)) % 1
    value *= 1 - 0.125 * saturation * rng.random()  # white stays white
    saturation *= rng.uniform(0.875, 1)
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return 255 * red, 255 * green, 255 * blue


def _as_programs_draw(
    rng: np.random.Generator, objects: Sequence[SceneObject], ground: float
) -> list[SceneObject]:
    """The same objects with purer colours, unlit, and with lines around them if so drawn."""
    share = rng.uniform(0, 1)
    rim = rng.uniform(0.05, 0.14) if ground > 100 and rng.random() < 0.5 else 0.0
    drawn = []
    for thing in objects:
        rgb = tuple(
            own + share * (pure - own) for own, pure in zip(thing.rgb, PURE_COLOURS[thing.colour], strict=True)
        )
        drawn.append(replace(thing, rgb=rgb, shaded=False, rim=rim))  # type: ignore[arg-type]
    return drawn


def _apart(one: SceneObject, other: SceneObject, overlap: float) -> bool:
    """Whether two paths keep their distance, in the middle frame and, more loosely, in the others."""
    distance = np.hypot(*(one.centres - other.centres).T) / (one.radius + other.radius)
    return bool(distance.min() >= 1.1 - 2 * overlap and distance[len(distance) // 2] >= 1.1 - overlap)
