"""Sampled answers: only allowed tokens, N samples of one prefix, guidance on logits, top-k by group.

Letters: ``B`` rows, ``N`` samples, ``T`` tokens of the longest answer with its end, ``V`` vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from instructseg.systems.sequence.prefix_decoder import Prefix, PrefixDecoder
from instructseg.systems.sequence.vocabulary import AnswerForms, Vocabulary


@dataclass(frozen=True)
class SamplingOptions:
    """How tokens are chosen.

    Attributes:
        samples: answers of each row.
        temperature: of the logits; 0 for the likeliest token.
        guidance: scale ``s`` of classifier-free guidance, ``l0 + s (l - l0)`` with the logits ``l0`` of the
            unconditional prefix (arXiv 2207.12598 without its factor of 1 + w); 1 for none.
        top_k: tokens that are sampled from at most, by group of the vocabulary; a group without a number has
            no limit. Explanatory Instructions uses 2048 for images and 5 for text.
        seed: of the random numbers; row ``b`` has the same whatever the others are.
    """

    samples: int = 1
    temperature: float = 1.0
    guidance: float = 1.0
    top_k: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"samples must be at least 1, got {self.samples}")
        for name in ("temperature", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for group, count in self.top_k.items():
            if count < 1:
                raise ValueError(f"top_k of '{group}' must be at least 1, got {count}")


@dataclass(frozen=True, eq=False)
class SampledAnswers:
    """Answers of a batch.

    Attributes:
        tokens: ``int64[B, N, T]``; behind the end of an answer, end tokens.
        probabilities: ``float32[B, N, T]``, 0..1, of each token among the allowed ones, at temperature 1 and
            without top-k; 1 behind the end.
    """

    tokens: torch.Tensor
    probabilities: torch.Tensor


@torch.no_grad()
def sample_answers(
    decoder: PrefixDecoder,
    prefix: Prefix,
    forms: AnswerForms,
    options: SamplingOptions,
    unconditional: Prefix | None = None,
) -> SampledAnswers:
    """Samples answers token by token; the prefix is read once for all samples.

    Args:
        decoder: of the logits.
        prefix: of ``B`` rows.
        forms: that answers can have.
        options: how tokens are chosen.
        unconditional: the prefix without its instruction, for guidance.

    Raises:
        ValueError: guidance is asked for without an unconditional prefix.
    """
    if options.guidance != 1 and unconditional is None:
        raise ValueError(f"guidance {options.guidance} needs a prefix without the instruction")
    size, copies = len(prefix.mask), options.samples
    prefixes = [prefix, unconditional] if options.guidance != 1 and unconditional is not None else [prefix]
    started = [decoder.start(one, copies) for one in prefixes]
    logits, states = [one[0] for one in started], [one[1] for one in started]
    noise = _noise(size, copies, forms.longest, options.seed)
    tokens = torch.zeros(size * copies, 0, dtype=torch.int64)
    chances = torch.zeros(size * copies, 0)
    for place in range(forms.longest):
        shares = _shares(logits, forms.allowed(tokens), options.guidance)
        chosen = _choose(shares, forms.vocabulary, options, noise[:, place])
        tokens = torch.cat([tokens, chosen[:, None]], dim=1)
        chances = torch.cat([chances, shares.exp().gather(1, chosen[:, None])], dim=1)
        if bool((chosen == forms.end).all()):
            break
        logits = [state.step(chosen.to(prefix.states.device)) for state in states]
    return SampledAnswers(tokens.unflatten(0, (size, copies)), chances.unflatten(0, (size, copies)))


def sample_in_parts(
    count: int,
    options: SamplingOptions,
    draw: Callable[[slice, SamplingOptions], SampledAnswers],
    end: int,
    at_once: int = 64,
) -> SampledAnswers:
    """Samples of many rows, some at a time.

    Args:
        count: number of rows, ``B``.
        options: of the samples; the rows of each part have random numbers of their own.
        draw: :func:`sample_answers` of a part of the rows.
        end: id of the end token.
        at_once: samples of a part at most, or those of a single row.
    """
    rows = max(at_once // options.samples, 1)
    starts = range(0, count, rows)
    parts = [draw(slice(start, start + rows), replace(options, seed=options.seed + start)) for start in starts]
    longest = max(one.tokens.shape[2] for one in parts)
    return SampledAnswers(
        torch.cat([_longer(one.tokens, longest, end) for one in parts]),
        torch.cat([_longer(one.probabilities, longest, 1) for one in parts]),
    )


def _longer(rows: torch.Tensor, length: int, value: float) -> torch.Tensor:
    """Rows ``[..., T]`` filled up to a length."""
    return torch.nn.functional.pad(rows, (0, length - rows.shape[-1]), value=value)


def guided(logits: torch.Tensor, unconditional: torch.Tensor, scale: float) -> torch.Tensor:
    """Classifier-free guidance on logits of one shape: ``l0 + s (l - l0)``."""
    return unconditional + scale * (logits - unconditional)


def _shares(logits: list[torch.Tensor], allowed: torch.Tensor, scale: float) -> torch.Tensor:
    """Log-probabilities of the allowed tokens, ``float32[R, V]`` on the CPU; the others have -inf."""
    values = [one.float().cpu().log_softmax(-1) for one in logits]
    mixed = guided(values[0], values[1], scale) if len(values) == 2 else values[0]
    return mixed.masked_fill(~allowed, -torch.inf).log_softmax(-1)


def _choose(
    shares: torch.Tensor, vocabulary: Vocabulary, options: SamplingOptions, noise: torch.Tensor
) -> torch.Tensor:
    """A token of each row, ``int64[R]``: the place of a random number among the cumulated shares."""
    if options.temperature == 0:
        return shares.argmax(-1)
    kept = shares.clone()
    for group, count in options.top_k.items():
        ids = vocabulary.ids(group)
        part = kept[:, ids.start : ids.stop]
        if count < part.shape[1]:
            least = part.topk(count, dim=-1).values[:, -1:]
            part.masked_fill_(part < least, -torch.inf)
    chances = (kept / options.temperature).double().softmax(-1)
    summed = chances.cumsum(-1)
    place = torch.searchsorted(summed, (noise * summed[:, -1])[:, None], right=True)[:, 0]
    return place.clamp(max=shares.shape[1] - 1)


def _noise(size: int, copies: int, longest: int, seed: int) -> torch.Tensor:
    """Random numbers ``float64[B * N, T]``, 0..1, of each row and sample: the same in any number of them."""
    rows = [
        np.random.default_rng([seed, row, copy]).random(longest)
        for row in range(size)
        for copy in range(copies)
    ]
    return torch.from_numpy(np.stack(rows))
