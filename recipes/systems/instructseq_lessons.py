"""Drawn lessons of InstructSeq: a scene, an instruction, and the answer as an image, a box or words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from instructseg.systems.codecs import COLOURS, encode_classes, even_palette
from instructseg.systems.instructseq.instructseq_config import COLOUR_NAMES
from instructseg.systems.instructseq.sequence_answer import AnswerReader
from instructseg.systems.locations import mask_box
from instructseg.systems.sequence.visual_codes import prepare_images
from recipes.lesson import moved
from recipes.systems.bank import Wording
from recipes.systems.scenes import SHAPES, Scene, SceneObject, draw_scene

SIDE = 64
"""Pixels of a scene's side."""
PAINTS = ("white", "magenta", "yellow")
"""Colours in which lessons ask for masks."""
MAP_COLOURS = even_palette(len(SHAPES) + 1)
LINES: dict[str, Wording] = {
    "segment": Wording(
        (
            "segment the {object} with color {colour}",
            "please segment the {object} in {colour}",
            "paint the {object} in {colour}",
            "color the {object} {colour}",
            "mark the pixels of the {object} in {colour}",
            "create a {colour} mask of the {object}",
            "show me the region of the {object} in {colour}",
            "find the {object} and segment it with {colour}",
            "i want a {colour} mask for the {object}",
            "can you cut out the {object} and make it {colour}",
        ),
        (
            "please create a mask of the {object} with color {colour}",
            "find the {object} and paint it {colour}",
            "can you segment the region of the {object} in {colour}",
            "show the pixels of the {object} with {colour}",
            "i want the {object} in {colour}",
        ),
    ),
    "semantic": Wording(
        (
            "segment the image",
            "please segment all shapes",
            "segment everything in the image",
            "create a semantic map of the image",
            "show me the class of all pixels",
            "i want a semantic segmentation",
            "label all pixels with a class",
            "can you make a map of all the shapes",
        ),
        (
            "please create a semantic segmentation of the image",
            "show a map of all the shapes",
            "segment all the pixels of the image",
            "can you label everything in the image",
        ),
    ),
    "detect": Wording(
        (
            "detect the {object}",
            "please locate the {object}",
            "give me the box of the {object}",
            "where is the {object}",
            "find the bounding box of the {object}",
            "i want a box around the {object}",
            "show me the box of the {object}",
            "what is the position of the {object}",
            "can you detect the {object} with a box",
        ),
        (
            "please detect the {object} with a bounding box",
            "find the box around the {object}",
            "can you locate the {object}",
            "give the position of the {object}",
            "what is the box of the {object}",
        ),
    ),
    "caption": Wording(
        (
            "describe the image",
            "please describe what you see",
            "what is in the image",
            "write a caption",
            "give me a description of the image",
            "tell me what the image shows",
            "i want a caption of the image",
            "can you say what you see",
        ),
        (
            "please write a description",
            "can you describe what is in the image",
            "tell me what you see in the image",
            "give a caption of the image",
        ),
    ),
}
"""Wording by task, the template first, with lines for the evaluation alone; every word of those is taught."""
SHARES = {"segment": 0.45, "semantic": 0.07, "detect": 0.2, "caption": 0.28}
"""Of the tasks in a batch."""
WITHOUT_TEXT = 0.04
"""Share of the instructions that are left out, for guidance."""


@dataclass(frozen=True, eq=False)
class SequenceLesson:
    """A scene and what is asked of it.

    Attributes:
        scene: of :mod:`recipes.systems.scenes`.
        task: of :data:`LINES`.
        target: the object in question.
        colour: in which its mask is painted, of :data:`PAINTS`.
        line: of :data:`LINES`.
    """

    scene: Scene
    task: str
    target: SceneObject
    colour: str
    line: str

    @property
    def instruction(self) -> str:
        """The line with its words."""
        return self.line.format(object=self.target.name, colour=self.colour)

    @property
    def classes(self) -> np.ndarray:
        """``int64[S, S]``: 1 and up for the shapes, 0 for none."""
        found = np.zeros(self.scene.depth.shape, np.int64)
        for one in self.scene.objects:
            found[one.mask] = 1 + SHAPES.index(one.shape)
        return found

    @property
    def image(self) -> np.ndarray:
        """The answer of a dense task, ``uint8[S, S, 3]``."""
        if self.task == "semantic":
            return encode_classes(self.classes, MAP_COLOURS)
        return (self.target.mask[..., None] * np.array(COLOURS[self.colour])).astype(np.uint8)


def draw_lesson(rng: np.random.Generator, task: str, scenes: int = 1) -> SequenceLesson:
    """A random lesson of a task in wording of training, on the fullest of some scenes."""
    scene = max((draw_scene(rng, SIDE) for _ in range(scenes)), key=lambda one: len(one.objects))
    target = scene.objects[int(rng.integers(len(scene.objects)))]
    return SequenceLesson(scene, task, target, str(rng.choice(PAINTS)), LINES[task].draw(rng))


@dataclass(frozen=True, eq=False)
class SequenceBatch:
    """B lessons.

    Attributes:
        answers: ``float[D, 3, S, S]``, -1..1, images of dense answers.
        dense: ``int64[D]``, their rows.
        pixels: ``float[B, 3, H, W]``, -1..1.
        ids, mask: ``int64[B, L]`` and ``bool[B, L]``, instructions.
        tokens: ``int64[B, T]``, answers with their end; codes of images are still missing.
        lengths: ``int64[B]``, tokens of each answer with its end.
        labels: ``None``: the truth is in the tokens.
    """

    answers: torch.Tensor
    dense: torch.Tensor
    pixels: torch.Tensor
    ids: torch.Tensor
    mask: torch.Tensor
    tokens: torch.Tensor
    lengths: torch.Tensor
    labels: None = None

    def __len__(self) -> int:
        return len(self.pixels)

    def to(self, device: torch.device | str) -> SequenceBatch:
        """Moves the tensors to ``device``."""
        return moved(self, device)


def drawn_answers(rng: np.random.Generator, count: int) -> list[np.ndarray]:
    """Answers that are images, ``uint8[S, S, 3]`` each, for fitting codes."""
    tasks = ["semantic" if one < 0.35 else "segment" for one in rng.random(count)]
    return [draw_lesson(rng, task).image for task in tasks]


def lesson_batch(rng: np.random.Generator, reader: AnswerReader, count: int) -> SequenceBatch:
    """Lessons of all tasks."""
    tasks = rng.choice(list(SHARES), count, p=list(SHARES.values()))
    # a phrase on a scene with one object teaches nothing of the phrase
    some = [draw_lesson(rng, str(task), scenes=2) for task in tasks]
    ids, mask = reader.words.instructions([one.instruction for one in some])
    mask = mask & (torch.from_numpy(rng.random(count)) >= WITHOUT_TEXT)[:, None]
    rows = [answer_tokens(one, reader) for one in some]
    lengths = torch.tensor([len(row) for row in rows])
    tokens = torch.full((count, int(lengths.max())), reader.forms.end)
    for place, row in enumerate(rows):
        tokens[place, : len(row)] = torch.tensor(row)
    dense = [place for place, one in enumerate(some) if one.task in ("segment", "semantic")]
    answers = torch.zeros(0, 3, reader.visual.size, reader.visual.size)
    if dense:
        answers = prepare_images([some[place].image for place in dense], reader.visual.size)
    pixels = prepare_images([one.scene.image for one in some], reader.config.image_size)
    return SequenceBatch(answers, torch.tensor(dense, dtype=torch.int64), pixels, ids, mask, tokens, lengths)


def answer_tokens(lesson: SequenceLesson, reader: AnswerReader) -> list[int]:
    """The answer with its end; in place of an image's codes stands the first one."""
    first, end, side = reader.vocabulary.first, reader.forms.end, reader.visual.side
    match lesson.task:
        case "segment":
            start = [first("colour") + COLOUR_NAMES.index(lesson.colour)]
        case "semantic":
            start = [first("palette")]
        case "detect":
            return [*reader.location_tokens(mask_box(lesson.target.mask).ravel().tolist()), end]
        case _:
            return [*reader.words.answer(lesson.scene.caption), end]
    return [*start, *[first("image")] * side**2, end]


def every_word() -> Sequence[str]:
    """Words of all lines of training and of all answers, in alphabetical order."""
    lines = [line for wording in LINES.values() for line in wording.train]
    words = {word for line in lines for word in line.split() if "{" not in word}
    return sorted(words | {*COLOUR_NAMES, *SHAPES, "red", "green", "blue", "yellow", "a", "and"})
