"""Prompts of each task, released wording and paraphrases, with their placeholders and special tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal
from zlib import crc32

from instructseg.structures import Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IMAGE = "<image>"
"""The key frame's SigLIP tokens."""
TEMPORAL = "<temporal>"
"""The perceiver's tokens of the reference frames."""
REFER = "<refer>"
"""The instruction's tokens and a closing :data:`SEG_TOKEN`."""
MASK = "<seg>"
"""The object queries."""
EXPLANATION = "<gt>"
"""The explanation's tokens, if any, and a closing :data:`SEG_TOKEN`."""

WRITTEN = "{}"
"""The written instruction, as part of the surrounding text."""

SEG_TOKEN = "[SEG]"

SYSTEM_PROMPT = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)


@dataclass(frozen=True)
class Template:
    """One round of a conversation.

    Attributes:
        human: the user's turn.
        reply: the assistant's turn.
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


_IMAGE_WORDS = (
    f"Here is a picture {TEMPORAL}\n{IMAGE}\n. Please segment what is meant by these words:\n{REFER}",
    f"Look at this image {TEMPORAL}\n{IMAGE}\n. Which part of it answers the instruction?\n{REFER}",
    f"This is what you see {TEMPORAL}\n{IMAGE}\n. Give the mask of it:\n{REFER}",
    f"The image is {TEMPORAL}\n{IMAGE}\n, and this is the instruction:\n{REFER}",
)
_IMAGE_HELD_OUT = (
    f"In the picture {TEMPORAL}\n{IMAGE}\n, find what the following is about and mark it:\n{REFER}",
    f"You are shown an image {TEMPORAL}\n{IMAGE}\n. What should be segmented is this:\n{REFER}",
)
_VIDEO_WORDS = (
    f"Here are frames of a video and the one that counts {TEMPORAL}\n{IMAGE}\n. Please segment in it:\n{REFER}",
    f"Look at these frames {TEMPORAL}\n{IMAGE}\n. Which part of the last one answers the instruction?\n{REFER}",
    f"This is what you see in the video {TEMPORAL}\n{IMAGE}\n. Give the mask of it:\n{REFER}",
    f"The reference frames and the key frame are {TEMPORAL}\n{IMAGE}\n, the instruction is this:\n{REFER}",
)
_VIDEO_HELD_OUT = (
    f"In the video {TEMPORAL}\n{IMAGE}\n, find what the following is about and mark it:\n{REFER}",
    f"You are shown some frames {TEMPORAL}\n{IMAGE}\n. What should be segmented is this:\n{REFER}",
)
_QUESTION_WORDS = (f"Here is a picture {IMAGE}\n{WRITTEN}", f"Look at this image {IMAGE}\n{WRITTEN}")
_QUESTION_HELD_OUT = (f"You are shown an image {IMAGE}\n{WRITTEN}",)

Wording = Literal["released", "varied", "held_out"]
"""``released`` prompts; ``varied`` ones, half of them released; ``held_out``, never used by ``varied``."""

PARAPHRASES: Mapping[Task, tuple[Sequence[str], Sequence[str]]] = {
    Task.RES: (_IMAGE_WORDS, _IMAGE_HELD_OUT),
    Task.REASON_SEG: (_IMAGE_WORDS, _IMAGE_HELD_OUT),
    Task.RVOS: (_VIDEO_WORDS, _VIDEO_HELD_OUT),
    Task.REASON_VOS: (_VIDEO_WORDS, _VIDEO_HELD_OUT),
    Task.VQA: (_QUESTION_WORDS, _QUESTION_HELD_OUT),
}
"""Paraphrases of the user's turn, for training and held out. Every word around the instruction differs; the
places of images and instruction are the same."""


def template(
    task: Task, explain: bool = False, wording: Wording = "released", instruction: str = ""
) -> Template:
    """The prompt of a task.

    Args:
        explain: whether the reply includes an explanation; always in the released wording.
        wording: of the prompt; ``varied`` and ``held_out`` depend on the instruction.

    Raises:
        ValueError: ``explain`` for a task other than ``REASON_SEG``.
    """
    if not explain:
        return _worded(_TEMPLATES[task], task, wording, instruction)
    if task is not Task.REASON_SEG:
        raise ValueError(f"task '{task.value}' has no explanation; only '{Task.REASON_SEG.value}' has one")
    return _EXPLAIN


def _worded(released: Template, task: Task, wording: Wording, instruction: str) -> Template:
    if wording == "released":
        return released
    varied, held_out = PARAPHRASES[task]
    drawn = crc32(instruction.encode())
    if wording == "held_out":
        return replace(released, human=held_out[drawn % len(held_out)])
    number = drawn % (2 * len(varied))
    return replace(released, human=varied[number]) if number < len(varied) else released


def format_instruction(task: Task, sentences: str | Iterable[str]) -> str:
    """Formats an instruction as in the training of the released weights.

    Args:
        sentences: the instruction as written; several sentences are paraphrases of each other.

    Returns:
        for referring tasks every sentence with a full stop after it; for reasoning in video the text
        without ``(s)``; for VQA the text without ``<image>``; for reasoning in images the bare text.

    Raises:
        ValueError: the instruction is empty, or is not Unicode (half of a surrogate pair).
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
    try:
        text.encode()  # tokenizers fail without a word on the cause
    except UnicodeEncodeError as error:
        raise ValueError(f"the instruction {ascii(text)[:80]} is not Unicode: write it in UTF-8") from error
    return text


def ensure_special_tokens(tokenizer: PreTrainedTokenizerBase, end: str) -> int:
    """Adds ``[SEG]`` to the tokenizer, in place, unless it is there.

    Args:
        end: the token that ends a reply in the language model's conversations.

    Returns:
        how many tokens were added; the model's embedding table must have a row for each.

    Raises:
        ValueError: the tokenizer has no such end token, so it belongs to another language model.
    """
    if end not in tokenizer.get_vocab():
        raise ValueError(
            f"the tokenizer has no token {end!r}, which ends a reply: give the tokenizer of that language model"
        )
    if SEG_TOKEN in tokenizer.get_vocab():
        return 0
    from transformers import AddedToken

    # not normalised: a tokenizer that lower-cases would look for another text
    return tokenizer.add_tokens(AddedToken(SEG_TOKEN, normalized=False))


def token_id(tokenizer: PreTrainedTokenizerBase, token: str) -> int:
    """The id of a token of the vocabulary; raises ``ValueError`` where the vocabulary lacks it."""
    number = tokenizer.convert_tokens_to_ids(token)
    if not isinstance(number, int) or tokenizer.convert_ids_to_tokens(number) != token:
        raise ValueError(f"the tokenizer has no token {token!r}: call ensure_special_tokens first")
    return number
