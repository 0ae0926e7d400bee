"""Samples of drawn scenes, made when they are asked for; and a clip to show.

There is nothing on disk: sample ``index`` of a split is a function of the seed and the index alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from instructseg.data.expressions import (
    KINDS,
    MIN_AREA,
    Expression,
    Meaning,
    check_kinds,
    draw_expressions,
    meanings,
)
from instructseg.data.frames import training_frames
from instructseg.data.objects import COLOURS, HELD_OUT, SceneObject
from instructseg.data.scenes import Scene, SceneConfig, draw_scene, render
from instructseg.structures import Sample, Task

SPLITS = ("train", "val", "test")
CLIP_FRAMES = 5
_TRIES = 100


class SyntheticDataset:
    """Map-style: each item is one scene with several instructions on the same key frame.

    Args:
        length: scenes.
        seed: of the scenes, not negative.
        config: what they look like. With ``config.held_out`` only objects of a held-out pair are asked
            about.
        tasks: ``Task.RES`` draws images and ``Task.RVOS`` clips; of several, one is drawn per scene.
        expressions_per_scene: instructions of an item.
        split: one of :data:`SPLITS`; they share no scenes.
        kinds: kinds of expressions, names of :data:`~instructseg.data.expressions.KINDS`.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        length: int,
        seed: int = 0,
        config: SceneConfig | None = None,
        tasks: Sequence[Task] = (Task.RES,),
        expressions_per_scene: int = 6,
        split: str = "train",
        kinds: Sequence[str] = tuple(KINDS),
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r}: there are {', '.join(SPLITS)}")
        if length < 1 or expressions_per_scene < 1:
            raise ValueError(
                f"length and expressions_per_scene must be at least 1, got {length} and {expressions_per_scene}"
            )
        if seed < 0:
            raise ValueError(f"seed must not be negative, got {seed}")
        if not tasks or set(tasks) - {Task.RES, Task.RVOS}:
            raise ValueError(f"tasks must be some of res and rvos, got {', '.join(tasks) or 'none'}")
        check_kinds(kinds)
        config = config or SceneConfig()
        self.length, self.seed, self.split = length, seed, split
        self.tasks, self.kinds, self.expressions_per_scene = tuple(tasks), tuple(kinds), expressions_per_scene
        self._configs = {
            Task.RES: replace(config, frames=1),
            Task.RVOS: replace(config, frames=max(config.frames, CLIP_FRAMES)),
        }

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Sample, ...]:
        """The samples of scene ``index``; their frames and distractors are the same array objects.

        Raises:
            IndexError: ``index`` is outside ``0 <= index < length``.
            ValueError: the configuration gives scenes of which nothing can be said.
        """
        if not 0 <= index < self.length:
            raise IndexError(f"scene {index} of {self.length}")
        rng = np.random.default_rng([self.seed, SPLITS.index(self.split), index])
        config = self._configs[self.tasks[int(rng.integers(len(self.tasks)))]]
        for _ in range(_TRIES):
            scene = draw_scene(rng, config)
            # forwards only: a direction of motion may be mentioned
            key, references = training_frames(len(scene.frames), rng, CLIP_FRAMES, reverse=0.0)
            choices = [
                meaning
                for meaning in meanings(scene, key, self.kinds)
                if not config.held_out or _is_held_out(scene, meaning)
            ]
            if choices:
                drawn = draw_expressions(rng, scene, choices, self.expressions_per_scene)
                return _samples(scene, key, references, drawn, f"synthetic/{self.split}/{index}")
        raise ValueError(f"nothing can be said of {_TRIES} scenes of {config}")


def _is_held_out(scene: Scene, meaning: Meaning) -> bool:
    return all((scene.objects[i].colour, scene.objects[i].shape) in HELD_OUT for i in meaning.targets)


def _samples(
    scene: Scene, key: int, references: Sequence[int], drawn: Sequence[Expression], name: str
) -> tuple[Sample, ...]:
    visible = [i for i in range(len(scene.objects)) if scene.area(i, key) >= MIN_AREA]
    key_frame, reference_frames = scene.frames[key], tuple(scene.frames[t] for t in references)
    samples = []
    for number, expression in enumerate(drawn):
        first = scene.objects[expression.targets[0]]
        samples.append(
            Sample(
                key_frame=key_frame,
                instruction=expression.text,
                task=expression.task,
                reference_frames=reference_frames,
                masks=_masks(scene, expression.targets, key),
                distractors=_masks(scene, [i for i in visible if i not in expression.targets], key),
                name=f"{name}/{number}",
                meta={
                    "kind": expression.kind,
                    "form": expression.form,
                    "colour": first.colour,
                    "shape": first.shape,
                    "size": first.size,
                    "held_out": (first.colour, first.shape) in HELD_OUT,
                },
            )
        )
    return tuple(samples)


def _masks(scene: Scene, which: Sequence[int], t: int) -> np.ndarray:
    """``uint8[len(which), H, W]``."""
    numbers = np.array(which, np.uint8).reshape(-1, 1, 1) + np.uint8(1)
    return (scene.ids[t] == numbers).astype(np.uint8)


def demo_clip(length: int = 32) -> tuple[np.ndarray, float, str]:
    """A clip to try the model on: a red circle crosses a small landscape among other things.

    Args:
        length: frames, at least 2.

    Returns:
        ``uint8[length, 192, 256, 3]`` RGB, frames per second, and an instruction.

    Raises:
        ValueError: ``length`` is below 2.
    """
    return demo_scene(length).frames, 12.0, "the red circle moving left"


def demo_scene(length: int = 32) -> Scene:
    """The scene of :func:`demo_clip`, with its truth; its last object is the red circle."""
    if length < 2:
        raise ValueError(f"a clip in which something moves has at least 2 frames, got {length}")
    height, width = 192, 256
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    sky = np.array([176, 208, 232], np.float32) + down * np.array([60, 34, 10], np.float32)
    ground = np.array([150, 160, 128], np.float32) - down * np.array([30, 30, 34], np.float32)
    share = np.clip((down - 0.6) * height + 0.5, 0, 1)
    background = np.broadcast_to(sky + share * (ground - sky), (height, width, 3)).copy()
    time = np.linspace(0, 1, length)

    def thing(
        words: str, radius: float, x: np.ndarray, y: np.ndarray, motion: str, angle: float = 0.0
    ) -> SceneObject:
        size, texture, colour, shape = words.split()
        centres = np.stack(np.broadcast_arrays(x, y), axis=1)
        rgb = COLOURS[colour]
        return SceneObject(colour, shape, size, texture, motion, rgb, radius, angle, centres)

    rest = np.zeros(length)
    bounce = np.abs(np.sin(time * 3 * math.pi))
    return render(
        background,
        (
            thing("small plain yellow star", 15, rest + 44, rest + 34, "still", 0.15),
            thing("big striped blue square", 36, rest + 196, rest + 96, "still", -0.06),
            thing("medium plain green triangle", 25, 48 + 120 * time, rest + 158, "right"),
            thing("small dotted purple heart", 16, rest + 120, 24 + 36 * time, "down", 0.1),
            thing("medium plain red circle", 24, 222 - 186 * time, 122 - 42 * bounce, "left"),
        ),
    )
