"""Instructions of a stream, each with what the language model said of it.

Letters: ``L`` positions of the language sequence, ``T`` tokens of the instruction, ``Q`` object queries,
``D`` width of the language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from instructseg.model.instructseg import LanguageStates
from instructseg.processing import InstructSegProcessor
from instructseg.processing.collate import pad_sequences
from instructseg.structures import Role, Task


@dataclass(frozen=True, eq=False)
class States:
    """What the language model says of an instruction on one key frame.

    Attributes:
        mask_tokens: ``float[Q, D]``.
        text: ``float[T, D]``.
    """

    mask_tokens: torch.Tensor
    text: torch.Tensor


@dataclass(frozen=True, eq=False)
class Anchor:
    """What the adaptive stride compares with: the frame of the last run.

    Attributes:
        t: the frame.
        level: ``float[1, C, h, w]``, its coarsest feature map.
        score: 0..1, of the instruction on it.
    """

    t: int
    level: torch.Tensor
    score: float


class Instruction:
    """An instruction and what is kept of it.

    Args:
        number: its id in the session.
        text: as written.
        task: selects the prompt.
        processor: lays it out.
        references: the most reference frames it will be laid out with.

    Raises:
        ValueError: it is empty or too long.
    """

    def __init__(
        self, number: int, text: str, task: Task, processor: InstructSegProcessor, references: int
    ) -> None:
        self.number, self.text = number, text
        self.states: dict[int, States] = {}
        """By key frame; at most the previous one and the next."""
        self.anchor: Anchor | None = None
        self.embedded: torch.Tensor | None = None
        """``float[T, D]``, input embeddings that guide the perceiver."""
        self._task, self._processor = task, processor
        self._layouts: dict[int, tuple[list[int], list[int]]] = {}
        self.layout(references)  # what is wrong with the text is told now

    def layout(self, references: int) -> tuple[list[int], list[int]]:
        """Token ids and roles, ``L`` each, with so many reference frames."""
        if references not in self._layouts:
            input_ids, roles = self._processor.encode_text([self.text], self._task, references)
            self._layouts[references] = input_ids[0].tolist(), roles[0].tolist()
        return self._layouts[references]

    def forget(self) -> None:
        """Lets go what belongs to a clip."""
        self.states.clear()
        self.anchor = None

    def keep_from(self, key: int) -> None:
        """Lets go the states of key frames before ``key``."""
        for old in [old for old in self.states if old < key]:
            del self.states[old]


def lay_out(
    rows: Sequence[tuple[list[int], list[int]]], multiple: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    """Layouts to one batch, ``int64[B, L]`` twice; ``L`` is a multiple of ``multiple``."""
    input_ids = pad_sequences([ids for ids, _ in rows], 0)
    roles = pad_sequences([roles for _, roles in rows], Role.PAD)
    return lengthened(input_ids, roles, multiple)


def lengthened(
    input_ids: torch.Tensor, roles: torch.Tensor, multiple: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows ``int64[B, L]``, padded to the next multiple of positions."""
    more = -input_ids.shape[1] % multiple
    pad = torch.nn.functional.pad
    return pad(input_ids, (0, more)), pad(roles, (0, more), value=int(Role.PAD))


def stack_text(texts: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Texts ``float[T_i, D]`` to ``float[B, T, D]``, zeros behind the shorter ones, and ``bool[B, T]``."""
    lengths = torch.tensor([len(text) for text in texts], device=texts[0].device)
    mask = torch.arange(int(lengths.max()), device=lengths.device) < lengths[:, None]
    return torch.nn.utils.rnn.pad_sequence(list(texts), batch_first=True), mask


def stack_states(states: Sequence[States]) -> LanguageStates:
    """Rows to a batch; ``hidden`` is empty, as no decoder reads it."""
    text, text_mask = stack_text([one.text for one in states])
    mask_tokens = torch.stack([one.mask_tokens for one in states])
    return LanguageStates(mask_tokens[:, :0], mask_tokens, text, text_mask)
