"""Prompts, targets and batches for VisionLLM on drawn scenes: class lists, phrases, boxes and polygons.

The first stage has the classes circle, square and triangle at fixed tokens; the second draws classes, their
tokens, wording and format anew for every scene (as the paper's two stages widen what is asked).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from instructseg.systems.locations import mask_box, mask_polygon
from instructseg.systems.visionllm.class_dictionary import ClassRequest, OutputFormat
from instructseg.systems.visionllm.visionllm_processor import VisionLLMProcessor
from recipes.systems.scenes import ALL_NAMES, COLOURS, SHAPES, SceneObject, draw_scene
from recipes.systems.visionllm_losses import ObjectTargets

LISTS = (
    "find all {}",
    "detect every {}",
    "locate all the {}",
    "show me each {}",
    "segment the {}",
    "mark the {} in the image",
    "draw around all {}",
    "where are the {}",
    "for each {} give its place",
    "outline every {}",
)
PHRASES = (
    "find {}",
    "locate {}",
    "segment {}",
    "where is {}",
    "show me {}",
    "point at {}",
    "mark {} in the image",
    "get {}",
)
UNSEEN_LISTS = (
    "could you pick out any {} in this photo",
    "i need the position of each and every {}",
    "list whatever {} you come across",
    "highlight all {}, please",
)
"""Wording that no lesson has."""
UNSEEN_PHRASES = ("could you pick out {}", "i am looking for {}", "highlight {}, please", "tell me where {} is")
UNKNOWN = 0.03
"""Share of the words that are hidden in a lesson, so that words of other wording do no harm."""


def is_named(one: SceneObject, name: str) -> bool:
    """Whether a name as "circle", "red circle" or "red object" fits."""
    return name in (one.shape, one.name, f"{one.colour} object")


@dataclass(frozen=True)
class Lesson:
    """What is asked of one scene.

    Attributes:
        names: of the classes.
        tokens: numbers of their class tokens.
        wording: of the instruction.
        found: for each object that is meant, the place of its class in ``names``, and its mask.
    """

    names: tuple[str, ...]
    tokens: tuple[int, ...]
    wording: str
    found: tuple[tuple[int, np.ndarray], ...]


def list_lesson(
    rng: np.random.Generator, objects: Sequence[SceneObject], names: Sequence[str], classes: int, fixed: bool
) -> Lesson:
    """A list of classes, each at a random token, or at the place of its shape."""
    said = [name + "s" if rng.random() < 0.5 else name for name in names]
    wording = LISTS[rng.integers(len(LISTS))].format(listed(said))
    tokens = (
        [SHAPES.index(name) for name in names] if fixed else rng.permutation(classes)[: len(names)].tolist()
    )
    found = [(n, one.mask) for one in objects for n, name in enumerate(names) if is_named(one, name)]
    return Lesson(tuple(names), tuple(tokens), wording, tuple(found))


def listed(names: Sequence[str]) -> str:
    """ "circles, squares and triangles"."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def drawn_names(rng: np.random.Generator, objects: Sequence[SceneObject], stage: int) -> list[str]:
    """One to three classes: shapes, or in the second stage colours, or both, some of them absent."""
    kind = rng.random() if stage > 1 else 0.0
    if kind < 0.6:
        count = 3 if stage == 1 and rng.random() < 0.7 else int(rng.integers(1, 4))
        return [SHAPES[n] for n in rng.permutation(3)[:count]]
    if kind < 0.75:
        return [f"{list(COLOURS)[n]} object" for n in rng.permutation(4)[: rng.integers(1, 4)]]
    there = [one.name for one in objects]
    names = [*there, *(ALL_NAMES[rng.integers(len(ALL_NAMES))] for _ in range(2))]
    return list(dict.fromkeys(names[n] for n in rng.permutation(len(names)).tolist()))[:3]


def phrase_lesson(rng: np.random.Generator, objects: Sequence[SceneObject], classes: int) -> Lesson:
    """A phrase, most often of one object; a tenth is of what may not be there."""
    one = objects[int(rng.integers(len(objects)))]
    kind = rng.random()
    name = one.name if kind < 0.7 else one.shape if kind < 0.8 else f"{one.colour} object"
    name = ALL_NAMES[rng.integers(len(ALL_NAMES))] if kind >= 0.9 else name
    wording = PHRASES[rng.integers(len(PHRASES))].format(f"the {name}")
    found = tuple((0, other.mask) for other in objects if is_named(other, name))
    return Lesson((name,), (int(rng.integers(classes)),), wording, found)


@dataclass(frozen=True, eq=False)
class LessonBatch:
    """Inputs and targets of a step; shapes as of the model and of the losses."""

    pixels: torch.Tensor
    ids: torch.Tensor
    mask: torch.Tensor
    targets: list[ObjectTargets]
    allowed: torch.Tensor
    output: OutputFormat
    labels: None = None

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> LessonBatch:
        """The same on another device."""
        targets = [
            ObjectTargets(one.classes.to(device), one.centres.to(device), one.corners.to(device))
            for one in self.targets
        ]
        moved = (one.to(device) for one in (self.pixels, self.ids, self.mask, self.allowed))
        pixels, ids, mask, allowed = moved
        return LessonBatch(pixels, ids, mask, targets, allowed, self.output)


def draw_batch(
    rng: np.random.Generator, processor: VisionLLMProcessor, size: int, classes: int, stage: int
) -> LessonBatch:
    """A batch of new scenes, all asked in one format."""
    polygons = rng.random() < (0.35 if stage > 1 else 0.15)
    output = OutputFormat(int(rng.integers(8, 25))) if polygons else OutputFormat()
    images, texts, targets = [], [], []
    allowed = torch.zeros(size, classes + 1, dtype=torch.bool)
    allowed[:, classes] = True
    for row in range(size):
        scene = draw_scene(rng)
        if stage > 1 and rng.random() < 0.4:
            lesson = phrase_lesson(rng, scene.objects, classes)
        else:
            lesson = list_lesson(
                rng, scene.objects, drawn_names(rng, scene.objects, stage), classes, stage == 1
            )
        images.append(scene.image)
        texts.append(ClassRequest(lesson.wording, lesson.names, output).prompt(lesson.tokens))
        targets.append(_targets(lesson, output))
        allowed[row, list(lesson.tokens)] = True
    ids, mask = processor.prompts(texts)
    first, unknown = processor.tokenizer.added_tokens_encoder["<c0>"], int(processor.tokenizer.unk_token_id)
    hidden = torch.from_numpy(rng.random(ids.shape) < UNKNOWN) & (ids < first) & mask
    return LessonBatch(
        processor.images(images), ids.masked_fill(hidden, unknown), mask, targets, allowed, output
    )


def _targets(lesson: Lesson, output: OutputFormat) -> ObjectTargets:
    boxes = [mask_box(mask) for _, mask in lesson.found]
    corners = (
        boxes if output.points is None else [mask_polygon(mask, output.points) for _, mask in lesson.found]
    )
    return ObjectTargets(
        torch.tensor([lesson.tokens[name] for name, _ in lesson.found], dtype=torch.int64),
        torch.tensor(np.array([box.mean(0) for box in boxes]), dtype=torch.float32).reshape(-1, 2),
        torch.tensor(np.array(corners), dtype=torch.float32).reshape(-1, output.corners, 2),
    )
