"""Draws scenes of simple objects with full ground truth: look, place and motion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recipes.nano.scenes.objects import SceneObject
from recipes.nano.scenes.painting import paint_background, paint_even_ground, paint_object
from recipes.nano.scenes.placing import as_programs_draw, choice, place_objects
from recipes.nano.scenes.scene_config import SceneConfig

__all__ = ["Background", "Render", "Scene", "SceneConfig", "draw_scene", "render"]


@dataclass(frozen=True, eq=False)
class Scene:
    """A video (an image where ``T = 1``) with its truth.

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
        objects = tuple(replace(obj, centres=obj.centres[chosen]) for obj in self.objects)
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
        whole = [paint_object(canvas, ids[t], i + 1, obj, t) for i, obj in enumerate(objects)]
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
        background_of: paints ``float32[H, W, 3]`` of a kind, a height and a width instead of
            :func:`~recipes.nano.scenes.painting.paint_background`.
        rendered: paints the objects on it instead of :func:`render`.

    Raises:
        ValueError: the configuration leaves no room for its smallest number of objects.
    """
    height, width = _frame_size(rng, config)
    kind = choice(rng, config.background_weights())
    # no draw where it cannot be one: scenes of a seed stay what they were
    digital = background_of is None and bool(config.digital) and rng.random() < config.digital
    if digital:
        background = paint_even_ground(rng, height, width)
    elif background_of is None:
        background = paint_background(rng, kind, height, width, config.photos)
    else:
        background = background_of(rng, kind, height, width)
    if config.fine and rng.random() < config.fine:
        ends = np.log((config.finest, config.small_end))
        config = replace(config, around=float(np.exp(rng.uniform(*ends))))
    objects = place_objects(rng, config, background)
    if digital:
        objects = as_programs_draw(rng, objects, float(background.mean()))
    return render(background, objects) if rendered is None else rendered(rng, background, objects)


def _frame_size(rng: np.random.Generator, config: SceneConfig) -> tuple[int, int]:
    while True:
        height = int(rng.integers(config.height[0], config.height[1] + 1))
        width = int(rng.integers(config.width[0], config.width[1] + 1))
        if max(height, width) <= config.max_aspect * min(height, width):
            return height, width
