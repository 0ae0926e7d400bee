"""Drawn lessons of InstructSeq: a scene, an instruction, and the answer as an image, a box or words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from instructseg.systems.codecs import COLOURS, encode_classes, even_palette
from instructseg.systems.instructseq.instructseq_config import COLOUR_NAMES
from instructseg.systems.instructseq.sequence_answer import NO, YES, AnswerReader
from instructseg.systems.locations import mask_box
from instructseg.systems.sequence.visual_codes import prepare_images
from recipes.lesson import moved
from recipes.systems.bank import Wording
from recipes.systems.grounding import cell_shares
from recipes.systems.scenes import ALL_NAMES, SHAPES, Scene, SceneObject, draw_scene, siblings

SIDE, CELLS = 64, 8
"""Pixels of a scene's side, and cells of it that the tiny model reads."""
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
    "question": Wording(
        (
            "is there a {object}",
            "is there a {object} in the image",
            "does the image show a {object}",
            "do you see a {object}",
            "can you find a {object} in the image",
            "tell me whether there is a {object}",
        ),
        (
            "can you see a {object}",
            "is a {object} in the image",
            "tell me whether you see a {object} in the image",
            "does the image show me a {object}",
        ),
    ),
}
"""Wording by task, the template first, with lines for the evaluation alone; every word of those is taught."""
CORNERS = {"circle": "no", "square": "four", "triangle": "three"}
DESCRIBED = Wording(
    (
        "{colour} thing with {corners} corners",
        "thing that is {colour} with {corners} corners",
        "{colour} thing that has {corners} corners",
    ),
    ("thing that is {colour} and has {corners} corners", "thing with {corners} corners that is {colour}"),
)
"""What stands for an object in place of the name of its shape."""
SHARES = {"segment": 0.35, "semantic": 0.07, "detect": 0.22, "caption": 0.22, "question": 0.14}
"""Of the tasks in a batch."""
PHRASES = ("segment", "detect", "question")
"""Tasks whose answer depends on a phrase."""
WITH_DESCRIPTION = 0.3
"""Share of the phrases that describe the object and do not name its shape."""
WITH_SIBLINGS = 0.75
"""Share of the phrases that are of scenes whose objects have siblings of the same colour or shape."""
WITHOUT_TEXT = 0.04
"""Share of the instructions that are left out, for guidance."""


@dataclass(frozen=True, eq=False)
class SequenceLesson:
    """A scene and what is asked of it.

    Attributes:
        scene: of :mod:`recipes.systems.scenes`.
        task: of :data:`LINES`.
        target: the object in question; ``None`` where a question is of one that is not there.
        name: of the object in question, colour and shape.
        phrase: what stands for it in the instruction, its name or a description.
        colour: in which its mask is painted, of :data:`PAINTS`.
        line: of :data:`LINES`.
    """

    scene: Scene
    task: str
    target: SceneObject | None
    name: str
    phrase: str
    colour: str
    line: str

    @property
    def instruction(self) -> str:
        """The line with its words."""
        return self.line.format(object=self.phrase, colour=self.colour)

    @property
    def mask(self) -> np.ndarray:
        """``bool[S, S]``, of the object in question; empty if it is not there."""
        return np.zeros(self.scene.depth.shape, bool) if self.target is None else self.target.mask

    @property
    def text(self) -> str:
        """The answer in words: the caption, or yes or no."""
        if self.task == "question":
            return NO if self.target is None else YES
        return self.scene.caption

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
        return (self.mask[..., None] * np.array(COLOURS[self.colour])).astype(np.uint8)


def describe(name: str, line: str) -> str:
    """A line of :data:`DESCRIBED` for an object of a name."""
    colour, shape = name.split()
    return line.format(colour=colour, corners=CORNERS[shape])


def draw_lesson(
    rng: np.random.Generator, task: str, with_siblings: float = 1.0, with_description: float = 0.0
) -> SequenceLesson:
    """A random lesson of a task in wording of training.

    Half of the questions are of an object that is not there, but shares a word of its name with one that is.

    Args:
        rng: source of all that is random.
        task: of :data:`LINES`.
        with_siblings: chance that a phrase is of a scene whose objects have siblings.
        with_description: chance that a phrase describes the object in place of its name.
    """
    alike = task in PHRASES and rng.random() < with_siblings
    scene = draw_scene(rng, SIDE, least=2, alike=True) if alike else draw_scene(rng, SIDE)
    target: SceneObject | None = (chosen := scene.objects[int(rng.integers(len(scene.objects)))])
    name = chosen.name
    if task == "question" and rng.random() < 0.5:
        near = siblings(name, [one for one in ALL_NAMES if one not in scene.names])
        target, name = None, str(rng.choice(near))
    phrase = describe(name, DESCRIBED.draw(rng)) if rng.random() < with_description else name
    return SequenceLesson(scene, task, target, name, phrase, str(rng.choice(PAINTS)), LINES[task].draw(rng))


@dataclass(frozen=True, eq=False)
class SequenceBatch:
    """B lessons. ``I``: cells of the image that the model reads.

    Attributes:
        answers: ``float[D, 3, S, S]``, -1..1, images of dense answers.
        dense: ``int64[D]``, their rows.
        pixels: ``float[B, 3, H, W]``, -1..1.
        ids, mask: ``int64[B, L]`` and ``bool[B, L]``, instructions.
        tokens: ``int64[B, T]``, answers with their end; codes of images are still missing.
        lengths: ``int64[B]``, tokens of each answer with its end.
        grounds: ``float[B, I]``, 0..1, share of each cell that belongs to the object in question.
        phrased: ``bool[B]``, whether a phrase tells which object that is.
        labels: ``None``: the truth is in the tokens.
    """

    answers: torch.Tensor
    dense: torch.Tensor
    pixels: torch.Tensor
    ids: torch.Tensor
    mask: torch.Tensor
    tokens: torch.Tensor
    lengths: torch.Tensor
    grounds: torch.Tensor
    phrased: torch.Tensor
    labels: None = None

    def __len__(self) -> int:
        return len(self.pixels)

    def to(self, device: torch.device | str) -> SequenceBatch:
        """Moves the tensors to ``device``."""
        return moved(self, device)


def drawn_answers(rng: np.random.Generator, count: int) -> list[np.ndarray]:
    """Answers that are images, ``uint8[S, S, 3]`` each, for fitting codes."""
    tasks = ["semantic" if one < 0.35 else "segment" for one in rng.random(count)]
    return [draw_lesson(rng, task, WITH_SIBLINGS).image for task in tasks]


def lesson_batch(rng: np.random.Generator, reader: AnswerReader, count: int) -> SequenceBatch:
    """Lessons of all tasks."""
    tasks = rng.choice(list(SHARES), count, p=list(SHARES.values()))
    some = [draw_lesson(rng, str(task), WITH_SIBLINGS, WITH_DESCRIPTION) for task in tasks]
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
    grounds = cell_shares([one.mask for one in some], CELLS)
    phrased = torch.tensor([one.task in PHRASES for one in some]) & mask.any(1)
    places = torch.tensor(dense, dtype=torch.int64)
    return SequenceBatch(answers, places, pixels, ids, mask, tokens, lengths, grounds, phrased)


def answer_tokens(lesson: SequenceLesson, reader: AnswerReader) -> list[int]:
    """The answer with its end; in place of an image's codes stands the first one."""
    first, end, side = reader.vocabulary.first, reader.forms.end, reader.visual.side
    match lesson.task:
        case "segment":
            start = [first("colour") + COLOUR_NAMES.index(lesson.colour)]
        case "semantic":
            start = [first("palette")]
        case "detect":
            return [*reader.location_tokens(mask_box(lesson.mask).ravel().tolist()), end]
        case _:
            return [*reader.words.answer(lesson.text), end]
    return [*start, *[first("image")] * side**2, end]


def every_word() -> Sequence[str]:
    """Words of all lines of training and of all answers, in alphabetical order."""
    lines = [line for wording in (*LINES.values(), DESCRIBED) for line in wording.train]
    words = {word for line in lines for word in line.split() if "{" not in word}
    named = {word for name in ALL_NAMES for word in name.split()}
    return sorted(words | named | {*COLOUR_NAMES, *CORNERS.values(), "a", "and", YES, NO})
