"""Language sequences with some of their visual tokens left out.

Letters: ``L`` positions of a sequence, ``L'`` kept ones, ``P`` tokens of the key frame, ``R`` references,
``K`` perceiver tokens of each, ``D`` width of the language model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from instructseg.model.tokens import TokenChoice, grid_places
from instructseg.structures import Role


@dataclass(frozen=True, eq=False)
class SequenceRow:
    """The language sequence of a pair of instruction and key frame.

    Attributes:
        layout: token ids and roles, ``L`` each.
        tokens: ``float[P, D]``, of the key frame.
        temporal: ``float[R * K, D]``, those of the perceiver, references in order; ``None`` without one.
        places: position ids and what each position stands for, ``L`` each, as of
            :class:`~instructseg.model.language.Placement`; ``None`` where nothing is left out.
    """

    layout: tuple[list[int], list[int]]
    tokens: torch.Tensor
    temporal: torch.Tensor | None
    places: tuple[list[int], list[float]] | None = None

    def fewer(self, choice: TokenChoice, references: int, text: torch.Tensor, seed: int) -> SequenceRow:
        """The sequence with the chosen visual tokens alone, each at its old position.

        Args:
            choice: rates and method.
            references: ``R``, at least 1.
            text: ``float[T, D]``, input embeddings of the instruction.
            seed: of a random choice.
        """
        ids, roles = (torch.tensor(one) for one in self.layout)
        sizes = torch.ones(len(roles))  # 0 where a token is left out
        places, temporal = grid_places(len(self.tokens)).to(self.tokens.device), self.temporal
        chosen, tokens, counts = choice.condense(choice.rate, self.tokens, places, text, seed)
        sizes[roles == Role.IMAGE] = torch.zeros(len(self.tokens)).index_copy(0, chosen, counts)
        if temporal is not None:
            times = torch.linspace(0, 1, references).repeat_interleave(len(temporal) // references)
            places = times[:, None].to(temporal.device)
            chosen, temporal, counts = choice.condense(choice.perceiver, temporal, places, text, seed)
            sizes[roles == Role.TEMPORAL] = torch.zeros(len(places)).index_copy(0, chosen, counts)
        left = sizes > 0
        layout = ids[left].tolist(), roles[left].tolist()
        return SequenceRow(layout, tokens, temporal, (left.nonzero().flatten().tolist(), sizes[left].tolist()))
