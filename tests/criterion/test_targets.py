from __future__ import annotations

import pytest
import torch

from instructseg.criterion.targets import TargetBatch
from instructseg.structures import MaskTargets

LOGITS = torch.zeros(2, 3, 4, 6)


def mask(count: int, height: int = 8, width: int = 12) -> torch.Tensor:
    return torch.rand(count, height, width) > 0.5


def test_fills_up_short_rows():
    first, second = mask(1), mask(3)
    is_answer = torch.tensor([True, False, True])
    batch = TargetBatch.pack([MaskTargets(first), MaskTargets(second, is_answer)], LOGITS)
    assert batch.counts == (1, 3)
    assert torch.equal(batch.masks[0, :1], first.float()) and not batch.masks[0, 1:].any()
    assert torch.equal(batch.masks[1], second.float())
    assert batch.is_answer.tolist() == [[True, False, False], [True, False, True]]
    assert batch.ignore is None


def test_samples_some_masks_as_it_samples_all():
    batch = TargetBatch.pack([MaskTargets(mask(2), ignore=mask(1)[0]), MaskTargets(mask(1))], LOGITS)
    points = torch.rand(2, 9, 2)
    labels, weights = batch.sample(points)
    assert labels.shape == (2, 2, 9) and weights.shape == (2, 9)
    row, number = torch.tensor([0, 0, 1]), torch.tensor([1, 0, 0])
    some, some_weights = batch.sample_some(row, number, points[row])
    torch.testing.assert_close(some, labels[row, number])
    torch.testing.assert_close(some_weights, weights[row])
    assert (weights[0] == 0).any() and (weights[1] == 1).all()


def test_a_point_that_touches_an_ignored_pixel_does_not_count():
    ignore = torch.zeros(8, 12, dtype=torch.bool)
    ignore[:, :4] = True
    target = MaskTargets(mask(1), ignore=ignore)
    batch = TargetBatch.pack([target, target], LOGITS)
    # pixel centres 3.5 and 4.5 of 12: what is read between them mixes both
    x = torch.tensor([3.4, 4.4, 4.6, 8.0]) / 12
    points = torch.stack([x, torch.full_like(x, 0.5)], dim=-1).expand(2, -1, -1)
    assert batch.sample(points)[1].tolist() == [[0, 0, 1, 1]] * 2


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([MaskTargets(mask(1))], "1 targets for 2 rows of mask logits: give one per row"),
        ([MaskTargets(mask(1, 9, 12))] * 2, "masks of (9, 12) pixels for logits of (4, 6): pad them"),
        ([MaskTargets(mask(1, 8, 18))] * 2, "masks of (8, 18) pixels for logits of (4, 6): pad them"),
        (
            [MaskTargets(mask(1)), MaskTargets(mask(1, 4, 6))],
            "row 1: masks of shape (1, 4, 6), expected (N, 8, 12) as in row 0",
        ),
        ([MaskTargets(mask(1)), MaskTargets(mask(1)[0])], "row 1: masks of shape (8, 12), expected (N, 8, 12)"),
        (
            [MaskTargets(mask(1)), MaskTargets(mask(2), is_answer=torch.ones(1, dtype=torch.bool))],
            "row 1: is_answer of shape (1,) for 2 masks",
        ),
        (
            [MaskTargets(mask(1), ignore=mask(1, 4, 6)[0]), MaskTargets(mask(1))],
            "row 0: ignore of shape (4, 6) for masks of (8, 12) pixels",
        ),
    ],
)
def test_misfitting_targets_are_named(targets, message):
    with pytest.raises(ValueError) as error:
        TargetBatch.pack(targets, LOGITS)
    assert str(error.value).startswith(message)
