"""How a description becomes English."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import product
from types import MappingProxyType

OPENERS = (
    "the {}",
    "{}",
    "segment the {}",
    "find the {}",
    "show the {}",
    "mask the {}",
    "highlight the {}",
    "please segment the {}",
    "where is the {}?",
)
"""What stands around a description of one thing."""

UNSEEN_OPENERS = (
    "can you point out the {}?",
    "i would like to see the {}",
    "could you please mark the {} here?",
)
"""The same, but kept from training: what a model makes of them shows whether it reads or remembers."""

SYNONYMS: Mapping[str, tuple[str, ...]] = MappingProxyType({"big": ("big", "large")})
"""Value of an attribute -> the words for it, where they are others than the value itself."""

ANY_SHAPE = ("object", "thing", "shape")

MOTION_PHRASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **{
            side: (f"moving {side}", f"that moves {side}", f"moving to the {side}", f"that is moving {side}")
            for side in ("left", "right")
        },
        "up": ("moving up", "that moves up", "moving upwards", "that is moving up"),
        "down": ("moving down", "that moves down", "moving downwards", "that is moving down"),
        "still": ("standing still", "that stays still", "that does not move", "that is not moving"),
    }
)
"""Motion -> what follows the noun."""

_ADJECTIVES = ("size", "texture", "colour")


@lru_cache(maxsize=4096)
def describe(attributes: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """The noun phrases, without article, for one thing with these attributes.

    Args:
        attributes: pairs of ``size``, ``texture``, ``colour``, ``shape`` or ``motion`` and a value.

    Returns:
        All wordings, each once: "small red circle", "small circle that is red" and so on.
    """
    values = dict(attributes)
    nouns = (values["shape"],) if "shape" in values else ANY_SHAPE
    adjectives = [SYNONYMS.get(values[a], (values[a],)) for a in _ADJECTIVES if a in values]
    motions = MOTION_PHRASES[values["motion"]] if "motion" in values else ("",)
    phrases = []
    for noun, words in product(nouns, product(*adjectives)):
        before = " ".join([*words, noun])
        phrases += [f"{before} {motion}".rstrip() for motion in motions]
        if words and motions == ("",):
            rest = " ".join([*words[:-1], noun])
            phrases += [f"{rest} that is {words[-1]}", f"{rest} which is {words[-1]}"]
    return tuple(phrases)


@lru_cache(maxsize=4096)
def wordings(attributes: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """All instructions that ask for one thing with these attributes; see :func:`describe`."""
    return tuple(opener.format(phrase) for phrase in describe(attributes) for opener in OPENERS)


@lru_cache(maxsize=4096)
def unseen_wordings(attributes: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """The same in openers that are kept from training."""
    return tuple(opener.format(phrase) for phrase in describe(attributes) for opener in UNSEEN_OPENERS)


@lru_cache(maxsize=4096)
def nouns(attributes: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """The short noun phrases for a thing with these attributes, motion excepted: "red circle", "red thing"."""
    values = dict(attributes)
    adjectives = [SYNONYMS.get(values[a], (values[a],)) for a in _ADJECTIVES if a in values]
    named = (values["shape"],) if "shape" in values else ANY_SHAPE[:2]
    return tuple(" ".join([*words, noun]) for noun, words in product(named, product(*adjectives)))
