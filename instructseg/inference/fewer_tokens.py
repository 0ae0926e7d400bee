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
        positions: ids of the positions, ``L``; ``None`` for 0 to ``L - 1``.
    """

    layout: tuple[list[int], list[int]]
    tokens: torch.Tensor
    temporal: torch.Tensor | None
    positions: list[int] | None = None

    def fewer(self, choice: TokenChoice, references: int, text: torch.Tensor, seed: int) -> SequenceRow:
        """The sequence with the chosen visual tokens alone, each at its old position.

        Args:
            choice: rates and method.
            references: ``R``, at least 1.
            text: ``float[T, D]``, input embeddings of the instruction.
            seed: of a random choice.
        """
        ids, roles = (torch.tensor(one) for one in self.layout)
        kept = torch.ones(len(roles), dtype=torch.bool)
        places, temporal = grid_places(len(self.tokens)).to(self.tokens.device), self.temporal
        chosen, tokens = choice.condense(choice.rate, self.tokens, places, text, seed)
        kept[roles == Role.IMAGE] = _marked(chosen, len(self.tokens))
        if temporal is not None:
            times = torch.linspace(0, 1, references).repeat_interleave(len(temporal) // references)
            places = times[:, None].to(temporal.device)
            chosen, temporal = choice.condense(choice.perceiver, temporal, places, text, seed)
            kept[roles == Role.TEMPORAL] = _marked(chosen, len(places))
        layout = ids[kept].tolist(), roles[kept].tolist()
        return SequenceRow(layout, tokens, temporal, kept.nonzero().flatten().tolist())


def _marked(chosen: torch.Tensor, count: int) -> torch.Tensor:
    """``bool[count]``, true at the chosen places."""
    return torch.zeros(count, dtype=torch.bool).index_fill(0, chosen, True)
