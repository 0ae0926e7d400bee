"""Interface and chat format of a language model.

B rows, L positions, D channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

import torch
from torch import nn

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Sampling(TypedDict, total=False):
    """Options of ``generate`` of transformers; without any, generation is greedy."""

    do_sample: bool
    temperature: float
    top_k: int
    top_p: float
    num_beams: int
    repetition_penalty: float
    no_repeat_ngram_size: int
    streamer: Any


@dataclass(frozen=True)
class ChatFormat:
    """Format of one conversation round of a language model.

    A round reads ``system + human + reply + end``. A token never spans the boundary between ``human`` and
    ``reply``, so ``reply`` starts with a space or a line break, or ``human`` ends with a special token.

    Attributes:
        human: the user's turn up to where the reply starts; ``{}`` is the place of the text.
        system: the system prompt before it, ``{}`` likewise; left out where there is no system prompt.
        reply: the reply, ``{}`` likewise.
        end: the token that ends a reply; one entry of the vocabulary.
    """

    human: str
    system: str
    reply: str
    end: str

    def head(self, system: str, human: str) -> str:
        """The conversation up to the reply."""
        return (self.system.replace("{}", system) if system else "") + self.human.replace("{}", human)

    def tail(self, reply: str) -> str:
        """The reply and the token that ends it."""
        return self.reply.replace("{}", reply) + self.end


@dataclass(frozen=True, eq=False)
class Placement:
    """Positions of sequences of which tokens were left out, and what those that are left stand for.

    Attributes:
        ids: ``int64[B, L]``, position ids, rising along a row.
        sizes: ``float32[B, L]``, tokens that each stands for, at least 1: attention reads it as so many copies
            (proportional attention of ToMe, arXiv 2210.09461).
    """

    ids: torch.Tensor
    sizes: torch.Tensor

    def seen(self, earlier: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """The mask that is added to attention scores, ``float[B, 1, N, L]``.

        Args:
            earlier: ``bool[B, 1, N, L]``, true where a position (N) reads another (L); axes may be 1.
            dtype: of the scores.
        """
        return torch.where(earlier, self.sizes.log()[:, None, None, :], -torch.inf).to(dtype)


class LanguageModel(nn.Module):
    """Reads embeddings of text, image tokens, perceiver tokens and mask tokens in one sequence.

    A kind is one file: a class that inherits from this one and from a model of transformers, whose
    configuration class it names, and a row in ``language.KINDS``.

    Attributes:
        config_class: of transformers, for ``text_config``.
        chat: format of the text around an instruction.
        generates: whether it generates text; a bidirectional encoder does not.
        lora_targets: linear layers with adapters unless a configuration names others.
        blocks: prefix of the blocks' names.
        block_class: class name of a block, which is not split over devices.
        block_linears: names of the linear layers in a block, which quantization replaces.
        quantized_tables: embedding tables that are quantized too; not one that is also the output table.
        model: the part between input embeddings and last hidden states.
    """

    config_class: Any
    chat: ClassVar[ChatFormat]
    generates: ClassVar[bool]
    lora_targets: ClassVar[tuple[str, ...]]
    blocks: ClassVar[str]
    block_class: ClassVar[str]
    block_linears: ClassVar[frozenset[str]]
    quantized_tables: ClassVar[frozenset[str]] = frozenset()
    model: Any

    @staticmethod
    def widest(config: Any) -> int:
        """Values held at once by a block per position, attention scores aside (memory plan).

        States, queries, keys, values and rotated copies; the feed-forward before and after its activation.
        """
        return 8 * int(config.hidden_size) + 2 * int(config.intermediate_size)

    def word_table(self) -> nn.Embedding:
        """The input embedding of each token, before positions are added."""
        raise NotImplementedError

    def hidden_states(
        self,
        embeds: torch.Tensor,
        attention_mask: torch.Tensor,
        read: torch.Tensor | None = None,
        placement: Placement | None = None,
    ) -> torch.Tensor:
        """Last hidden states.

        Args:
            embeds: ``float[B, L, D]`` input embeddings.
            attention_mask: ``bool[B, L]``, false on padding.
            read: ``bool[B, L]``, the requested positions, at least one; ``None`` for all. Their states are
                the same (without gradients); computation for other positions alone is skipped.
            placement: of sequences with tokens left out; ``None`` for whole ones.

        Returns:
            ``float[B, L, D]``; undefined at positions that were not requested.
        """
        raise NotImplementedError

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Next-token logits ``float[..., V]`` of last hidden states ``float[..., D]``.

        Raises:
            ValueError: the kind generates no text, and there are states to read.
        """
        if not len(hidden):  # a batch without text to learn
            return hidden.new_zeros(*hidden.shape[:-1], 1)
        raise ValueError(f"{type(self).__name__} writes no text: learn masks alone (text_tasks: [])")

    def continue_text(
        self, embeds: torch.Tensor, max_new_tokens: int, stop: tuple[int, ...], **sampling: Unpack[Sampling]
    ) -> list[int]:
        """Token ids that follow ``float[1, L, D]``, greedy without ``sampling``.

        Ends after ``max_new_tokens`` or at a token of ``stop``, which is not returned.

        Raises:
            ValueError: the kind generates no text.
        """
        raise ValueError("the language model of these weights writes no text: ask for masks")


def wanted_positions(read: torch.Tensor) -> torch.Tensor:
    """The requested positions of each row of ``bool[B, L]`` in order, ``int64[B, N]``.

    ``N`` is the largest number of a row; shorter rows are filled with other positions of theirs.
    """
    count = int(read.sum(1).max())
    return read.int().sort(dim=1, descending=True, stable=True).indices[:, :count]
