"""What an instruction of InstructCV asks for: one of four tasks, a category, two colours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from instructseg.questions import wants_words
from instructseg.systems.codecs import COLOURS

CvTask = Literal["segment", "detect", "depth", "classify"]
CV_TASKS: tuple[CvTask, ...] = get_args(CvTask)
"""Tasks of the paper (section 2.1)."""

TEMPLATES: dict[CvTask, str] = {
    "segment": "segment the {object}",
    "detect": "detect the {object}",
    "depth": "estimate the depth of this image",
    "classify": "display {yes} if the image contains a {object}, else display {no}",
}
"""The plain wording of each task."""

_DEPTH = re.compile(r"\b(depths?|distances?|how (far|near|close|distant)|nearest|farthest)\b")
_DETECT = re.compile(r"\b(detect\w*|box(es)?|bounding|locat\w+|rectangles?|frame|where)\b")
_WHETHER = re.compile(r"\b(if|whether|when|unless|does|do|is|are)\b")
_THERE = re.compile(
    r"\b(?:contains?|there (?:is|are)|(?:is|are) there|has|have|includes?|sees?|finds?|shows?|depicts?)"
    r" (?:an?|the|any|some) (.+?)"
    r"(?=[,;?.]| in (?:the|this|it)\b| (?:display|show|paint|draw|use|answer|else|otherwise|and with)\b|$)"
)
_OBJECT = re.compile(
    r"\b(?:the|an?|all|every|each) (?!(?:image|photo|picture|scene|(?:binary )?mask|box|bounding|pixels?|"
    r"regions?|area|rectangle|outline|segmentation|rest|location|position|(?:shape|silhouette) of)\b)(.+?)"
    r"(?=[,;?.]| (?:in|with|and|from|draw|out of) | (?:is|are|please|for me)$|$)"
)
_OF = re.compile(
    r"\b(?:of|for|around|on) (?:the |an? |all )?(?!(?:the|this) (?:image|photo|scene))(.+?)(?=[,;?.]|$)"
)
_VERB = re.compile(
    r"^(?:please |can you |could you )?(?:segment|detect|locate|find|mark|show)(?: me)? (.+?)[?.]?$"
)


@dataclass(frozen=True)
class AskedTask:
    """What an instruction asks for.

    Attributes:
        task: of :data:`CV_TASKS`.
        category: the object in question, without its article; empty for depth.
        colours: names of those for yes and no; of a classification only.
    """

    task: CvTask
    category: str = ""
    colours: tuple[str, str] | None = None

    def plainly(self) -> str:
        """An instruction for the same in the wording of :data:`TEMPLATES`."""
        yes, no = self.colours or ("", "")
        return TEMPLATES[self.task].format(object=self.category, yes=yes, no=no)


def parse_asked(instruction: str) -> AskedTask:
    """Reads an instruction, whose wording is free.

    Two colours that stand for answers, and a condition or question, mean a classification; words of depth or of
    boxes mean those; everything else is a segmentation.

    Raises:
        ValueError: the colours for yes and no are the same.
    """
    text = " ".join(instruction.lower().split())
    condition = _THERE.search(text) if _WHETHER.search(text) else None
    if condition is not None:
        rest = text[: condition.start()] + " , " + text[condition.end() :]
        named = [word for word in re.findall(r"[a-z]+", rest) if word in COLOURS]
        if len(named) >= 2:
            yes, no = (named[1], named[0]) if "unless" in rest else (named[0], named[1])
            if yes == no:
                raise ValueError(f"'{instruction}' names {yes} for yes and for no: name two colours")
            return AskedTask("classify", condition[1], (yes, no))
    if _DEPTH.search(text):
        return AskedTask("depth")
    task: CvTask = "detect" if _DETECT.search(text) else "segment"
    found = _OBJECT.search(text) or _OF.search(text) or _VERB.search(text)
    return AskedTask(task, found[1] if found else text)


def lacks_colours(instruction: str, asked: AskedTask) -> bool:
    """Whether an instruction is a question for words, which a mask would answer wrongly."""
    text = " ".join(instruction.lower().split())
    question = text.endswith("?") or _THERE.search(text) is not None
    return asked.task == "segment" and question and wants_words(text)
