from __future__ import annotations

import pytest
import torch

from instructseg.criterion.points import PointSampler, sample_points
from tests.criterion.oracle import read

CPU = torch.device("cpu")


def test_reads_as_the_plain_loop_and_transformers():
    from transformers.models.mask2former.modeling_mask2former import sample_point

    maps, points = torch.randn(2, 3, 5, 7), torch.rand(2, 20, 2)
    found = sample_points(maps, points)
    assert found.shape == (2, 3, 20)
    torch.testing.assert_close(found, sample_point(maps, points, align_corners=False))
    for row in range(2):
        for channel in range(3):
            torch.testing.assert_close(found[row, channel], read(maps[row, channel], points[row]))


def test_a_point_is_the_same_place_at_every_size():
    coarse = torch.arange(12.0).reshape(1, 1, 3, 4)
    fine = coarse.repeat_interleave(8, 2).repeat_interleave(8, 3)
    centres = torch.tensor([[[0.125, 1 / 6], [0.625, 0.5], [0.875, 5 / 6]]])
    torch.testing.assert_close(sample_points(coarse, centres), torch.tensor([[[0.0, 6.0, 11.0]]]))
    torch.testing.assert_close(sample_points(fine, centres), sample_points(coarse, centres))


@pytest.mark.parametrize(("rows", "share"), [(0, 0.75), (1, 0.75), (3, 0.0), (3, 1.0)])
def test_shapes_and_range(rows, share):
    sampler = PointSampler(num_points=8, oversample_ratio=3.0, importance_sample_ratio=share)
    for points in (sampler.uniform(rows, CPU), sampler.uncertain(torch.randn(rows, 4, 4))):
        assert points.shape == (rows, 8, 2)
        assert points.dtype == torch.float32
        assert ((points >= 0) & (points < 1)).all()


def test_uncertain_points_lie_on_the_outline():
    # a vertical edge in the middle: logits -10 on the left, 10 on the right
    logits = torch.full((1, 16, 16), -10.0)
    logits[..., 8:] = 10.0
    sampler = PointSampler(num_points=64, oversample_ratio=8.0, importance_sample_ratio=0.5)
    x, y = sampler.uncertain(logits)[0].T
    # maps fade to 0 at the border of the frame, which counts as outline too
    distance = torch.stack([(x - 0.5).abs(), x, 1 - x, y, 1 - y]).amin(0)
    near, random = distance.split(32)
    assert near.max() < 0.5 / 16
    assert random.max() > 1 / 16


def test_points_are_the_most_uncertain_of_the_candidates(monkeypatch):
    candidates = torch.rand(2, 12, 2)
    monkeypatch.setattr(torch, "rand", lambda *shape, device: candidates)
    logits = torch.randn(2, 6, 6)
    points = PointSampler(num_points=4, oversample_ratio=3.0, importance_sample_ratio=1.0).uncertain(logits)
    for row in range(2):
        ranked = sorted(candidates[row].tolist(), key=lambda p: abs(read(logits[row], torch.tensor([p]))[0]))
        assert sorted(points[row].tolist()) == sorted(ranked[:4])
