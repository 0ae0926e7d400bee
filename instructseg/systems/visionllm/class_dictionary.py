"""Requests of VisionLLM: classes bound to tokens in the prompt, and the format of what is answered.

The prompt is the instruction as written, the dictionary ``{ circle : <c0> , square : <c1> }`` (section 3.2 of
the paper), and the format: ``( c , x1 , y1 , x2 , y2 )`` for boxes, ``( c , 16 points )`` for polygons.
The paper's model reads classes and format out of any wording; here rules do (ours), and ``--classes``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from instructseg.plurals import description, means_several, named_number
from instructseg.systems.locations import POINTS

DEFAULT_POINTS = 16
"""Points of a polygon, where an instruction names none."""
_POINTS = re.compile(
    r"[, ]*\(?\b(?:(?:as|with|using|by|in) )?(?:an? )?"
    r"(?:(?:polygons?|outlines?|masks?) )?(?:(?:of|with|from|using) )?"
    r"(\d+)[ -](?:points?|corners?|vertices)(?: (?:each|polygons?|outlines?))?\)?"
)
_BOXES = re.compile(
    r"[, ]*\b(?:as|with|by|using|in) (?:(?:a|their|its) )?(?:bounding )?box(?:es)?\b|"
    r"^(?:bounding )?boxes (?:of|around) "
)
_POLYGONS = re.compile(r"[, ]*\b(?:as|with|by|using) (?:an? )?(?:polygons?|outlines?)\b")
_AHEAD = re.compile(
    r"^(?:(?:all|both|each|every|any|everything|several|many|of|the|an?|these|those|\d+)(?: |$))+"
)
_BEHIND = re.compile(
    r" (?:(?:in|on) (?:the|this|that) (?:image|photo|scene|view)|"
    r"(?:that )?you (?:can )?(?:see|find)|here|there|please|is|are)$"
)
_SPLIT = re.compile(r"\s*(?:,\s*and\b|,\s*or\b|,|;|\band\b|\bor\b)\s*")


@dataclass(frozen=True)
class OutputFormat:
    """The numbers that are asked of every object, each a query of the decoder.

    Attributes:
        points: of a polygon; ``None`` for a box.

    Raises:
        ValueError: too few or too many points.
    """

    points: int | None = None

    def __post_init__(self) -> None:
        if self.points is not None and not POINTS[0] <= self.points <= POINTS[1]:
            raise ValueError(f"a polygon of {self.points} points: ask for {POINTS[0]} to {POINTS[1]}")

    @property
    def corners(self) -> int:
        """Points whose x and y are answered: two for a box."""
        return 2 if self.points is None else self.points

    def __str__(self) -> str:
        return "( c , x1 , y1 , x2 , y2 )" if self.points is None else f"( c , {self.points} points )"


@dataclass(frozen=True)
class ClassRequest:
    """What an instruction asks for.

    Attributes:
        wording: the instruction, without the words for a format.
        names: of the classes, in small letters.
        output: format of an answer.
        single: whether the best object alone is meant.
    """

    wording: str
    names: tuple[str, ...]
    output: OutputFormat
    single: bool = False

    def prompt(self, tokens: Sequence[int] | None = None) -> str:
        """The text of the prompt.

        Args:
            tokens: number of each class's token; ``None`` for 0, 1, 2, ...
        """
        numbers = range(len(self.names)) if tokens is None else tokens
        pairs = " , ".join(f"{name} : <c{n}>" for name, n in zip(self.names, numbers, strict=True))
        return f"{self.wording.lower()} {{ {pairs} }} {self.output}"


def parse_request(instruction: str) -> ClassRequest:
    """Classes and format in the words of an instruction, in English.

    Example::

        parse_request("find all circles and squares with 8 points").names  # ('circle', 'square')

    Raises:
        ValueError: no class is left, or a polygon has too few or too many points.
    """
    rest, output = _format(" ".join(instruction.lower().split()).strip(" .!?"))
    asked = description(rest)
    while (shorter := _BEHIND.sub("", asked)) != asked:
        asked = shorter
    given = [_AHEAD.sub("", part) for part in _SPLIT.split(asked) if part]
    names = tuple(dict.fromkeys(_singular(name) for name in given if name))
    if not names:
        raise ValueError(f"'{instruction}' names no class: say what to find, as in 'circles and squares'")
    several = len(names) > 1 or means_several(rest) or named_number(rest) is not None or list(names) != given
    return ClassRequest(rest, names, output, single=not several)


def class_request(classes: Sequence[str]) -> ClassRequest:
    """A request for every object of a list of classes, as polygons."""
    names = tuple(dict.fromkeys(" ".join(one.lower().split()) for one in classes))
    return ClassRequest(f"find all {' and '.join(names)}", names, OutputFormat(DEFAULT_POINTS))


def _format(text: str) -> tuple[str, OutputFormat]:
    """The text without the words that ask for a format, and that format."""
    if found := _POINTS.search(text):
        return _POINTS.sub("", text).strip(" ,"), OutputFormat(int(found[1]))
    output = OutputFormat() if _BOXES.search(text) else OutputFormat(DEFAULT_POINTS)
    return _POLYGONS.sub("", _BOXES.sub("", text)).strip(" ,"), output


def _singular(name: str) -> str:
    """A class's name with its last word in the singular, by the rules of regular nouns."""
    if re.search(r"(?:x|z|ch|sh|ss|us)es$", name):
        return name[:-2]
    return name[:-1] if re.search(r"[^su'i]s$", name) and len(name) > 3 else name
