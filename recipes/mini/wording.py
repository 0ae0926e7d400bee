"""How people say it: words around an instruction, some of them kept from training."""

from __future__ import annotations

import re

import numpy as np

TRAINED = (
    "{}",
    "{}",
    "{}",
    "segment {}",
    "Segment {}.",
    "find {}",
    "show me {}",
    "please mark {}",
    "Please segment {}.",
    "where is {}?",
    "I am looking for {}",
    "mask of {}",
    "can you point out {}?",
    "select {}",
    "cut out {}",
    "give me the mask of {}",
    "{} please",
    "look for {}",
    "What I mean is {}.",
)
"""Frames of an instruction; the plain one is usual."""
HELD_OUT = (
    "could you outline {}?",
    "highlight {}",
    "which pixels belong to {}?",
    "I want {} to be segmented",
    "detect {}",
)
"""Frames that no instruction of the training has."""


def worded(rng: np.random.Generator, text: str, held_out: bool = False) -> str:
    """The instruction in a frame, with the spelling people use."""
    frames = HELD_OUT if held_out else TRAINED
    said = str(rng.choice(frames)).replace("{}", text)
    choice = rng.random()
    if choice < 0.1:
        return said[0].upper() + said[1:]
    return said.removeprefix("the ") if choice < 0.2 and said.startswith("the ") else said


def exchanged(text: str) -> str:
    """What is said of the mirror image: ``left`` in place of ``right`` and the reverse, also in "leftmost"."""
    other = {"left": "right", "right": "left"}
    return re.sub(r"\b(left|right)(?=\b|most|hand)", lambda found: other[found[1]], text)
