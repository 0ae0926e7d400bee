"""Drawn videos with instructions and truth, for generated copies of video benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.data.dataset import COUNTS_FILE
from instructseg.files import write_json_atomic
from instructseg.masks import mask_to_rle, save_palette_png
from instructseg.media import save_image
from recipes.nano.language.expressions import draw_expressions, meanings
from recipes.nano.scenes.objects import COLOURS, SHAPES
from recipes.nano.scenes.scenes import Scene, SceneConfig, draw_scene, render

FRAMES = 8
HIDDEN = (0, 1, 5)
"""Frames of a video in which its first object cannot be seen: every layout has to cope with that."""

SENTENCES = 2
"""Instructions of an object."""


@dataclass(frozen=True, eq=False)
class DrawnClip:
    """A drawn video with full ground truth.

    Attributes:
        scene: its frames and objects; the first object is missing in the frames :data:`HIDDEN`.
        said: object -> instructions that mean it and nothing else; every object has some.
    """

    name: str
    scene: Scene
    said: Mapping[int, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.scene.frames)

    @property
    def size(self) -> tuple[int, int]:
        """``(height, width)`` in pixels."""
        height, width = self.scene.ids.shape[1:]
        return height, width

    @property
    def objects(self) -> range:
        """Indices of the objects; in files their numbers are higher by one."""
        return range(len(self.scene.objects))

    def mask(self, objects: Sequence[int], t: int) -> np.ndarray:
        """``uint8[H, W]``, 1 on the visible part of any of some objects in frame ``t``."""
        return np.isin(self.scene.ids[t], np.add(objects, 1) if len(objects) else []).astype(np.uint8)

    def track(self, objects: Sequence[int]) -> list[dict[str, Any] | None]:
        """The run lengths of :meth:`mask` in each frame, ``None`` where nothing is visible."""
        masks = [self.mask(objects, t) for t in range(len(self))]
        return [mask_to_rle(mask) if mask.any() else None for mask in masks]

    def absent(self) -> str:
        """Words for a colour and a shape that no object has together."""
        shown = {(obj.colour, obj.shape) for obj in self.scene.objects}
        return next(f"the {c} {s}" for c in COLOURS for s in SHAPES if (c, s) not in shown)


def draw_clips(
    names: Sequence[str], seed: int = 0, frames: int = FRAMES, size: tuple[int, int] | None = None
) -> list[DrawnClip]:
    """Draws a video per name; a function of the arguments alone.

    Args:
        seed: not negative.
        frames: of each video, more than the last of :data:`HIDDEN`.
        size: ``(height, width)`` in pixels; by default each video has another.
    """
    return [replace(_draw(seed, number, frames, size), name=name) for number, name in enumerate(names)]


@lru_cache(64)
def _draw(seed: int, number: int, frames: int, size: tuple[int, int] | None) -> DrawnClip:
    """A video without a name; kept, since several layouts are written from the same videos."""
    height, width = ((64, 80), (80, 96)) if size is None else ((size[0],) * 2, (size[1],) * 2)
    config = SceneConfig(
        height=height, width=width, frames=frames, objects=(2, 3), related=0.0, backgrounds={"flat": 1.0}
    )
    rng = np.random.default_rng([seed, number])
    while True:
        scene = _hide_first(draw_scene(rng, config))
        middle = next(t for t in range(len(scene.frames) // 2, len(scene.frames)) if t not in HIDDEN)
        said = {}
        for i in range(len(scene.objects)):
            choices = [meaning for meaning in meanings(scene, middle) if meaning.targets == (i,)]
            drawn = draw_expressions(rng, scene, choices, SENTENCES) if choices else []
            said[i] = tuple(expression.text for expression in drawn)
        if all(said.values()):
            return DrawnClip("", scene, said)


def _hide_first(scene: Scene) -> Scene:
    """The scene, on its flat background, with the first object far outside in some frames."""
    colour = scene.frames[0][scene.ids[0] == 0][0]
    background = np.broadcast_to(colour.astype(np.float32), scene.frames.shape[1:])
    first = scene.objects[0]
    centres = first.centres.copy()
    centres[list(HIDDEN)] = -10 * max(scene.frames.shape[1:3])
    return render(background, (replace(first, centres=centres), *scene.objects[1:]))


def write_counts(root: Path, counts: Mapping[str, Sequence[int]]) -> None:
    """Part -> videos, expressions: what the adapters' checks expect of this copy."""
    named = {part: dict(zip(("videos", "expressions"), found, strict=True)) for part, found in counts.items()}
    write_json_atomic(root / COUNTS_FILE, named)


def frame_names(clip: DrawnClip, step: int = 1, digits: int = 5) -> list[str]:
    """``00000``, ``00005`` and so on, one per frame."""
    return [f"{t * step:0{digits}d}" for t in range(len(clip))]


def write_frames(folder: Path, clip: DrawnClip, names: Sequence[str]) -> None:
    """Writes ``<folder>/<name>.jpg`` for each frame."""
    for name, frame in zip(names, clip.scene.frames, strict=True):
        save_image(folder / f"{name}.jpg", frame)


def write_palette(folder: Path, clip: DrawnClip, names: Sequence[str]) -> None:
    """Writes ``<folder>/<name>.png`` for each frame; a pixel is the number of its object, from 1."""
    for name, ids in zip(names, clip.scene.ids, strict=True):
        save_palette_png(folder / f"{name}.png", ids)


def sentences(clips: Sequence[DrawnClip]) -> int:
    """Number of sentences about single objects."""
    return sum(len(texts) for clip in clips for texts in clip.said.values())


def numbered(clip: DrawnClip) -> list[tuple[str, str, int]]:
    """Expression id, text and object of all that is said of single objects."""
    said = [(text, i) for i in clip.objects for text in clip.said[i]]
    return [(str(number), text, i) for number, (text, i) in enumerate(said)]
