"""Masks at the frame's size: against the released order written as a plain loop, and all queries at once."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from instructseg.inference.postprocess import all_masks, best_masks, postprocess, predictions
from instructseg.structures import Geometry, ModelInputs, SegOutput

module = import_module("instructseg.inference.postprocess")  # the room has a function of the same name
sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))


@st.composite
def rows(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, Geometry]:
    """Logits of some rows on frames of one geometry; few different values, so that scores are often equal."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    cells, count, queries = draw(st.sampled_from([8, 16])), draw(st.integers(1, 3)), draw(st.integers(1, 7))
    logits = torch.randn(count, queries, cells, cells, generator=generator) * draw(st.sampled_from([1.0, 8.0]))
    seg = torch.randn(count, queries, generator=generator)
    if draw(st.booleans()):
        seg, logits = seg.round(), logits[:, :1].expand(-1, queries, -1, -1).clone()
    if draw(st.booleans()):
        logits[:, 0] = -1  # an empty mask
    resized = draw(st.tuples(st.integers(1, 4 * cells), st.integers(1, 4 * cells)))
    return logits, seg, Geometry(draw(sizes), resized, (4 * cells, 4 * cells))


def official(logits: torch.Tensor, seg: torch.Tensor, geometry: Geometry) -> tuple[torch.Tensor, torch.Tensor]:
    """One row as the released evaluation does it, query by query."""
    masks, values = [], []
    for query, score in zip(logits, seg, strict=True):
        padded = F.interpolate(query[None, None], geometry.padded, mode="bilinear", align_corners=False)
        cropped = padded[:, :, : geometry.resized[0], : geometry.resized[1]]
        mask = F.interpolate(cropped, geometry.original, mode="bilinear", align_corners=False)[0, 0]
        inside = (mask > 0).float()
        masks.append(mask)
        values.append(score.sigmoid() * (mask.sigmoid() * inside).sum() / (inside.sum() + 1e-6))
    return torch.stack(masks), torch.stack(values)


@settings(max_examples=60, deadline=None)
@given(rows())
def test_all_masks_is_the_released_order(row: tuple[torch.Tensor, torch.Tensor, Geometry]) -> None:
    logits, seg, geometry = row
    for one, scores in zip(logits, seg, strict=True):
        masks, values = all_masks(one, scores, geometry)
        expected_masks, expected_values = official(one, scores, geometry)
        torch.testing.assert_close(masks, expected_masks, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(values, expected_values, atol=1e-5, rtol=1e-5)


@settings(max_examples=120, deadline=None)
@given(rows(), st.integers(1, 4))
def test_best_masks_equals_enlarging_all(
    row: tuple[torch.Tensor, torch.Tensor, Geometry], at_once: int
) -> None:
    logits, seg, geometry = row
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "QUERIES_AT_ONCE", at_once)
        best = best_masks(logits, seg, geometry)
    for i in range(len(seg)):
        masks, values = all_masks(logits[i], seg[i], geometry)
        rivals = (values - values.max()).abs() < 1e-6  # a sum's last bits depend on what is summed beside it
        assert rivals[best.query[i]]
        torch.testing.assert_close(best.logits[i], masks[best.query[i]], atol=1e-6, rtol=1e-6)
        assert best.score[i] == pytest.approx(float(values.max()), abs=1e-6)


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_of_equal_scores_the_first_query_wins(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUERIES_AT_ONCE", at_once)
    seg = torch.tensor([[0.0, 40.0, 40.0, -1.0, 40.0]])  # probabilities of exactly 1: sums are exact
    best = best_masks(torch.full((1, 5, 8, 8), 40.0), seg, Geometry((32, 32), (32, 32), (32, 32)))
    assert best.query.tolist() == [1]


def test_queries_that_cannot_win_are_not_enlarged(monkeypatch: pytest.MonkeyPatch) -> None:
    enlarged: list[int] = []
    real = module.all_masks

    def counted(
        logits: torch.Tensor, seg: torch.Tensor, geometry: Geometry
    ) -> tuple[torch.Tensor, torch.Tensor]:
        enlarged.append(logits.shape[0] * logits.shape[1])
        return real(logits, seg, geometry)

    monkeypatch.setattr(module, "all_masks", counted)
    seg = torch.full((2, 100), -3.0)
    seg[:, 60] = 4.0
    best_masks(torch.full((2, 100, 8, 8), 5.0), seg, Geometry((32, 32), (32, 32), (32, 32)))
    assert sum(enlarged) == 2 * module.QUERIES_AT_ONCE


def test_padding_does_not_reach_the_mask() -> None:
    logits = torch.full((1, 1, 8, 8), -9.0)
    logits[..., :4, :] = 9.0  # the picture is the upper half, the lower one is padding
    best = best_masks(logits, torch.zeros(1, 1), Geometry((50, 100), (12, 32), (32, 32)))
    assert best.logits.shape == (1, 50, 100)
    assert bool((best.logits > 0).all())


def batch_output(count: int) -> tuple[SegOutput, list[Geometry]]:
    generator = torch.Generator().manual_seed(3)
    output = SegOutput(
        torch.randn(count, 5, 8, 8, generator=generator), torch.randn(count, 5, generator=generator)
    )
    shapes = [Geometry((20, 30), (21, 32), (32, 32)), Geometry((30, 20), (32, 21), (32, 32))]
    return output, [shapes[i % 2] for i in range(count)]


@pytest.mark.parametrize("pixels", [1, 2**26])
def test_a_batch_gives_what_each_row_gives(pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIXELS_AT_ONCE", pixels)
    output, geometry = batch_output(5)
    assert output.mask_logits is not None and output.seg_logits is not None
    together = predictions(output, geometry, [str(i) for i in range(5)], soft=True)
    for i, found in enumerate(together):
        single = SegOutput(output.mask_logits[i : i + 1], output.seg_logits[i : i + 1])
        (alone,) = predictions(single, geometry[i : i + 1], soft=True)
        assert found.instruction == str(i)
        assert found.mask.shape == geometry[i].original and found.mask.dtype == bool
        np.testing.assert_array_equal(found.mask, alone.mask)
        assert found.score == pytest.approx(alone.score, abs=1e-6)
        assert found.presence == pytest.approx(float(output.seg_logits[i].sigmoid().max()))
        assert found.probability is not None
        np.testing.assert_array_equal(found.probability > 0.5, found.mask)


def test_a_threshold_empties_masks_of_low_presence() -> None:
    output, geometry = batch_output(4)
    plain = predictions(output, geometry)
    cut = sorted(found.presence for found in plain)[2]
    for before, after in zip(plain, predictions(output, geometry, threshold=cut), strict=True):
        kept = before.presence >= cut
        assert after.mask.any() == (kept and before.mask.any())
        assert (after.score, after.presence) == (before.score, before.presence)
    for found in predictions(output, geometry, threshold=cut, soft=True):
        assert found.probability is not None and found.probability.any() == (found.presence >= cut)
    assert all(found.probability is None for found in plain)


def test_an_empty_winner_scores_nothing() -> None:
    output = SegOutput(torch.full((1, 3, 8, 8), -1.0), torch.zeros(1, 3))
    (found,) = predictions(output, [Geometry((9, 1), (32, 4), (32, 32))])
    assert found.score == 0 and not found.mask.any() and found.mask.shape == (9, 1)


def test_rows_without_masks_and_shared_pictures() -> None:
    output, geometry = batch_output(3)
    inputs = ModelInputs(
        torch.zeros(4, 1), torch.zeros(4, 1), torch.zeros(2, 1), torch.zeros(2),
        geometry=tuple(geometry[:2]), image_index=torch.tensor([1, 0, 0, 1]),
    )  # fmt: skip
    rows = SegOutput(output.mask_logits, output.seg_logits, mask_rows=torch.tensor([0, 2, 3]))
    shapes = [found.mask.shape for found in postprocess(rows, inputs)]
    assert shapes == [geometry[1].original, geometry[0].original, geometry[1].original]
    assert postprocess(SegOutput(None, None, mask_rows=torch.tensor([])), inputs) == []


def test_bad_arguments() -> None:
    output, geometry = batch_output(2)
    with pytest.raises(ValueError, match=r"threshold 1\.5 is outside 0\.\.1"):
        predictions(output, geometry, threshold=1.5)
    with pytest.raises(ValueError, match="not finite: load it with dtype"):
        predictions(SegOutput(torch.zeros(1, 2, 8, 8), torch.tensor([[0.0, torch.nan]])), geometry[:1])
