"""Instructions with their token layouts and language-model states.

Letters: ``L`` positions of the language sequence, ``T`` tokens of the instruction, ``Q`` object queries,
``D`` width of the language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from instructseg.model.instructseg import LanguageStates
from instructseg.model.language import Placement
from instructseg.processing import InstructSegProcessor
from instructseg.processing.conversation import pad_sequences
from instructseg.structures import Role, Task


@dataclass(frozen=True, eq=False)
class States:
    """Language-model output of an instruction on one key frame.

    Attributes:
        mask_tokens: ``float[Q, D]``.
        text: ``float[T, D]``.
    """

    mask_tokens: torch.Tensor
    text: torch.Tensor


@dataclass(frozen=True, eq=False)
class Anchor:
    """Frame of the last language-model run, for the adaptive stride.

    Attributes:
        t: the frame.
        level: ``float[1, C, h, w]``, its coarsest feature map.
        score: 0..1, of the instruction on it.
    """

    t: int
    level: torch.Tensor
    score: float


class Instruction:
    """An instruction and its cached states.

    Args:
        number: id within a session.
        text: as written.
        task: selects the prompt.
        processor: tokenizes it.
        references: largest number of reference frames.
        explanation: text before the mask tokens (``Task.REASON_SEG``).

    Raises:
        ValueError: empty or too long.
    """

    def __init__(
        self,
        number: int,
        text: str,
        task: Task,
        processor: InstructSegProcessor,
        references: int,
        explanation: str | None = None,
    ) -> None:
        self.number, self.text = number, text
        self.states: dict[int, States] = {}
        """By key frame; at most the previous one and the next."""
        self.anchor: Anchor | None = None
        self.embedded: torch.Tensor | None = None
        """``float[T, D]``, input embeddings that guide the perceiver."""
        self.known = processor.known_words.any_in(text)
        """Whether the weights know a word of it; nothing can be there otherwise."""
        processor.known_words.warn(text)
        self._task, self._processor, self._explanation = task, processor, explanation
        self._layouts: dict[int, tuple[list[int], list[int]]] = {}
        self.layout(references)  # errors in the text appear now

    def layout(self, references: int) -> tuple[list[int], list[int]]:
        """Token ids and roles, ``L`` each, for a number of reference frames."""
        if references not in self._layouts:
            written = None if self._explanation is None else [self._explanation]
            input_ids, roles = self._processor.encode_text(
                [self.text], self._task, references, explain=written is not None, answers=written
            )
            self._layouts[references] = input_ids[0].tolist(), roles[0].tolist()
        return self._layouts[references]

    def forget(self) -> None:
        """Drops all states of the current video."""
        self.states.clear()
        self.anchor = None

    def keep_from(self, key: int) -> None:
        """Drops states of key frames before ``key``."""
        for old in [old for old in self.states if old < key]:
            del self.states[old]


def lay_out(
    rows: Sequence[tuple[list[int], list[int]]], multiple: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    """Layouts to one batch, ``int64[B, L]`` twice; ``L`` is a multiple of ``multiple``."""
    input_ids = pad_sequences([ids for ids, _ in rows], 0)
    roles = pad_sequences([roles for _, roles in rows], Role.PAD)
    pad, missing = torch.nn.functional.pad, -input_ids.shape[1] % multiple
    return pad(input_ids, (0, missing)), pad(roles, (0, missing), value=int(Role.PAD))


def lay_out_places(
    rows: Sequence[tuple[list[int], list[float]] | None], roles: torch.Tensor
) -> Placement | None:
    """Position ids and sizes of a batch beside its ``roles``, ``int64[B, L]``; ``None`` if no row has any."""
    known = [row for row in rows if row is not None]
    if not known:
        return None
    assert len(known) == len(rows)
    ids, sizes = torch.zeros(roles.shape, dtype=torch.int64), torch.ones(roles.shape)
    for place, (numbers, counts) in enumerate(known):
        ids[place, : len(numbers)] = torch.tensor(numbers)
        sizes[place, : len(counts)] = torch.tensor(counts)
    return Placement(ids.to(roles.device), sizes.to(roles.device))


def stack_text(texts: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Texts ``float[T_i, D]`` to ``float[B, T, D]``, zeros after the shorter ones, and ``bool[B, T]``."""
    lengths = torch.tensor([len(text) for text in texts], device=texts[0].device)
    mask = torch.arange(int(lengths.max()), device=lengths.device) < lengths[:, None]
    return torch.nn.utils.rnn.pad_sequence(list(texts), batch_first=True), mask


def stack_states(states: Sequence[States]) -> LanguageStates:
    """Rows to a batch; ``hidden`` is empty, as no decoder reads it."""
    text, text_mask = stack_text([one.text for one in states])
    mask_tokens = torch.stack([one.mask_tokens for one in states])
    return LanguageStates(mask_tokens[:, :0], mask_tokens, text, text_mask)
