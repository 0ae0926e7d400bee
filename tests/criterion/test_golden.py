"""The criterion against the published code."""

from __future__ import annotations

import pytest
import torch

from instructseg.criterion import CriterionConfig, PointSampler, SegCriterion
from instructseg.criterion.matcher import match, pairwise_bce, pairwise_dice
from instructseg.criterion.points import sample_points
from instructseg.criterion.targets import TargetBatch
from tests.criterion.golden import (
    LAYERS,
    OFFICIAL_NAMES,
    POINTS,
    ROWS,
    golden,
    golden_output,
    golden_targets,
    grid_points,
    official_key,
    seeded_points,
)

CONFIG = CriterionConfig(num_points=POINTS)
VARIANTS = {"": seeded_points, "grid.": grid_points}


@pytest.mark.parametrize("variant", VARIANTS)
def test_same_matches(variant):
    data, output = golden(), golden_output()
    targets = TargetBatch.pack(golden_targets(), output.mask_logits)
    layers = [output.mask_logits, *(masks for masks, _ in output.aux)]
    for layer, (mask_logits, points) in enumerate(zip(layers, VARIANTS[variant]().to_match, strict=True)):
        found = match(mask_logits, targets, points, CONFIG.mask_weight, CONFIG.dice_weight)
        for row in range(ROWS):
            expected = f"{variant}match.{layer:02}.b{row}"
            assert found.query[found.row == row].tolist() == data[f"{expected}.query"].tolist()
            assert found.mask[found.row == row].tolist() == data[f"{expected}.target"].tolist()


def test_same_costs():
    data, output = golden(), golden_output()
    targets = TargetBatch.pack(golden_targets(), output.mask_logits)
    points = seeded_points().to_match[0]
    compared = (sample_points(output.mask_logits, points), *targets.sample(points))
    cost = CONFIG.mask_weight * pairwise_bce(*compared) + CONFIG.dice_weight * pairwise_dice(*compared)
    for row, count in enumerate(targets.counts):
        torch.testing.assert_close(cost[row, :, :count], data[f"match_cost.{row:02}"], atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_same_losses_at_recorded_points(variant):
    data, sampler = golden(), VARIANTS[variant]()
    losses = SegCriterion(CONFIG, sampler)(golden_output(), golden_targets())
    checked = [name for name in losses.raw if name.partition("_")[0] in OFFICIAL_NAMES]
    assert len(checked) == 3 * LAYERS
    for name in checked:
        torch.testing.assert_close(losses.raw[name], data[variant + official_key(name)], atol=3e-5, rtol=0)
    for part, official in OFFICIAL_NAMES.items():
        torch.testing.assert_close(losses.parts[part], data[f"{variant}loss.{official}"], atol=2e-4, rtol=1e-5)
    without_text = data[f"{variant}loss.loss"] - data[f"{variant}loss.loss_llm"]
    torch.testing.assert_close(losses.total, without_text, atol=3e-4, rtol=1e-5)


def test_same_losses_from_the_seed():
    torch.manual_seed(int(golden()["point_seed"]))
    losses = SegCriterion(CONFIG)(golden_output(), golden_targets())
    for name, loss in losses.raw.items():
        if name.partition("_")[0] in OFFICIAL_NAMES:
            torch.testing.assert_close(loss, golden()[official_key(name)], atol=3e-5, rtol=0)


def test_draws_in_the_official_order(monkeypatch):
    recorded = [golden()[f"rand.{index:03}"] for index in range(4 * LAYERS)]
    shapes = [tuple(draw.shape) for draw in recorded]
    asked = []

    def replayed(*shape, device=None):
        asked.append(shape)
        return recorded[len(asked) - 1]

    monkeypatch.setattr(torch, "rand", replayed)
    SegCriterion(CONFIG)(golden_output(), golden_targets())
    assert asked == shapes


def test_chooses_the_recorded_uncertain_points():
    data, output = golden(), golden_output()
    torch.manual_seed(int(data["point_seed"]))
    sampler = PointSampler(POINTS, *data["ratios"].tolist())
    drawn = sampler.uniform(ROWS, torch.device("cpu"))
    torch.testing.assert_close(drawn, torch.cat([data["rand.000"], data["rand.001"]]), atol=0, rtol=0)
    masks = torch.cat([output.mask_logits[row, data[f"match.00.b{row}.query"]] for row in range(ROWS)])
    found, expected = sampler.uncertain(masks), data["point_coords.00"]
    # the order of near-ties is not fixed
    for ours, theirs in zip(found, expected, strict=True):
        assert sorted(ours.tolist()) == sorted(theirs.tolist())
