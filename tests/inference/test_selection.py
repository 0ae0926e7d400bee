"""Objects of an instruction: drawn masks with known scores, and plain loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from instructseg.inference.postprocess import all_masks, predictions
from instructseg.inference.selection import AnswerOptions, AnswerRule, answers, join, select_objects
from instructseg.prediction import Prediction
from instructseg.structures import Geometry, SegOutput

SIDE = 16
GEOMETRY = Geometry((SIDE * 4, SIDE * 4), (SIDE * 4, SIDE * 4), (SIDE * 4, SIDE * 4))


def squares(*boxes: tuple[int, int, int, int]) -> torch.Tensor:
    """Mask logits ``float[Q, SIDE, SIDE]`` of rectangles ``(left, top, right, bottom)``; far from 0."""
    logits = torch.full((len(boxes), SIDE, SIDE), -20.0)
    for place, (left, top, right, bottom) in enumerate(boxes):
        logits[place, top:bottom, left:right] = 20.0
    return logits


def output(masks: torch.Tensor, *scores: list[float]) -> SegOutput:
    """One row for each list of similarities (0..1)."""
    return SegOutput(masks.expand(len(scores), *masks.shape), torch.tensor(scores).logit())


LEFT, RIGHT, BELOW, ALMOST_LEFT, BOTH = (1, 1, 6, 6), (9, 1, 14, 6), (5, 9, 10, 14), (1, 1, 6, 7), (1, 1, 14, 6)


def found(scores: list[float], text: str = "the dog", **options: object) -> list[Prediction]:
    masks = squares(LEFT, RIGHT, BELOW, ALMOST_LEFT)
    rule = replace(AnswerRule(threshold=0.1, all_instances=True), **options)  # type: ignore[arg-type]
    (some,) = answers(output(masks, scores), GEOMETRY, [text], [7], rule)
    assert all(one.instruction == text and one.instruction_id == 7 for one in some)
    return some


def test_every_object_has_its_mask_and_score() -> None:
    scores = [0.9, 0.7, 0.6, 0.8]
    some = found(scores)
    logits, expected = all_masks(squares(LEFT, RIGHT, BELOW), torch.tensor(scores[:3]).logit(), GEOMETRY)
    assert [one.score for one in some] == pytest.approx(expected.tolist())  # ALMOST_LEFT is LEFT again
    for one, mask in zip(some, logits > 0, strict=True):
        assert np.array_equal(one.mask, mask.numpy()) and one.presence == pytest.approx(0.9)
    assert some[0].box == (4, 4, 24, 24)


def test_the_cut_decides_and_the_best_remains() -> None:
    assert len(found([0.9, 0.45, 0.6, 0.1])) == 2
    assert len(found([0.9, 0.45, 0.6, 0.1], cut=0.4)) == 3
    (only,) = found([0.2, 0.3, 0.05, 0.05])
    assert only.score == pytest.approx(0.3, abs=5e-3) and only.box == (36, 4, 56, 24)


def test_below_the_threshold_nothing_is_there() -> None:
    scores = [0.2, 0.3, 0.05, 0.05]
    (nothing,), (best,) = (
        found(scores, threshold=threshold, soft=True, all_instances=several)
        for threshold, several in ((0.35, True), (0.0, False))
    )
    assert not nothing.found and nothing.presence == pytest.approx(0.3) and nothing.id == 0
    assert nothing.score == best.score < 0.3 and best.found  # that of the best mask, as where one is asked for
    assert nothing.probability is not None and not nothing.probability.any()


def test_the_temperature_moves_the_presence_alone() -> None:
    for several in (True, False):
        (first, *_), (other, *_) = (
            found([0.9, 0.2, 0.2, 0.2], temperature=t, all_instances=several) for t in (1, 2)
        )
        assert first.presence == pytest.approx(0.9) and first.score == other.score
        assert other.presence == pytest.approx(0.75)  # the odds of 9 become their root


def test_words_that_mean_several_need_no_option() -> None:
    scores = [0.9, 0.8, 0.7, 0.1]
    assert len(found(scores, "the dog", all_instances=None)) == 1
    assert len(found(scores, "all the dogs", all_instances=None)) == 3
    assert [round(one.score, 2) for one in found(scores, "both dogs", all_instances=None)] == [0.9, 0.8]
    assert len(found(scores, "both dogs", all_instances=False)) == 1


def test_a_union_joins_all() -> None:
    (one,) = found([0.9, 0.8, 0.7, 0.1], all_instances=None, union=True, soft=True)
    expected = np.any([other.mask for other in found([0.9, 0.8, 0.7, 0.1])], axis=0)
    assert np.array_equal(one.mask, expected) and one.score == pytest.approx(0.9, abs=5e-3)
    assert one.probability is not None and np.array_equal(one.probability > 0.5, expected)
    assert join([one]).mask is not one.mask and np.array_equal(join([one]).mask, one.mask)


def test_single_rows_among_others_are_those_of_predictions() -> None:
    masks, scores = squares(LEFT, RIGHT, BELOW, ALMOST_LEFT), [[0.9, 0.8, 0.1, 0.2], [0.1, 0.2, 0.8, 0.1]]
    texts = ["both dogs", "the dog"]
    some = answers(output(masks, *scores), GEOMETRY, texts, [3, 5], AnswerRule(0.1, soft=True))
    assert [len(row) for row in some] == [2, 1]
    (expected,) = predictions(output(masks, scores[1]), [GEOMETRY], ["the dog"], threshold=0.1, soft=True)
    assert np.array_equal(some[1][0].mask, expected.mask) and some[1][0].score == expected.score
    assert (some[1][0].id, some[1][0].instruction_id) == (6, 5) and some[0][0].id == 0


def boxes(*all_boxes: tuple[int, int, int, int]) -> np.ndarray:
    return (squares(*all_boxes) > 0).numpy()


def test_a_union_of_objects_gives_way_to_them() -> None:
    masks = boxes(BOTH, LEFT, (7, 1, 14, 6), BELOW)
    assert select_objects(masks, np.array([0.9, 0.8, 0.7, 0.6])) == [1, 2, 3]


def test_a_part_gives_way_to_its_object() -> None:
    masks = boxes(BOTH, (1, 1, 4, 6), (12, 1, 14, 6), BELOW)
    assert select_objects(masks, np.array([0.7, 0.8, 0.9, 0.6])) == [0, 3]


def test_duplicates_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        corner = rng.integers(0, 12, (8, 2))
        masks = boxes(*((x, y, x + 4, y + 4) for x, y in corner.tolist()))
        scores = rng.random(8)
        kept: list[int] = []
        for place in sorted(range(8), key=lambda i: -scores[i]):
            ious = [(masks[place] & masks[i]).sum() / (masks[place] | masks[i]).sum() for i in kept]
            if all(iou < 0.5 for iou in ious):
                kept.append(place)
        found_here = select_objects(masks, scores)
        assert set(found_here) <= set(kept)
        assert found_here == [place for place in kept if place in found_here]
        if all((masks[i] & masks[j]).sum() < 0.8 * 16 for i in kept for j in kept if i != j):
            assert found_here == kept


def test_options_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="union joins all instances"):
        AnswerOptions(all_instances=False, union=True)
    with pytest.raises(ValueError, match=r"threshold 1\.5 is outside 0\.\.1"):
        AnswerOptions(threshold=1.5)
    with pytest.raises(ValueError, match="scores are not finite"):
        found([float("nan")] * 4)
