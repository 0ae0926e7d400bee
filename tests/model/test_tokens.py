"""The choice of visual tokens: against plain loops, and positions that are kept."""

from __future__ import annotations

import math

import pytest
import torch

from instructseg.model.tokens import (
    METHODS,
    SPATIAL,
    TokenChoice,
    coverage,
    distances,
    grid_places,
    merged,
    random,
    relevance,
    uniform,
)


def plain_k_center(distance: list[list[float]], weights: list[float], count: int) -> list[int]:
    """Greedy weighted k-center, token by token."""
    taken = [max(range(len(weights)), key=lambda i: weights[i])]
    while len(taken) < count:
        best, far = -1, -1.0
        for token, weight in enumerate(weights):
            if token not in taken:
                near = min(distance[token][other] for other in taken) * weight
                if near > far:
                    best, far = token, near
        taken.append(best)
    return sorted(taken)


def plain_distance(features: torch.Tensor, places: torch.Tensor) -> list[list[float]]:
    def apart(values: torch.Tensor, i: int, j: int) -> float:
        return float((values[i] - values[j]).square().sum().sqrt())

    count = range(len(features))
    largest = max(apart(features, i, j) for i in count for j in count)
    side = math.sqrt(places.shape[1])
    return [
        [apart(features, i, j) / largest + SPATIAL * apart(places, i, j) / side for j in count] for i in count
    ]


@pytest.mark.parametrize("count", [1, 2, 7, 20, 25])
def test_coverage_is_greedy_weighted_k_center(count: int) -> None:
    torch.manual_seed(count)
    features, places, weights = torch.randn(25, 8), grid_places(25), torch.rand(25) + 0.5
    expected = plain_k_center(plain_distance(features, places), weights.tolist(), count)
    assert coverage(distances(features, places), weights, count).tolist() == expected


def test_distances_are_those_of_a_plain_loop() -> None:
    torch.manual_seed(0)
    features, places = torch.randn(9, 5), torch.rand(9, 3)
    expected = torch.tensor(plain_distance(features, places))
    torch.testing.assert_close(distances(features, places), expected, atol=1e-5, rtol=1e-5)
    assert not distances(torch.ones(3, 2), torch.ones(3, 1)).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_merged_token_is_the_mean_of_those_nearest_to_it(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    features, apart = torch.randn(12, 4).to(dtype), torch.rand(12, 12)
    apart.fill_diagonal_(0)
    apart[3, 7] = apart[7, 3] = 0  # copies, both kept
    kept = torch.tensor([1, 3, 7])
    groups: dict[int, list[int]] = {place: [] for place in kept.tolist()}
    for token in range(12):
        own = token if token in groups else min(groups, key=lambda place: float(apart[token, place]))
        groups[own].append(token)
    expected = torch.stack([features[group].float().mean(0) for group in groups.values()]).to(dtype)
    found, sizes = merged(features, apart, kept)
    assert found.dtype == dtype
    assert sizes.tolist() == [len(group) for group in groups.values()]
    torch.testing.assert_close(found, expected)


def test_nothing_is_merged_where_all_are_kept() -> None:
    features = torch.randn(9, 4)
    kept, read, sizes = TokenChoice().condense(1.0, features, grid_places(9), torch.randn(1, 4), 0)
    assert sizes.tolist() == [1] * 9
    assert kept.tolist() == list(range(9))
    assert torch.equal(read, features)


def test_copies_of_a_token_are_taken_last() -> None:
    """Three frames, two of them the same: the copies leave first."""
    torch.manual_seed(0)
    first, second = torch.randn(4, 8), torch.randn(4, 8)
    apart = distances(torch.cat((first, first, second)), torch.zeros(12, 1))
    assert set(coverage(apart, torch.ones(12), 8).tolist()) == {0, 1, 2, 3, 8, 9, 10, 11}
    assert coverage(apart, torch.ones(12), 12).tolist() == list(range(12))


def test_what_the_instruction_means_is_taken_first() -> None:
    text = torch.tensor([[0.0, 1.0]])
    features = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [0.0, -1.0]])
    assert relevance(features, text).tolist() == [0.5, 1.0, 0.5, 0.0]
    places = torch.zeros(4, 1)
    assert TokenChoice(method="instruction").condense(0.25, features, places, text, 0)[0].tolist() == [1]
    assert TokenChoice().condense(0.25, features, places, text, 0)[0].tolist() == [0]


@pytest.mark.parametrize("tokens", [1, 8, 13, 64, 729])
def test_uniform_parts_are_equal(tokens: int) -> None:
    for count in {1, math.ceil(tokens / 5), tokens}:
        found = uniform(tokens, count)
        assert len(found.unique()) == count
        assert found.min() >= 0
        assert found.max() < tokens
        edges = torch.cat((-found[:1] - 1, found, 2 * tokens - found[-1:] - 1))  # mirrored at both ends
        steps = edges.diff()
        assert steps.max() - steps.min() <= 2
        assert found.diff().numel() == 0 or found.diff().max() - found.diff().min() <= 1
    assert uniform(tokens, tokens).tolist() == list(range(tokens))


def test_random_takes_every_token_as_often() -> None:
    taken = torch.stack([torch.zeros(10).index_fill(0, random(10, 3, seed), 1) for seed in range(2000)])
    assert taken.sum(1).eq(3).all()
    assert taken.mean(0).sub(0.3).abs().max() < 0.05
    assert random(10, 3, 7).tolist() == random(10, 3, 7).tolist()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rate", [0.01, 0.2, 0.5, 1.0])
def test_a_rate_is_rounded_up(method: str, rate: float) -> None:
    torch.manual_seed(0)
    features, text = torch.randn(64, 4), torch.randn(2, 4)
    found, plain, sizes = TokenChoice(method=method, merge=False).condense(
        rate, features, grid_places(64), text, 0
    )  # type: ignore[arg-type]
    assert len(found) == math.ceil(rate * 64)
    assert found.tolist() == sorted(set(found.tolist()))
    assert torch.equal(plain, features[found])
    assert sizes.tolist() == [1] * len(found)


def test_places_are_rows_and_columns_of_a_square() -> None:
    assert grid_places(4).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert grid_places(3).tolist() == [[0.0], [0.5], [1.0]]
    assert grid_places(1).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.5, float("nan")])
def test_a_rate_out_of_range_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=f"keep_tokens must be above 0 and at most 1, got {rate}"):
        TokenChoice.of(rate)
    with pytest.raises(ValueError, match=f"at most 1, got {rate}"):
        TokenChoice(perceiver=rate)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown method 'best': use coverage, instruction, uniform, random"):
        TokenChoice(0.5, method="best")  # type: ignore[arg-type]
