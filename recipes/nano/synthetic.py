"""Samples of drawn scenes, made when they are asked for.

There is nothing on disk: sample ``index`` of a split is a function of the seed and the index alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from instructseg.data.frames import training_frames
from instructseg.structures import Sample, Task
from recipes.nano.language.expressions import (
    CLIP_KINDS,
    DEFAULT_KINDS,
    IMAGE_KINDS,
    WORDINGS,
    Expression,
    check_kinds,
    draw_kinds,
)
from recipes.nano.language.meaning import MIN_AREA, Meaning
from recipes.nano.scenes.objects import HELD_OUT, SceneObject
from recipes.nano.scenes.scenes import Render, Scene, SceneConfig, draw_scene, render
from recipes.nano.scenes.second_renderer import STYLES

SPLITS = ("train", "val", "test")
CLIP_FRAMES = 5
RENDERERS = ("own", *STYLES)
_TRIES = 100


PURPOSES: Mapping[str, str] = MappingProxyType(
    {
        "relation": "crowd",
        "superlative": "crowd",
        "ordinal": "crowd",
        "question": "crowd",
        "count": "crowd",
        "several": "crowd",
        "pair": "crowd",
        "none": "crowd",
        "odd": "odd",
        "motion": "twins",
        "leading": "race",
        "speed": "race",
        "leaving": "leave",
        "parked": "parked",
    }
)
"""Kind -> purpose of the scenes that are drawn for it; for other kinds, any scene will do."""


@dataclass(frozen=True, eq=False)
class DrawnScene:
    """A scene with what is said of it, and the truth.

    Attributes:
        scene: the frames that are looked at; of a video, key frame and references alone.
        key: the key frame in it.
        references: the other frames, in order; none where the data set goes without.
        expressions: the instructions; their ``targets`` are indices of ``scene.objects``.
        name: identifies the scene.
    """

    scene: Scene
    key: int
    references: tuple[int, ...]
    expressions: tuple[Expression, ...]
    name: str

    def samples(self) -> tuple[Sample, ...]:
        """One per expression; their frames and distractors are the same array objects."""
        scene, key = self.scene, self.key
        visible = [i for i in range(len(scene.objects)) if scene.area(i, key) >= MIN_AREA]
        key_frame, references = scene.frames[key], tuple(scene.frames[t] for t in self.references)
        samples = []
        for number, said in enumerate(self.expressions):
            is_mask = said.task.has_mask
            samples.append(
                Sample(
                    key_frame=key_frame,
                    instruction=said.text,
                    task=said.task,
                    reference_frames=references,
                    masks=_masks(scene, said.targets, key) if is_mask else None,
                    distractors=_masks(scene, [i for i in visible if i not in said.targets], key)
                    if is_mask
                    else None,
                    answer=said.answer,
                    name=f"{self.name}/{number}",
                    meta=_meta(scene, said),
                )
            )
        return tuple(samples)


class SyntheticDataset:
    """Map-style: each item is one scene with several instructions on the same key frame.

    Args:
        seed: of the scenes, not negative.
        config: what they look like. With ``config.held_out`` only objects of a held-out pair are asked
            about. Its ``purpose`` is that of scenes drawn for kinds which :data:`PURPOSES` does not name.
        tasks: ``Task.RES`` draws images and ``Task.RVOS`` videos; of several, one is drawn per scene. The task
            of a sample is that of its kind.
        expressions_per_scene: instructions of an item; a scene of which less can be said has fewer.
        split: one of :data:`SPLITS`; they share no scenes.
        kinds: kinds of expressions, names of :data:`~recipes.nano.language.expressions.KINDS`, with their
            weights if they are not to be even. Of an image only ``IMAGE_KINDS`` are asked, of a video
            ``CLIP_KINDS``. A kind is drawn for each scene; the scene suits it, and the first instruction is of
            that kind where it can be.
        wording: ``seen``, or ``unseen`` for phrases that are kept from training.
        any_key: of a video, any frame in which all that is meant can be seen may be the key frame, as when
            the video is predicted frame by frame; otherwise the middle one is. What is said is the same.
        references: of a video, 0 or a multiple of 4. What is said is the same for all numbers: 8 show the same
            stretch of time in nine frames, 0 leave the other frames to the truth.
        renderer: one of :data:`RENDERERS`; another one than ``own`` draws other outlines, textures and
            backgrounds (see :mod:`recipes.nano.scenes.second_renderer`).

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
        kinds: Sequence[str] | Mapping[str, float] = DEFAULT_KINDS,
        wording: str = "seen",
        renderer: str = "own",
        any_key: bool = False,
        references: int = CLIP_FRAMES - 1,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r}: there are {', '.join(SPLITS)}")
        if wording not in WORDINGS:
            raise ValueError(f"unknown wording {wording!r}: there are {', '.join(WORDINGS)}")
        if renderer not in RENDERERS:
            raise ValueError(f"unknown renderer {renderer!r}: there are {', '.join(RENDERERS)}")
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
        self._steps, rest = divmod(references, CLIP_FRAMES - 1)
        if references < 0 or rest:
            raise ValueError(f"references must be 0 or a multiple of {CLIP_FRAMES - 1}, got {references}")
        if self._steps > 1 and config.frames > CLIP_FRAMES:
            raise ValueError(f"{references} references need clips of {CLIP_FRAMES} frames, got {config.frames}")
        self.length, self.seed, self.split, self.wording = length, seed, split, wording
        self.any_key = any_key
        ground, painted = (None, None) if renderer == "own" else STYLES[renderer]
        self._painters = (ground, partial(_denser, self._steps, painted) if self._steps > 1 else painted)
        self.tasks, self.expressions_per_scene = tuple(tasks), expressions_per_scene
        self.kinds = dict(kinds) if isinstance(kinds, Mapping) else dict.fromkeys(kinds, 1.0)
        self._kinds = {task: self._askable(task) for task in self.tasks}
        self._configs = {
            task: replace(config, frames=max(config.frames, CLIP_FRAMES) if task.is_video else 1)
            for task in self.tasks
        }

    def _askable(self, task: Task) -> dict[str, float]:
        known = CLIP_KINDS if task.is_video else IMAGE_KINDS
        kinds = {kind: weight for kind, weight in self.kinds.items() if kind in known}
        if not kinds:
            what = "a clip" if task.is_video else "an image"
            raise ValueError(
                f"none of {', '.join(self.kinds)} is asked of {what}: there are {', '.join(known)}"
            )
        return kinds

    def __len__(self) -> int:
        return self.length

    @property
    def scene_config(self) -> SceneConfig:
        """Appearance of the scenes of its first medium."""
        return self._configs[self.tasks[0]]

    def __getitem__(self, index: int) -> tuple[Sample, ...]:
        """The samples of scene ``index``; see :meth:`scene`."""
        return self.scene(index).samples()

    def scene(self, index: int) -> DrawnScene:
        """Scene ``index`` with its truth and its instructions.

        Raises:
            IndexError: ``index`` is outside ``0 <= index < length``.
            ValueError: the configuration gives scenes of which nothing can be said.
        """
        if not 0 <= index < self.length:
            raise IndexError(f"scene {index} of {self.length}")
        rng = np.random.default_rng([self.seed, SPLITS.index(self.split), index])
        task = self.tasks[int(rng.integers(len(self.tasks)))]
        kinds, config = self._kinds[task], self._configs[task]
        first = next(iter(kinds))
        if len(kinds) > 1:
            total = np.cumsum(list(kinds.values()))
            first = list(kinds)[int(np.searchsorted(total, rng.random() * total[-1], side="right"))]
        if first in PURPOSES:
            config = replace(config, purpose=PURPOSES[first])
        for _ in range(_TRIES):
            whole = draw_scene(rng, config, *self._painters)
            scene = whole.window(range(0, len(whole.frames), self._steps)) if self._steps > 1 else whole
            # forwards only: a direction of motion may be mentioned
            key, references = training_frames(len(scene.frames), rng, CLIP_FRAMES, reverse=0.0)
            chosen = sorted([key, *references])
            if len(chosen) < len(scene.frames):
                whole = scene = scene.window(chosen)
            key = chosen.index(key)
            keep = partial(_is_held_out, scene) if config.held_out else lambda meaning: True
            drawn = draw_kinds(rng, scene, key, kinds, self.expressions_per_scene, self.wording, first, keep)
            if drawn:
                if self.any_key:
                    key = _any_key(rng, scene, drawn, key)
                key *= max(1, self._steps)
                references = [t for t in range(len(whole.frames)) if t != key and self._steps]
                name = f"synthetic/{self.split}/{index}"
                return DrawnScene(whole, key, tuple(references), tuple(drawn), name)
        raise ValueError(f"nothing can be said of {_TRIES} scenes of {config}")


@dataclass(frozen=True)
class SceneBatches:
    """Scenes of a batch, all images or all videos.

    Attributes:
        images: scenes of one frame.
        clips: scenes of several; ``None`` for none.
        clip_share: share of the batches that are videos, 0..1, evenly spread.
        counts: scenes of a batch of images, and of one of videos.
    """

    images: SyntheticDataset
    clips: SyntheticDataset | None
    clip_share: float
    counts: tuple[int, int]

    def are_clips(self, index: int) -> bool:
        """Whether batch ``index`` is made of videos."""
        is_turn = int((index + 1) * self.clip_share) > int(index * self.clip_share)
        return self.clips is not None and is_turn

    def scenes(self, index: int) -> list[DrawnScene]:
        """The scenes of batch ``index``; behind the last one the first follows."""
        drawn, count = self.images, self.counts[0]
        if self.clips is not None and self.are_clips(index):
            drawn, count = self.clips, self.counts[1]
        return [drawn.scene((index * count + number) % len(drawn)) for number in range(count)]


@dataclass(frozen=True)
class SyntheticSamples:
    """Batch ``i`` holds the ``i``-th scenes, each with several instructions."""

    batches: SceneBatches

    def samples(self, index: int) -> list[Sample]:
        """The rows of batch ``index``; every ``1 / clip_share``-th batch is made of videos."""
        return [sample for scene in self.batches.scenes(index) for sample in scene.samples()]

    def names(self, index: int) -> Sequence[str]:
        """Names of the samples of batch ``index``."""
        return [sample.name for sample in self.samples(index)]

    def task(self, index: int) -> str:
        """``clip`` or ``image``."""
        return "clip" if self.batches.are_clips(index) else "image"


def _denser(
    steps: int,
    painted: Render | None,
    rng: np.random.Generator,
    background: np.ndarray,
    objects: Sequence[SceneObject],
) -> Scene:
    """Paints ``steps - 1`` frames more between any two; paths are straight in between."""
    drawn = np.arange(len(objects[0].centres))
    times = np.linspace(0, drawn[-1], drawn[-1] * steps + 1)
    dense = []
    for obj in objects:
        centres = np.stack([np.interp(times, drawn, line) for line in obj.centres.T], axis=1)
        dense.append(replace(obj, centres=centres))
    return render(background, dense) if painted is None else painted(rng, background, dense)


def _any_key(rng: np.random.Generator, scene: Scene, drawn: Sequence[Expression], key: int) -> int:
    """A frame that shows all targets, ``key`` where no other does."""
    meant = sorted({i for said in drawn for i in said.targets})
    fit = [t for t in range(len(scene.frames)) if all(scene.area(i, t) >= MIN_AREA for i in meant)]
    return int(rng.choice(fit)) if fit else key


def _is_held_out(scene: Scene, meaning: Meaning) -> bool:
    return all((scene.objects[i].colour, scene.objects[i].shape) in HELD_OUT for i in meaning.targets)


def _meta(scene: Scene, said: Expression) -> dict[str, Any]:
    """Input of an evaluator; looks are those of the first target, empty without one."""
    first = scene.objects[said.targets[0]] if said.targets else None
    return {
        "kind": said.kind,
        "form": said.form,
        "colour": first.colour if first else "",
        "shape": first.shape if first else "",
        "size": first.size if first else "",
        "held_out": first is not None and (first.colour, first.shape) in HELD_OUT,
        "targets": said.targets,
    }


def _masks(scene: Scene, which: Sequence[int], t: int) -> np.ndarray:
    """``uint8[len(which), H, W]``."""
    numbers = np.array(which, np.uint8).reshape(-1, 1, 1) + np.uint8(1)
    return (scene.ids[t] == numbers).astype(np.uint8)
