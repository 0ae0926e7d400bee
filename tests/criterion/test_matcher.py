from __future__ import annotations

import pytest
import torch

from instructseg.criterion.matcher import match, pairwise_bce, pairwise_dice
from instructseg.criterion.targets import TargetBatch
from instructseg.structures import MaskTargets
from tests.criterion.oracle import bce, dice

SIZE = 8


def squares(count: int) -> torch.Tensor:
    """``bool[count, 8, 8]``: different stripes."""
    masks = torch.zeros(count, SIZE, SIZE, dtype=torch.bool)
    for index in range(count):
        masks[index, index] = True
    return masks


def points(rows: int) -> torch.Tensor:
    centres = (torch.arange(SIZE) + 0.5) / SIZE
    grid = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), dim=-1).reshape(1, -1, 2)
    return grid.expand(rows, -1, -1)


def found(logits: torch.Tensor, *targets: MaskTargets) -> list[tuple[int, ...]]:
    matches = match(logits, TargetBatch.pack(targets, logits), points(len(logits)), 5.0, 5.0)
    return list(zip(matches.row.tolist(), matches.query.tolist(), matches.mask.tolist(), strict=True))


def test_costs_as_transformers_and_the_plain_loop():
    from transformers.models.mask2former import modeling_mask2former as mask2former

    logits, labels = 5 * torch.randn(2, 4, 30), torch.rand(2, 3, 30)
    everywhere = torch.ones(2, 30)
    bces, dices = pairwise_bce(logits, labels, everywhere), pairwise_dice(logits, labels, everywhere)
    for row in range(2):
        theirs = mask2former.pair_wise_sigmoid_cross_entropy_loss(logits[row], labels[row])
        torch.testing.assert_close(bces[row], theirs)
        torch.testing.assert_close(dices[row], mask2former.pair_wise_dice_loss(logits[row], labels[row]))
        for query in range(4):
            for mask in range(3):
                torch.testing.assert_close(bces[row, query, mask], bce(logits[row, query], labels[row, mask]))
                torch.testing.assert_close(dices[row, query, mask], dice(logits[row, query], labels[row, mask]))


@pytest.mark.parametrize("pairwise", [pairwise_bce, pairwise_dice])
def test_points_of_weight_0_are_as_if_absent(pairwise):
    logits, labels = torch.randn(1, 4, 30), torch.rand(1, 3, 30)
    weights = torch.ones(1, 30)
    weights[:, 20:] = 0
    torch.testing.assert_close(
        pairwise(logits, labels, weights), pairwise(logits[..., :20], labels[..., :20], weights[:, :20])
    )
    assert pairwise(logits, labels, torch.zeros(1, 30)).isfinite().all()


def test_finds_each_mask_its_query():
    masks = squares(4)
    logits = torch.where(masks, 9.0, -9.0)[[2, 0, 3, 1]][None].repeat(2, 1, 1, 1)
    pairs = found(logits, MaskTargets(masks), MaskTargets(masks[[1, 2]]))
    assert pairs == [(0, 0, 2), (0, 1, 0), (0, 2, 3), (0, 3, 1), (1, 0, 1), (1, 3, 0)]


def test_rows_without_masks_match_nothing():
    logits = torch.randn(3, 2, SIZE, SIZE)
    pairs = found(logits, MaskTargets(squares(0)), MaskTargets(squares(1)), MaskTargets(squares(0)))
    assert [row for row, _, _ in pairs] == [1]
    assert found(logits[:2], *[MaskTargets(squares(0))] * 2) == []


def test_with_more_masks_than_queries_the_costliest_stay_out():
    masks = squares(4)
    logits = torch.where(masks[[3, 1]], 9.0, -9.0)[None]
    assert found(logits, MaskTargets(masks)) == [(0, 0, 3), (0, 1, 1)]


def test_ignored_pixels_do_not_decide():
    # query 0 is right where it counts and wrong elsewhere, query 1 the other way round
    target = torch.zeros(1, SIZE, SIZE, dtype=torch.bool)
    target[:, :, 4:] = True
    ignore = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    ignore[:, :5] = True
    logits = torch.where(target, 9.0, -9.0).repeat(2, 1, 1)
    logits[0, :, :5] *= -1
    logits[1, :, 5:] *= -1
    assert found(logits[None], MaskTargets(target)) == [(0, 1, 0)]
    assert found(logits[None], MaskTargets(target, ignore=ignore)) == [(0, 0, 0)]


def test_a_query_that_is_not_finite_comes_last():
    masks = squares(2)
    logits = torch.where(masks, 1.0, -1.0)[[0, 1, 1]][None].clone()
    logits[0, 1] = torch.nan
    assert found(logits, MaskTargets(masks)) == [(0, 0, 0), (0, 2, 1)]


def test_half_precision_is_compared_in_float32():
    logits = (300 * torch.randn(1, 5, SIZE, SIZE)).half()
    assert found(logits, MaskTargets(squares(3))) == found(logits.float(), MaskTargets(squares(3)))
