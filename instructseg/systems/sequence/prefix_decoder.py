"""A language model of transformers that goes on from a prefix of embeddings, with a cache.

InstructSeq puts image and text tokens in front of its auto-regressive transformer (section 3.2); tokens of the
prefix see each other (or what is before them, as in Chameleon), tokens of the answer what is before them.

Letters: ``B`` rows, ``P`` positions of the prefix, ``T`` tokens, ``C`` width, ``V`` vocabulary, ``N`` copies.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import ChameleonForConditionalGeneration, DynamicCache, LlamaForCausalLM, LlamaModel

CACHE = "cache" if "cache" in inspect.signature(LlamaModel.forward).parameters else "past_key_values"
"""Name of the cache among the arguments of transformers, which 5.24 changed."""


@dataclass(frozen=True, eq=False)
class Prefix:
    """What an answer is conditioned on.

    Attributes:
        states: ``float[B, P, C]``.
        mask: ``bool[B, P]``, false for padding, which stands at the left.
    """

    states: torch.Tensor
    mask: torch.Tensor

    def repeat(self, times: int) -> Prefix:
        """Each row ``times`` times, one behind the other."""
        return Prefix(self.states.repeat_interleave(times, 0), self.mask.repeat_interleave(times, 0))


class PrefixDecoder(nn.Module):
    """Logits of the next token, behind a prefix.

    Args:
        language: whose vocabulary is that of the answers; a Llama, or another model of transformers that has
            ``model`` and ``lm_head`` as it has them.
        causal: whether tokens of the prefix see those before them alone.
    """

    def __init__(
        self, language: LlamaForCausalLM | ChameleonForConditionalGeneration, causal: bool = False
    ) -> None:
        super().__init__()
        self.language, self.causal = language, causal

    def forward(self, prefix: Prefix, tokens: torch.Tensor) -> torch.Tensor:
        """Logits of every token of answers and of what follows them, all at once, for training.

        Args:
            prefix: of ``B`` rows.
            tokens: ``int64[B, T]``, with padding of any kind behind.

        Returns:
            ``float[B, T + 1, V]``: entry ``t`` is of token ``t``, seen from the tokens before it.
        """
        return self.with_states(prefix, tokens)[0]

    def with_states(self, prefix: Prefix, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits as of :meth:`forward`, and what the last layer reads of the prefix, ``float[B, P, C]``."""
        size, length = prefix.mask.shape
        count = tokens.shape[1]
        states = torch.cat([prefix.states, self.language.model.embed_tokens(tokens)], dim=1)
        real = torch.cat([prefix.mask, prefix.mask.new_ones(size, count)], dim=1)
        seen = self._seen(real, length)
        outputs = self._outputs(states, seen, _places(prefix.mask, count), None, output_hidden_states=True)
        return self._logits(outputs.last_hidden_state[:, length - 1 :]), outputs.hidden_states[-2][:, :length]

    def start(self, prefix: Prefix, copies: int = 1) -> tuple[torch.Tensor, DecodingState]:
        """Reads a prefix once, for ``N`` copies of each row.

        Returns:
            Logits of the first token, ``float[B * N, V]``, copies of a row one behind the other, and the state.
        """
        cache, mask = DynamicCache(), prefix.mask
        found = self._run(prefix.states, self._seen(mask, mask.shape[1]), _places(mask, 0), cache)
        cache.batch_repeat_interleave(copies)
        logits = self._logits(found[:, -1]).repeat_interleave(copies, 0)
        return logits, DecodingState(self, prefix.repeat(copies), cache)

    def next_logits(self, tokens: torch.Tensor, real: torch.Tensor, cache: DynamicCache) -> torch.Tensor:
        """Logits behind one more token, ``float[B, V]``.

        Args:
            tokens: ``int64[B]``, to be added.
            real: ``bool[B, P + T]``, whether a position, those of the tokens included, is no padding.
            cache: of what is before them; grows by one.
        """
        states = self.language.model.embed_tokens(tokens[:, None])
        places = real.long().sum(1, keepdim=True) - 1
        return self._logits(self._run(states, real[:, None], places, cache)[:, -1])

    def _seen(self, real: torch.Tensor, length: int) -> torch.Tensor:
        """What each position sees, ``bool[B, Q, Q]``, of ``length`` positions of a prefix and what follows.

        Padding sees itself, as attention needs something to see.
        """
        count = real.shape[1]
        seen = torch.ones(count, count, dtype=torch.bool, device=real.device).tril()
        if not self.causal:
            seen[:length, :length] = True
        return seen & real[:, None] | torch.eye(count, dtype=torch.bool, device=real.device)

    def _logits(self, states: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.language.lm_head(states)
        return logits

    def _run(self, states: torch.Tensor, seen: torch.Tensor, places: torch.Tensor, cache: Any) -> torch.Tensor:
        found: torch.Tensor = self._outputs(states, seen, places, cache).last_hidden_state
        return found

    def _outputs(
        self, states: torch.Tensor, seen: torch.Tensor, places: torch.Tensor, cache: Any, **options: bool
    ) -> Any:
        return self.language.model(
            inputs_embeds=states,
            attention_mask=seen[:, None],
            position_ids=places,
            use_cache=cache is not None,
            **{CACHE: cache},
            **options,
        )


class DecodingState:
    """Answers under way: a prefix, the tokens so far, and the cache of both."""

    def __init__(self, decoder: PrefixDecoder, prefix: Prefix, cache: DynamicCache) -> None:
        self.decoder, self.prefix, self.cache = decoder, prefix, cache
        self.count = 0

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits behind one more token of each row: ``int64[B]`` to ``float[B, V]``."""
        self.count += 1
        mask = self.prefix.mask
        real = torch.cat([mask, mask.new_ones(len(mask), self.count)], dim=1)
        return self.decoder.next_logits(tokens, real, self.cache)


def _places(mask: torch.Tensor, count: int) -> torch.Tensor:
    """Positions of a prefix and ``count`` tokens behind it, ``int64[B, P + T]``; padding at the left has 0."""
    real = torch.cat([mask, mask.new_ones(len(mask), count)], dim=1)
    return (real.long().cumsum(1) - 1).clamp(min=0)
