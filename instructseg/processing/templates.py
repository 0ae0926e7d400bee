"""How each task is worded, as the released weights were trained.

The texts carry the placeholders of ``special_tokens``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from instructseg.processing.special_tokens import (
    EXPLANATION,
    IMAGE,
    MASK,
    REFER,
    SEG_TOKEN,
    TEMPORAL,
    WRITTEN,
)
from instructseg.structures import Task

SYSTEM_PROMPT = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)


@dataclass(frozen=True)
class Template:
    """One round of a conversation.

    Attributes:
        human: what the user says.
        reply: what the assistant says.
    """

    human: str
    reply: str


_IMAGE = (
    f"This is an image {TEMPORAL}\n{IMAGE}\n"
    f", please doing {{kind}} Segmentation according to the following instruction{{why}}:\n{REFER}"
)
_VIDEO = (
    f"There are reference frames and key frame {TEMPORAL}\n{IMAGE}\n"
    ". Please doing {kind} Segmentation according to the following instruction.\n"
    f"This is all the instruction: {REFER}\n"
)
_RESULT = "\nSure, the segmentation result is "

_TEMPLATES = {
    Task.RES: Template(_IMAGE.format(kind="Referring", why=""), f"{_RESULT}{SEG_TOKEN}{MASK}"),
    Task.REASON_SEG: Template(_IMAGE.format(kind="Reasoning", why=""), f"{_RESULT}{EXPLANATION}{MASK}"),
    Task.RVOS: Template(_VIDEO.format(kind="Referring"), f"{_RESULT}{SEG_TOKEN}{MASK}"),
    Task.REASON_VOS: Template(_VIDEO.format(kind="Reasoning"), f"{_RESULT}{SEG_TOKEN}{MASK}"),
    Task.VQA: Template(f"{IMAGE}\n{WRITTEN}", WRITTEN),
}
_EXPLAIN = Template(_IMAGE.format(kind="Reasoning", why=" and explain why"), _TEMPLATES[Task.REASON_SEG].reply)


def template(task: Task, explain: bool = False) -> Template:
    """The wording of a task.

    Args:
        task: what is asked.
        explain: whether the reply says why.

    Raises:
        ValueError: ``explain`` for a task other than ``REASON_SEG``.
    """
    if not explain:
        return _TEMPLATES[task]
    if task is not Task.REASON_SEG:
        raise ValueError(f"task '{task.value}' has no explanation; only '{Task.REASON_SEG.value}' has one")
    return _EXPLAIN


def format_instruction(task: Task, sentences: str | Iterable[str]) -> str:
    """The instruction as the released weights read it.

    Args:
        task: what is asked.
        sentences: what a person wrote; several sentences say the same thing in other words.

    Returns:
        for referring tasks every sentence with a full stop behind it; for reasoning in video the text
        without ``(s)``; for VQA the text without ``<image>``; for reasoning in images the bare text.

    Raises:
        ValueError: there is nothing to read.
    """
    stripped = [sentence.strip() for sentence in ([sentences] if isinstance(sentences, str) else sentences)]
    if task in (Task.RES, Task.RVOS):
        text = " ".join(f"{sentence}." for sentence in stripped if sentence)
    else:
        text = " ".join(stripped)
        if task is Task.REASON_VOS:
            text = text.replace("(s)", "")
        elif task is Task.VQA:
            text = text.replace(IMAGE, "")
    text = text.strip()
    if not text:
        raise ValueError(f"the instruction of task '{task.value}' is empty: say what to look for")
    return text
