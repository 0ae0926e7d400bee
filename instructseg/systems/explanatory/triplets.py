"""Triplets of an image, an instruction, and the image it leads to: two from each pair of images, by rule.

Section 3 of Explanatory Instructions (arXiv 2412.18525): what is done to an image is put into words, instead
of the name of a task, and what would undo it, too. The paper has them written by GPT-4o and by 5,000 rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

_CHOICE = re.compile(r"\[([^\[\]]*)\]")


@dataclass(frozen=True, eq=False)
class Triplet:
    """What is learned from.

    Attributes:
        before: ``uint8[H, W, 3]`` RGB.
        instruction: how ``before`` becomes ``after``.
        after: ``uint8[H, W, 3]`` RGB.
    """

    before: np.ndarray
    instruction: str
    after: np.ndarray


@dataclass(frozen=True)
class Explanation:
    """Words for a change and for its reverse.

    A line has choices, ``[cover|coat] the {object}``, and names in braces.

    Attributes:
        there, back: lines of each direction, at least one.
    """

    there: tuple[str, ...]
    back: tuple[str, ...]


def both_ways(
    before: np.ndarray, after: np.ndarray, words: Explanation, rng: np.random.Generator, **names: str
) -> tuple[Triplet, Triplet]:
    """The triplet of a pair of images, and that of its reverse.

    Args:
        before, after: ``uint8[H, W, 3]`` RGB.
        words: for both directions.
        rng: chooses lines and the words in them.
        names: what stands for the braces of the lines.

    Raises:
        KeyError: a line has a name that is not given.
    """
    there, back = (
        worded(lines[int(rng.integers(len(lines)))], rng, **names) for lines in (words.there, words.back)
    )
    return Triplet(before, there, after), Triplet(after, back, before)


def worded(line: str, rng: np.random.Generator, **names: str) -> str:
    """A line with one of each of its choices, and names for its braces."""
    chosen = _CHOICE.sub(lambda found: str(rng.choice(found[1].split("|"))), line)
    return chosen.format(**names)


def every_wording(line: str) -> Iterator[str]:
    """A line with each of its choices in turn; names stay in braces."""
    parts = _CHOICE.split(line)
    choices = [part.split("|") if place % 2 else [part] for place, part in enumerate(parts)]
    for some in product(*choices):
        yield "".join(some)
