"""Drawn scenes with instructions and true outlines, for generated copies of image benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from recipes.nano.language.expressions import MIN_AREA, draw_expressions, meanings
from recipes.nano.scenes.objects import COLOURS, SHAPES
from recipes.nano.scenes.scenes import Scene, SceneConfig, draw_scene

SENTENCES = 3
"""Instructions of an object, at most."""


@dataclass(frozen=True, eq=False)
class DrawnImage:
    """A drawn image with full ground truth.

    Attributes:
        number: of the image, from 1; also its COCO id.
        scene: one frame.
        said: object -> instructions that mean it and nothing else; at least one object.
    """

    number: int
    scene: Scene
    said: Mapping[int, tuple[str, ...]]

    @property
    def pixels(self) -> np.ndarray:
        """``uint8[H, W, 3]`` RGB."""
        return self.scene.frames[0]

    @property
    def visible(self) -> list[int]:
        """Objects that can be seen."""
        return [i for i in range(len(self.scene.objects)) if self.scene.area(i, 0) >= MIN_AREA]

    def mask(self, i: int) -> np.ndarray:
        """``uint8[H, W]`` of object ``i``."""
        return self.scene.mask(i, 0)

    def words(self, i: int) -> str:
        """Object ``i`` as "red circle", be there others like it or not."""
        obj = self.scene.objects[i]
        return f"{obj.colour} {obj.shape}"

    def absent(self) -> str:
        """A colour and a shape that no object has together, as "red circle"."""
        shown = {(obj.colour, obj.shape) for obj in self.scene.objects}
        return next(f"{c} {s}" for c in COLOURS for s in SHAPES if (c, s) not in shown)


@lru_cache(64)
def draw_images(count: int, seed: int = 0) -> tuple[DrawnImage, ...]:
    """Draws images with at least one instruction; a function of the arguments alone.

    Kept, since several layouts are written from the same images.
    """
    rng = np.random.default_rng([seed, 7])
    config = SceneConfig(objects=(3, 5))
    pictures: list[DrawnImage] = []
    while len(pictures) < count:
        scene = draw_scene(rng, config)
        said = {}
        for i in range(len(scene.objects)):
            choices = [meaning for meaning in meanings(scene, 0) if meaning.targets == (i,)]
            if choices:
                drawn = draw_expressions(rng, scene, choices, 1 + int(rng.integers(SENTENCES)))
                said[i] = tuple(expression.text for expression in drawn)
        if said:
            pictures.append(DrawnImage(len(pictures) + 1, scene, said))
    return tuple(pictures)


def coco_polygons(mask: np.ndarray) -> list[list[float]] | None:
    """Outlines ``[x0, y0, ...]`` along the edges of pixels, which COCO's fill turns into exactly ``mask``.

    ``None`` where the mask has a hole, which polygons of COCO cannot have.
    """
    # in the mask doubled, the first and the second copy of a pixel tell its two edges apart
    doubled = pixel_contours(mask.repeat(2, axis=0).repeat(2, axis=1))
    return (
        None
        if doubled is None
        else [((contour + 1) // 2).ravel().astype(float).tolist() for contour in doubled]
    )


def pixel_contours(mask: np.ndarray) -> list[np.ndarray] | None:
    """``int32[n, 2]`` of x, y each: outermost pixels of each part in turn; ``None`` where there is a hole."""
    import cv2

    contours, hierarchy = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if any(parent >= 0 for parent in np.reshape(hierarchy if hierarchy is not None else [], (-1, 4))[:, 3]):
        return None
    return [contour.reshape(-1, 2) for contour in contours]
