"""Fewer visual tokens for the language model, spread over what there is to see.

Greedy k-center (Gonzalez 1985), as EVTP-IVS (arXiv 2508.11886) has it for instructed segmentation: each step
takes the token that is farthest from those taken, by features and by place. Each token left out is merged into
the nearest taken one, which attention then reads as so many copies (ToMe, arXiv 2210.09461). Tokens keep their
order, and their positions in the sequence.

Letters: ``N`` tokens, ``M`` kept ones, ``D`` channels, ``S`` coordinates of a place, ``T`` tokens of the
instruction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch.nn import functional as F

from instructseg.model.language import Placement
from instructseg.structures import IGNORE_LABEL, Role

Method = Literal["coverage", "instruction", "uniform", "random"]
"""Ways to choose."""
METHODS: tuple[Method, ...] = get_args(Method)
SPATIAL = 0.25
"""Weight of the distance of places beside that of features."""
LEAST_WEIGHT = 0.5
"""Weight, for ``instruction``, of the token that has least to do with it; the largest is 1."""


@dataclass(frozen=True)
class TokenChoice:
    """Share of the visual tokens that the language model reads.

    Attributes:
        rate: share of the tokens of the key frame that are kept, above 0 and at most 1; 1 for all.
        perceiver: likewise, of those of the perceiver: few already, and dense.
        method: ``coverage``. Others are for comparison: ``instruction`` weighs the distance by what a token has
            to do with the instruction, ``uniform`` takes every n-th token, ``random`` any.
        merge: whether tokens left out are merged into the nearest kept one.

    Raises:
        ValueError: a rate is out of range, or there is no such method.
    """

    rate: float = 1.0
    perceiver: float = 1.0
    method: Method = "coverage"
    merge: bool = True

    def __post_init__(self) -> None:
        for rate in (self.rate, self.perceiver):
            if not 0 < rate <= 1:
                raise ValueError(f"keep_tokens must be above 0 and at most 1, got {rate}")
        if self.method not in METHODS:
            raise ValueError(f"unknown method {self.method!r}: use {', '.join(METHODS)}")

    @classmethod
    def of(cls, value: TokenChoice | float) -> TokenChoice:
        """A choice from a rate or a choice."""
        return value if isinstance(value, TokenChoice) else cls(value)

    @property
    def keeps_all(self) -> bool:
        """Whether no token is left out."""
        return self.rate == self.perceiver == 1

    def condense(
        self, rate: float, features: torch.Tensor, places: torch.Tensor, text: torch.Tensor, seed: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Kept tokens, ``M = ceil(rate * N)``.

        Args:
            rate: of these tokens.
            features: ``float[N, D]``.
            places: ``float[N, S]``, each coordinate 0..1.
            text: ``float[T, D]``, input embeddings of the instruction.
            seed: of a random choice.

        Returns:
            Their numbers, rising, ``int64[M]`` on the CPU; what the language model reads in their places,
            ``float[M, D]``; and how many tokens each stands for, ``float32[M]`` on the CPU.
        """
        count = math.ceil(rate * len(features))
        if count == len(features):
            return torch.arange(count), features, torch.ones(count)
        apart = distances(features.detach(), places)  # the choice is not learned, what is read is
        if self.method == "uniform":
            kept = uniform(len(features), count)
        elif self.method == "random":
            kept = random(len(features), count, seed)
        else:
            weights = torch.ones(len(features), device=features.device)
            if self.method == "instruction":
                weights = LEAST_WEIGHT + (1 - LEAST_WEIGHT) * relevance(features, text)
            kept = coverage(apart, weights, count)
        there = kept.to(features.device)
        if not self.merge:
            return kept, features[there], torch.ones(count)
        read, sizes = merged(features, apart, there)
        return kept, read, sizes.cpu()


ALL_TOKENS = TokenChoice()


def uniform(tokens: int, count: int) -> torch.Tensor:
    """``count`` of ``tokens`` at equal steps: the middle of each of ``count`` equal parts."""
    return torch.arange(count).mul(2).add(1).mul(tokens).div(2 * count, rounding_mode="floor")


def random(tokens: int, count: int, seed: int) -> torch.Tensor:
    """``count`` of ``tokens`` at random, rising."""
    drawn = torch.randperm(tokens, generator=torch.Generator().manual_seed(seed))
    return drawn[:count].sort().values


def coverage(distance: torch.Tensor, weights: torch.Tensor, count: int) -> torch.Tensor:
    """Greedy weighted k-center.

    The first token is that of the largest weight. Each further one has the largest product of weight and
    distance to the nearest token taken; of equal ones the first.

    Args:
        distance: ``float[N, N]``.
        weights: ``float[N]``, positive.
        count: 1..N.

    Returns:
        ``int64[count]`` on the CPU, rising.
    """
    # many tiny steps: a copy on the CPU is faster than kernels on a GPU
    apart = (distance * weights).cpu().numpy()  # column j: distances of token j times its weight
    nearest = np.full(len(apart), np.inf, np.float32)
    taken = [int(weights.argmax())]
    while len(taken) < count:
        np.minimum(nearest, apart[taken[-1]], out=nearest)
        nearest[taken[-1]] = -1  # never again, even where copies of it are left
        taken.append(int(nearest.argmax()))
    return torch.tensor(sorted(taken))


def distances(features: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Distances of tokens by what they show and where, ``float32[N, N]``.

    Euclidean in both: of features over the largest, and :data:`SPATIAL` times that of places over the largest
    possible.
    """
    shown = torch.cdist(features.float(), features.float())
    apart = torch.cdist(places.float(), places.float()) / math.sqrt(places.shape[1])
    return shown / shown.amax().clamp(min=torch.finfo(torch.float32).tiny) + SPATIAL * apart


def merged(
    features: torch.Tensor, distance: torch.Tensor, kept: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean of each kept token and of those that are nearest to it, ``float[M, D]``, and their numbers.

    Args:
        features: ``float[N, D]``.
        distance: ``float[N, N]``.
        kept: ``int64[M]``, different ones.

    Returns:
        The means, and ``float32[M]``, how many tokens they are of.
    """
    nearest = distance[:, kept].argmin(1)  # (N,) place among the kept
    nearest[kept] = torch.arange(len(kept), device=kept.device)  # a token's copy must not draw it away
    sums = features.new_zeros(len(kept), features.shape[1], dtype=torch.float32)
    sums.index_add_(0, nearest, features.float())
    sizes = nearest.bincount(minlength=len(kept)).float()
    return (sums / sizes[:, None]).to(features.dtype), sizes


def relevance(features: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """How much tokens have to do with an instruction, ``float32[N]``, 0 (least) .. 1 (most).

    The largest cosine with a token of the instruction.
    """
    cosine = F.normalize(features.float(), dim=-1) @ F.normalize(text.float(), dim=-1).T
    best = cosine.amax(1)
    low, high = best.amin(), best.amax()
    return (best - low) / (high - low).clamp(min=torch.finfo(torch.float32).tiny)


def grid_places(tokens: int) -> torch.Tensor:
    """Places of the tokens of an image, row by row, ``float[N, 2]``; ``float[N, 1]`` if they are no square."""
    side = math.isqrt(tokens)
    if side * side != tokens:
        return torch.linspace(0, 1, tokens)[:, None]
    line = torch.linspace(0, 1, side)
    return torch.cartesian_prod(line, line)


def thin(
    embeds: torch.Tensor, roles: torch.Tensor, labels: torch.Tensor | None, images: torch.Tensor, rate: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, Placement]:
    """A batch that reads a share of each image's tokens, chosen by coverage; gradients reach all of them.

    Args:
        embeds: ``float[B, L, D]``.
        roles: ``int64[B, L]``.
        labels: ``int64[B, L]``; ``None`` likewise comes back.
        images: ``int64[B]``, the image of each row.
        rate: above 0 and at most 1.

    Returns:
        The same, ``L`` shorter, with positions and sizes of what is left.
    """
    choice, at = TokenChoice(rate), roles == Role.IMAGE
    sizes = torch.ones(roles.shape, device=roles.device)  # 0 where a token is left out
    condensed: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    read = [embeds.new_zeros(0, embeds.shape[-1])]
    for row in at.any(1).nonzero().flatten().tolist():
        image, shown = int(images[row]), embeds[row, at[row]]
        if image not in condensed:
            places = grid_places(len(shown)).to(shown.device)
            chosen, tokens, counts = choice.condense(rate, shown, places, shown[:0], 0)
            kept = torch.zeros(len(shown)).index_copy(0, chosen, counts)
            condensed[image] = tokens, kept.to(roles.device)
        sizes[row, at[row]] = condensed[image][1]
        read.append(condensed[image][0])
    left = sizes > 0
    embeds = embeds.masked_scatter((at & left)[..., None], torch.cat(read).to(embeds.dtype))
    order = (~left).to(torch.int8).argsort(dim=1, stable=True)[:, : int(left.sum(1).max())]
    real = left.gather(1, order)
    if labels is not None:
        labels = labels.gather(1, order).where(real, IGNORE_LABEL)
    return (
        embeds.gather(1, order[..., None].expand(-1, -1, embeds.shape[-1])),
        roles.gather(1, order).where(real, int(Role.PAD)),
        labels,
        Placement(order, sizes.gather(1, order).clamp(min=1)),
    )
