"""Percentile bootstrap over groups: the spread of a figure over drawn scenes.

Efron, "Bootstrap methods: another look at the jackknife" (1979). Instructions on one scene succeed and fail
together, so whole scenes are drawn again, not instructions.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

RESAMPLES = 2000


def interval(
    numerators: Sequence[float],
    denominators: Sequence[float],
    groups: Sequence[Hashable],
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Bounds of ``sum(numerators) / sum(denominators)``; a mean where the denominators are 1.

    Args:
        numerators: one per instruction.
        denominators: likewise, not negative.
        groups: the scene of each.
        level: part of the resamples between the bounds, 0..1.

    Returns:
        Lower and upper bound; both 0 where there is nothing.

    Raises:
        ValueError: the lengths differ.
    """
    if not len(numerators) == len(denominators) == len(groups):
        raise ValueError(
            f"{len(numerators)} numerators, {len(denominators)} denominators, {len(groups)} groups"
        )
    places = {group: place for place, group in enumerate(dict.fromkeys(groups))}
    if not places or not sum(denominators):
        return 0.0, 0.0
    which, count = [places[group] for group in groups], len(places)
    above, below = (np.bincount(which, weights=part, minlength=count) for part in (numerators, denominators))
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    whole = drawn @ below
    ratios = (drawn @ above)[whole > 0] / whole[whole > 0]
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
