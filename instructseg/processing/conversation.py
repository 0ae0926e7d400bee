"""Conversations as token ids, roles and labels, created together.

The layout is that of the language model (:class:`~instructseg.model.language.ChatFormat`). Text between
placeholders is tokenised on its own, a placeholder becomes a run of positions, and written instructions are
never searched for placeholders.

Labels cover the whole reply except the object queries: the space or line break before it, its words,
``[SEG]`` and the end token. The official code finds that boundary by counting tokens; it also learns the
constant ``:`` before it and, from the second round of a dialogue on, misses the first token of each reply.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from instructseg.model.language import ChatFormat
from instructseg.model.language.phi import CHAT
from instructseg.processing.templates import (
    EXPLANATION,
    IMAGE,
    MASK,
    REFER,
    SEG_TOKEN,
    SYSTEM_PROMPT,
    TEMPORAL,
    WRITTEN,
    Wording,
    format_instruction,
    template,
    token_id,
)
from instructseg.structures import IGNORE_LABEL, Role, Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_PLACEHOLDER = re.compile("(" + "|".join((IMAGE, TEMPORAL, REFER, MASK, EXPLANATION)) + ")")
_RUN_ROLES = {IMAGE: Role.IMAGE, TEMPORAL: Role.TEMPORAL, MASK: Role.MASK}


RunLengths = Mapping[Role, int]
"""Positions of each placeholder: SigLIP tokens of the key frame (``IMAGE``), perceiver tokens of all its
reference frames together (``TEMPORAL``) and object queries (``MASK``)."""


@dataclass
class Sequences:
    """One row, growing from left to right; the three lists are always equally long.

    Attributes:
        input_ids: token ids; 0 where an embedding is filled in.
        roles: a :class:`Role` each.
        labels: the id itself where it is learned, else :data:`IGNORE_LABEL`.
    """

    input_ids: list[int] = field(default_factory=list)
    roles: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.input_ids)

    def tokens(self, ids: Sequence[int], role: Role = Role.TEXT, learned: bool = False) -> None:
        """Appends tokens."""
        self.input_ids += ids
        self.roles += [int(role)] * len(ids)
        self.labels += ids if learned else [IGNORE_LABEL] * len(ids)

    def run(self, role: Role, lengths: RunLengths) -> None:
        """Appends positions for embeddings of the model."""
        self.tokens([0] * lengths[role], role)


@dataclass(frozen=True)
class PromptStyle:
    """Text around an instruction; the defaults are those of the released weights.

    Attributes:
        chat: the turns of the conversation, by the language model.
        system: the system prompt; may be empty.
    """

    chat: ChatFormat = CHAT
    system: str = SYSTEM_PROMPT
    wording: Wording = "released"


RELEASED_STYLE = PromptStyle()


def conversation_text(task: Task, explain: bool = False, style: PromptStyle = RELEASED_STYLE) -> str:
    """The whole conversation of a task, placeholders unfilled; see :func:`render`."""
    words = template(task, explain)
    return style.chat.head(style.system, words.human) + style.chat.tail(words.reply)


def render(
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    instruction: str | Sequence[str],
    lengths: RunLengths,
    *,
    style: PromptStyle = RELEASED_STYLE,
    explain: bool = False,
    answer: str | None = None,
    learn_text: bool = False,
) -> Sequences:
    """Encodes a request with its reply, for training and for masks, whose reply is known.

    Args:
        tokenizer: knows ``[SEG]`` (see ``ensure_special_tokens``).
        explain: whether to ask for the explanation (``REASON_SEG``).
        answer: the explanation, or the reply of VQA, which needs one.
        learn_text: whether the reply's tokens carry labels.

    Raises:
        ValueError: an empty instruction, a VQA reply that is missing, or ``explain`` where there is none.
    """
    asked = format_instruction(task, instruction)
    words = template(task, explain, style.wording, asked)
    written = (answer or "").strip()
    if task is Task.VQA and not written:
        raise ValueError("a question of VQA has no answer here: give one, or render a prompt to generate it")
    row = Sequences()
    _append(row, tokenizer, style.chat.head(style.system, words.human), asked, lengths)
    takes_answer = explain or task is Task.VQA
    reply = style.chat.tail(words.reply)
    _append(row, tokenizer, reply, written if takes_answer else "", lengths, learn_text)
    return row


def render_prompt(
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    instruction: str | Sequence[str],
    lengths: RunLengths,
    *,
    style: PromptStyle = RELEASED_STYLE,
    explain: bool = False,
) -> Sequences:
    """Encodes a request up to where the model generates; arguments as of :func:`render`.

    VQA ends where the reply begins; an explanation follows ``Sure, the segmentation result is``, whose last
    space is a token of the prompt, as in training.

    Raises:
        ValueError: the reply of the task is not text, or the instruction is empty.
    """
    asked = format_instruction(task, instruction)
    words = template(task, explain, style.wording, asked)
    row = Sequences()
    _append(row, tokenizer, style.chat.head(style.system, words.human), asked, lengths)
    if explain:
        begun = style.chat.reply.partition("{}")[0] + words.reply.partition(EXPLANATION)[0]
        _append(row, tokenizer, begun, "", lengths)
    elif task is not Task.VQA:
        raise ValueError(f"task '{task.value}' has no text to generate: ask VQA, or REASON_SEG to explain")
    return row


def pad_sequences(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    """Rows to ``int64[B, L]``, padded on the right with ``value``; ``L`` is the longest row.

    Raises:
        ValueError: there is no row.
    """
    if not rows:
        raise ValueError("an empty batch: give at least one row")
    padded = torch.full((len(rows), max(map(len, rows))), value, dtype=torch.int64)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = torch.tensor(row, dtype=torch.int64)
    return padded


def _append(
    row: Sequences,
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    written: str,
    lengths: RunLengths,
    learned: bool = False,
) -> None:
    """Appends ``text``, with ``written`` at its places for the instruction or the answer."""
    for piece in _PLACEHOLDER.split(text):
        if piece in _RUN_ROLES:
            row.run(_RUN_ROLES[piece], lengths)
        elif piece in (REFER, EXPLANATION):
            ids = [*_encode(tokenizer, written), token_id(tokenizer, SEG_TOKEN)]
            row.tokens(ids, Role.REFER if piece == REFER else Role.TEXT, learned)
        else:
            row.tokens(_encode(tokenizer, piece.replace(WRITTEN, written)), learned=learned)


def _encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    # not verbose: the tokenizer would warn of lengths that the processor checks
    return tokenizer.encode(text, add_special_tokens=False, verbose=False) if text else []
