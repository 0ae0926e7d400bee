"""Instructions by task, with wording kept out of training.

The first line of a task is its template, which training sees too: InstructCV's released code leaves it out, and
its model then answers the template worse than that of the fixed prompts (its table 3).

``{object}`` stands for a name such as "red circle", ``{yes}`` and ``{no}`` for colours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from instructseg.systems.instructcv.asked_task import TEMPLATES, parse_asked


@dataclass(frozen=True)
class Wording:
    """How a task can be asked for.

    Attributes:
        train: lines of training, the template first.
        held_out: lines for the evaluation alone.
    """

    train: tuple[str, ...]
    held_out: tuple[str, ...]

    @property
    def template(self) -> str:
        """The first line."""
        return self.train[0]

    def draw(self, rng: np.random.Generator, held_out: bool = False) -> str:
        """A line of training, or one that is kept out of it."""
        lines = self.held_out if held_out else self.train
        return lines[int(rng.integers(len(lines)))]


BANK: dict[str, Wording] = {
    "segment": Wording(
        (
            TEMPLATES["segment"],
            "please segment the {object}",
            "mark the {object} in white",
            "create a mask of the {object}",
            "show me the pixels of the {object}",
            "find the {object} and segment it",
            "cut out the {object}",
            "outline the region of the {object}",
            "i want a mask for the {object}",
            "separate the {object} from the rest of the image",
            "make a mask that covers the {object}",
            "paint the {object} in white",
            "highlight all pixels that belong to the {object}",
            "select the {object}",
            "which pixels show the {object}",
            "extract the {object} from the picture",
            "isolate the {object}",
            "give me the silhouette of the {object}",
            "i need a binary mask for the {object}",
            "trace the shape of the {object}",
        ),
        (
            "please create the mask for the {object}",
            "segment the region of the {object} in this image",
            "show a mask of the {object}",
            "mark the pixels of the {object}",
            "can you cut the {object} out of the image",
        ),
    ),
    "detect": Wording(
        (
            TEMPLATES["detect"],
            "please detect the {object}",
            "draw a box around the {object}",
            "put a bounding box on the {object}",
            "locate the {object} with a box",
            "where is the {object} draw a box",
            "show the bounding box of the {object}",
            "find the {object} and draw its box",
            "i want a box around the {object}",
            "frame the {object} with a rectangle",
            "surround the {object} with a box",
            "enclose the {object} in a rectangle",
            "locate and frame the {object}",
            "detect and locate the {object}",
            "show where the {object} is",
            "where in the picture is the {object}",
            "mark the location of the {object} with a box",
            "give me a rectangle around the {object}",
            "i need the box for the {object}",
            "tell me where to find the {object}",
        ),
        (
            "please locate the {object}",
            "detect the {object} with a bounding box",
            "draw the bounding box of the {object} in this image",
            "can you put a box around the {object}",
            "find the box of the {object}",
        ),
    ),
    "depth": Wording(
        (
            TEMPLATES["depth"],
            "please estimate the depth map",
            "show the depth map of the image",
            "how far is everything in this image",
            "predict the distance of each pixel",
            "create a depth map",
            "i want the depth of the scene",
            "compute a map of the distance",
            "turn the image into a depth map",
            "give me a depth map",
            "how distant is each point of the scene",
            "show the distance to everything in the picture",
            "how close is each part of the image",
            "i need a depth image of the picture",
            "measure how far away everything is",
            "paint each pixel by its depth",
            "draw the distances",
        ),
        (
            "please predict the depth of the scene",
            "show how far each pixel is",
            "create a map of the depth of this image",
            "can you estimate the distance of everything",
            "compute the depth map of this scene",
        ),
    ),
    "classify": Wording(
        (
            TEMPLATES["classify"],
            "show {yes} if there is a {object}, else show {no}",
            "if there is a {object} display {yes}, otherwise display {no}",
            "paint the image {yes} if you see a {object}, else paint it {no}",
            "{yes} if the image has a {object}, else {no}",
            "does the image contain a {object}? {yes} for yes, {no} for no",
            "if you find a {object} show {yes}, else {no}",
            "answer {yes} if the picture has a {object}, otherwise answer {no}",
            "turn the image {yes} if it shows a {object}, otherwise {no}",
            "{yes} when there is a {object}, {no} when there is none",
            "do you see a {object}? use {yes} for yes, {no} for no",
            "whether it contains a {object}, {yes} for yes and {no} for no",
            "if it has a {object} use {yes}, if not use {no}",
        ),
        (
            "display {yes} if there is a {object}, otherwise {no}",
            "if the image contains a {object} show {yes}, else show {no}",
            "is there a {object}? display {yes} for yes, {no} for no",
            "please paint it {yes} if the image has a {object}, otherwise {no}",
        ),
    ),
}
"""Wording by task."""
PAIRS = (("white", "black"), ("cyan", "magenta"))
"""Colours for yes and no that the drawn lessons use."""


FILLERS = ("please", "now", "can you", "in this image", "of the image", "me")
"""What may stand anywhere in an instruction and changes nothing."""


def bare(text: str) -> str:
    """An instruction or line without :data:`FILLERS` and punctuation."""
    words = " ".join(word.strip(",?") for word in text.split())
    return " ".join(re.sub(rf"\b({'|'.join(FILLERS)})\b", " ", words).split())


RESERVED = frozenset(bare(line) for wording in BANK.values() for line in wording.held_out)
"""Lines kept out of training, as :func:`bare` has them: with other fillers, they are kept out, too."""


def shortened(rng: np.random.Generator, line: str, share: float = 0.2) -> str:
    """A line of training without some of its words, if what is left asks for the same; else the line.

    So no word needs another one beside it: "locate" meant a box only where "a box" followed.

    Args:
        rng: source of all that is random.
        line: its names in braces stay.
        share: of the words that are left out.
    """
    words = line.split()
    stays = rng.random(len(words)) >= share
    shorter = " ".join(word for word, stay in zip(words, stays, strict=True) if stay or "{" in word)
    names = {"object": "red circle", "yes": "white", "no": "black"}
    same = parse_asked(shorter.format(**names)) == parse_asked(line.format(**names))
    return shorter if same and bare(shorter) not in RESERVED else line


def with_fillers(rng: np.random.Generator, text: str, most: int = 3) -> str:
    """An instruction with up to ``most`` words between its own that change nothing, half of them made up."""
    words = text.split()
    for _ in range(int(rng.integers(most + 1))):
        letters = rng.choice(list("abcdefghijklmnopqrstuvwxyz"), int(rng.integers(2, 5)))
        filler = FILLERS[int(rng.integers(len(FILLERS)))] if rng.random() < 0.5 else "".join(letters)
        words.insert(int(rng.integers(len(words) + 1)), filler)
    return " ".join(words)


def vocabulary(*names: str) -> list[str]:
    """Every word of the lines of training and of ``names``, in alphabetical order."""
    lines = [line for wording in BANK.values() for line in wording.train] + list(names)
    words = {word.strip(",?") for line in lines for word in line.split() if "{" not in word}
    return sorted(words | {colour for pair in PAIRS for colour in pair})
