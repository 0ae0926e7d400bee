"""Wording of descriptions in English."""

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
    "segment the {} in this picture",
    "could you segment the {}?",
    "can you find the {}?",
    "can you show me the {}?",
    "would you highlight the {} for me?",
    "please find the {}",
    "please show the {} here",
    "show me the {}",
    "show me where the {} is",
    "tell me where the {} is",
    "where do you see the {}?",
    "where can i find the {}?",
    "do you see the {}?",
    "do you know which one is the {}?",
    "which one is the {}?",
    "i need the {}",
    "i want to have the {}",
    "i am looking for the {}",
    "i would be glad to get the {}",
    "i mean the {}",
    "what i mean is the {}",
    "let me see the {}",
    "look for the {}",
    "look at the {}",
    "locate the {}",
    "point at the {}",
    "please point to the {}",
    "pick out the {}",
    "pick the {}",
    "select the {}",
    "mark the {}",
    "could you mark the {} please?",
    "outline the {}",
    "cut out the {}",
    "give me the mask of the {}",
    "the mask of the {}",
    "the {} please",
    "the {} here",
    "the {} in the picture",
    "just the {}",
    "only the {}",
    "now the {}",
)
"""What stands around a description of one object."""

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
            side: (
                f"moving {side}", f"that moves {side}", f"moving to the {side}", f"that is moving {side}",
                f"going {side}", f"sliding to the {side}", f"that travels {side}",
                f"which drifts to the {side}", f"on its way to the {side}",
                f"that is heading to the {side}", f"that gets farther {side}",
            )
            for side in ("left", "right")
        },
        "up": (
            "moving up", "that moves up", "moving upwards", "that is moving up", "going upwards",
            "rising to the top", "that travels up", "which climbs", "on its way to the top",
            "that is heading upwards", "that gets higher",
        ),
        "down": (
            "moving down", "that moves down", "moving downwards", "that is moving down", "going downwards",
            "sinking to the bottom", "that travels down", "which falls", "on its way to the bottom",
            "that is heading downwards", "that gets lower",
        ),
        "still": (
            "standing still", "that stays still", "that does not move", "that is not moving", "at rest",
            "resting in its place", "that remains where it was", "which never moves", "without any motion",
            "that keeps its place", "that stands in one place",
        ),
    }
)  # fmt: skip
"""Motion -> what follows the noun."""

_ADJECTIVES = ("size", "texture", "colour")


@lru_cache(maxsize=4096)
def describe(attributes: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """The noun phrases, without article, for one object with these attributes.

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
    """All instructions that ask for one object with these attributes; see :func:`describe`."""
    return tuple(opener.format(phrase) for phrase in describe(attributes) for opener in OPENERS)


@lru_cache(maxsize=4096)
def unseen_wordings(attributes: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """The same in openers that are kept from training."""
    return tuple(opener.format(phrase) for phrase in describe(attributes) for opener in UNSEEN_OPENERS)


@lru_cache(maxsize=4096)
def nouns(attributes: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Short noun phrases for an object with these attributes, without motion: "red circle", "red thing"."""
    values = dict(attributes)
    adjectives = [SYNONYMS.get(values[a], (values[a],)) for a in _ADJECTIVES if a in values]
    named = (values["shape"],) if "shape" in values else ANY_SHAPE[:2]
    return tuple(" ".join([*words, noun]) for noun, words in product(named, product(*adjectives)))
