"""Choice of visual tokens for the language model: fewer of them, spread over what there is to see.

Greedy k-center (Gonzalez 1985), as EVTP-IVS (arXiv 2508.11886) has it for instructed segmentation: each step
takes the token that is farthest from those taken, by features and by place. What the instruction means weighs
the distance. Chosen tokens keep their order and their positions in the sequence.

Letters: ``N`` tokens, ``D`` channels, ``S`` coordinates of a place, ``T`` tokens of the instruction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch.nn import functional as F

Method = Literal["coverage", "uniform", "random"]
"""Ways to choose."""
METHODS: tuple[Method, ...] = get_args(Method)
SPATIAL = 0.5
"""Weight of the distance of places beside that of features."""
LEAST_WEIGHT = 0.5
"""Weight of the token that has least to do with the instruction; the largest weight is 1."""


@dataclass(frozen=True)
class TokenChoice:
    """Share of the visual tokens that the language model reads.

    Attributes:
        rate: share of the tokens of the key frame, and of those of the perceiver, that are kept; 1 for all.
        method: ``coverage``; ``uniform`` (every n-th) and ``random`` are for comparison.

    Raises:
        ValueError: the rate is not above 0 and at most 1, or there is no such method.
    """

    rate: float = 1.0
    method: Method = "coverage"

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 1:
            raise ValueError(f"keep_tokens must be above 0 and at most 1, got {self.rate}")
        if self.method not in METHODS:
            raise ValueError(f"unknown method {self.method!r}: use {', '.join(METHODS)}")

    @classmethod
    def of(cls, value: TokenChoice | float) -> TokenChoice:
        """A choice from a rate or a choice."""
        return value if isinstance(value, TokenChoice) else cls(value)

    def choose(
        self, features: torch.Tensor, places: torch.Tensor, text: torch.Tensor, seed: int
    ) -> torch.Tensor:
        """Numbers of the kept tokens, rising, ``int64[ceil(rate * N)]`` on the CPU.

        Args:
            features: ``float[N, D]``.
            places: ``float[N, S]``, each coordinate 0..1.
            text: ``float[T, D]``, input embeddings of the instruction.
            seed: of a random choice.
        """
        count = math.ceil(self.rate * len(features))
        if self.method == "uniform":
            return uniform(len(features), count)
        if self.method == "random":
            return random(len(features), count, seed)
        weights = LEAST_WEIGHT + (1 - LEAST_WEIGHT) * relevance(features, text)
        return coverage(distances(features, places), weights, count)


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
    apart = (distance * weights).float().cpu().numpy()  # column j: distances of token j times its weight
    nearest = np.full(len(apart), np.inf, np.float32)
    taken = [int(weights.argmax())]
    while len(taken) < count:
        np.minimum(nearest, apart[taken[-1]], out=nearest)
        nearest[taken[-1]] = -1  # never again, even where copies of it are left
        taken.append(int(nearest.argmax()))
    return torch.tensor(sorted(taken))


def distances(features: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Distances of tokens by what they show and where, ``float[N, N]``.

    Features: half of one minus the cosine, 0..1, once their mean is subtracted. Places: Euclidean, 0..1, by
    the longest possible; weighted by :data:`SPATIAL`.
    """
    directions = F.normalize(features.float() - features.float().mean(0), dim=-1)
    apart = torch.cdist(places.float(), places.float()) / math.sqrt(places.shape[1])
    return (1 - directions @ directions.T) / 2 + SPATIAL * apart


def relevance(features: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """How much tokens have to do with an instruction, ``float[N]``, 0 (least) .. 1 (most).

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
