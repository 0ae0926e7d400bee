"""Drawn triplets of Explanatory Instructions: an image, words for the change, and the other image; both ways.

An instruction names no task: it describes what changes. Of wording, of pairs of object and colour, and of whole
tasks, some are kept out of training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from instructseg.systems.codecs import encode_depth, encode_mask, encode_overlay
from instructseg.systems.explanatory.triplets import Explanation, Triplet, both_ways, every_wording, worded
from instructseg.systems.sequence.instruction_reader import InstructionReader
from instructseg.systems.sequence.visual_codes import prepare_images
from recipes.lesson import moved
from recipes.systems.grounding import cell_shares
from recipes.systems.scenes import ALL_NAMES, COLOURS, SHAPES, Scene, SceneObject, draw_scene

SIDE, CELLS = 64, 8
"""Pixels of a scene's side, and codes of it that the tiny model reads."""
PAINTS = {"magenta": (255, 0, 255), "cyan": (0, 255, 255), "white": (255, 255, 255)}
"""Colours of overlays."""
WORDS = {
    "overlay": Explanation(
        there=(
            "[cover|coat] the {object} with a [clear|thin] layer of {colour}",
            "lay a {colour} [film|layer|glass] over the {object}",
            "let the {object} shine through a [film|layer] of {colour}",
            "[tint|dye] the {object} [with|in] {colour} and leave everything else as it is",
            "the {object} [turns|becomes] {colour} while all the rest stays",
            "where the {object} is [add|put] {colour}",
            "[wash|dip] the {object} in {colour} light",
            "pour {colour} over the {object}",
            "only the {object} changes it becomes more {colour}",
            "give the {object} a coat of {colour}",
        ),
        back=(
            "[take|peel] the {colour} [film|layer|glass] off the {object}",
            "[wash|wipe] the {colour} [off|away]",
            "the {object} gets back its own colour",
            "show the {object} without {colour}",
            "let the {colour} [film|layer] go away and show what is under it",
            "undo the {colour} on the {object}",
        ),
    ),
    "depth": Explanation(
        there=(
            "replace every colour by grey [dark|black] where it is near and [bright|light] where it is far",
            "the farther away a thing is the [brighter|lighter] its grey",
            "[turn|change] the distance of all things into grey levels from dark to bright",
            "show near things dark and far things bright without any colour",
            "let grey tell how far [each|every] pixel is",
            "paint each pixel by its distance black for near white for far",
            "make a grey [map|picture] in which the wall is bright and the floor "
            "gets darker as it comes nearer",
            "[forget|drop] the colours and keep the distance as grey",
        ),
        back=(
            "[paint|draw] what this map of distance shows with {caption}",
            "give this grey map its colours back there is {caption}",
        ),
    ),
}
"""Wording of lessons, which describes the change and names no task."""
UNSEEN = {
    "overlay": Explanation(
        there=(
            "put a clear film of {colour} over the {object}",
            "dye the {object} {colour} and leave all the rest",
            "let {colour} light shine over the {object} while everything else stays",
            "only where the {object} is lay a thin coat of {colour}",
            "give the {object} a {colour} layer as it is",
        ),
        back=(
            "peel the {colour} away and show the {object} under it",
            "wipe the {colour} film off the {object}",
            "show the {object} in its own colour without the {colour} layer",
            "let the {colour} glass go off the {object}",
        ),
    ),
    "depth": Explanation(
        there=(
            "change each colour into grey dark for near and bright for far",
            "let every pixel tell its distance by a lighter grey where it is farther",
            "make a picture without any colour in which a far thing is light and a near thing dark",
            "change all colours into the grey of the distance",
        ),
        back=("draw {caption} where this grey map shows the distance",),
    ),
}
"""Wording for the evaluation alone; every word of it is taught."""
UNTAUGHT = (
    "paint the {object} white and everything else black",
    "the {object} becomes white while all the rest turns black",
    "make the {object} white and all the rest black",
)
"""A task that no lesson has, a mask, in words that lessons have."""
WITH_SIBLINGS = 0.75
"""Share of the overlays that are of scenes whose objects have siblings of the same colour or shape."""
SHARES = {("overlay", True): 0.6, ("overlay", False): 0.18, ("depth", True): 0.17, ("depth", False): 0.05}
"""Of the changes in a batch: a key of :data:`WORDS`, and whether it goes there or back."""
WITHOUT_TEXT = 0.04
"""Share of the instructions that are left out, for guidance."""


def is_kept_out(name: str, paint: str) -> bool:
    """Whether no lesson paints such an object so: one pair in six, one of every other object."""
    half, odd = divmod(ALL_NAMES.index(name), 2)
    return not odd and list(PAINTS).index(paint) == half % len(PAINTS)


@dataclass(frozen=True, eq=False)
class Change:
    """A scene and what becomes of it.

    Attributes:
        scene: of :mod:`recipes.systems.scenes`.
        task: a key of :data:`WORDS`, or ``mask``, the task that is kept out.
        there: the direction.
        target: the object in question.
        paint: of :data:`PAINTS`.
    """

    scene: Scene
    task: str
    there: bool
    target: SceneObject
    paint: str

    @property
    def after(self) -> np.ndarray:
        """The other image of the pair, ``uint8[S, S, 3]``."""
        match self.task:
            case "overlay":
                return encode_overlay(self.scene.image, self.target.mask, PAINTS[self.paint])
            case "depth":
                return encode_depth(self.scene.depth)
            case _:
                return encode_mask(self.target.mask)

    def both(self, words: Explanation, rng: np.random.Generator) -> tuple[Triplet, Triplet]:
        """The triplets there and back."""
        return both_ways(self.scene.image, self.after, words, rng, **self._names)

    def triplet(self, line: str, rng: np.random.Generator) -> Triplet:
        """The triplet of the change's own direction, with a line of its own."""
        before, after = (self.scene.image, self.after) if self.there else (self.after, self.scene.image)
        return Triplet(before, worded(line, rng, **self._names), after)

    @property
    def _names(self) -> dict[str, str]:
        return {"object": self.target.name, "colour": self.paint, "caption": self.scene.caption}


def draw_change(
    rng: np.random.Generator, task: str, there: bool, kept_out: bool = False, with_siblings: float = 1.0
) -> Change:
    """A random change.

    Args:
        rng: source of all that is random.
        task, there: as of :class:`Change`.
        kept_out: whether object and paint are a pair that no lesson has.
        with_siblings: chance that a single object's change is in a scene whose objects have siblings.
    """
    while True:
        alike = task != "depth" and rng.random() < with_siblings
        scene = draw_scene(rng, SIDE, least=2, alike=True) if alike else draw_scene(rng, SIDE)
        target, paint = scene.objects[int(rng.integers(len(scene.objects)))], str(rng.choice(list(PAINTS)))
        if task != "overlay" or is_kept_out(target.name, paint) == kept_out:
            return Change(scene, task, there, target, paint)


def draw_changes(rng: np.random.Generator, count: int) -> list[Change]:
    """Changes of lessons."""
    kinds = list(SHARES)
    drawn = rng.choice(len(kinds), count, p=list(SHARES.values()))
    some = (kinds[one] for one in drawn)
    return [draw_change(rng, task, there, with_siblings=WITH_SIBLINGS) for task, there in some]


def lesson_triplet(change: Change, rng: np.random.Generator) -> Triplet:
    """The triplet of a change's direction, in wording of lessons."""
    return change.both(WORDS[change.task], rng)[0 if change.there else 1]


@dataclass(frozen=True, eq=False)
class TripletBatch:
    """B triplets. ``I``: codes of an image.

    Attributes:
        before, after: ``float[B, 3, S, S]``, -1..1.
        ids, mask: ``int64[B, L]`` and ``bool[B, L]``, instructions.
        grounds: ``float[B, I]``, 0..1, share of each code's cell that belongs to the object in question.
        phrased: ``bool[B]``, whether the instruction is of a single object.
        labels: ``None``: the truth is in the images.
    """

    before: torch.Tensor
    after: torch.Tensor
    ids: torch.Tensor
    mask: torch.Tensor
    grounds: torch.Tensor
    phrased: torch.Tensor
    labels: None = None

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> TripletBatch:
        """Moves the tensors to ``device``."""
        return moved(self, device)


def triplet_batch(rng: np.random.Generator, words: InstructionReader, size: int, count: int) -> TripletBatch:
    """Triplets of lessons, whose images are resized to ``size``."""
    changes = draw_changes(rng, count)
    some = [lesson_triplet(one, rng) for one in changes]
    ids, mask = words.instructions([one.instruction for one in some])
    mask = mask & (torch.from_numpy(rng.random(count)) >= WITHOUT_TEXT)[:, None]
    before, after = ([getattr(one, name) for one in some] for name in ("before", "after"))
    grounds = cell_shares([one.target.mask for one in changes], CELLS)
    phrased = torch.tensor([one.task == "overlay" for one in changes]) & mask.any(1)
    return TripletBatch(prepare_images(before, size), prepare_images(after, size), ids, mask, grounds, phrased)


def every_word() -> Sequence[str]:
    """Words of all lines of training and of all names, in alphabetical order."""
    lines = [line for words in WORDS.values() for part in (words.there, words.back) for line in part]
    words = {word for line in lines for one in every_wording(line) for word in one.split() if "{" not in word}
    return sorted(words | {*PAINTS, *SHAPES, *COLOURS, "a", "and"})
