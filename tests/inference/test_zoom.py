"""A closer look: parts of an image, and what they add to the answer of the whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructseg.inference import ImagePredictor
from instructseg.inference.zoom import MOST_ZOOM, PART_PRESENCE, Part, add_closer, parts_of
from instructseg.model import InstructSeg
from instructseg.prediction import Prediction
from instructseg.processing import InstructSegProcessor

Nano = tuple[InstructSeg, InstructSegProcessor]
SIZE = (20, 40)
LEFT, RIGHT = parts_of(SIZE, 2)[:2]


@given(st.tuples(st.integers(1, 300), st.integers(1, 300)), st.integers(1, MOST_ZOOM))
def test_parts_cover_the_image_and_overlap(size: tuple[int, int], zoom: int) -> None:
    parts = parts_of(size, zoom)
    times = np.zeros(size, int)
    for part in parts:
        times[part] += 1
    assert len(parts) == zoom**2 and times.min() >= 1
    assert len({times[part].shape for part in parts}) == 1
    assert zoom == 1 or max(size) == 1 or times.max() > 1


def box(left: int, right: int, score: float, size: tuple[int, int] = SIZE) -> Prediction:
    """A box of rows 4 to 7."""
    soft = np.full(size, 0.1, np.float32)
    soft[4:8, left:right] = 0.9
    return Prediction(soft > 0.5, score, 0.6, "the dogs", soft)


def within(part: Part, left: int, right: int, score: float) -> Prediction:
    """The same box of the image, as it stands in a part."""
    one = box(left, right, score)
    assert one.probability is not None
    return replace(one, mask=one.mask[part], probability=one.probability[part], presence=0.9)


def columns(found: list[Prediction]) -> list[tuple[int, int]]:
    return [(one.box[0], one.box[2]) for one in found if one.box is not None]


def test_an_object_that_only_a_part_shows_is_added() -> None:
    whole = [box(2, 10, 0.5)]
    found = add_closer(whole, [(LEFT, []), (RIGHT, [within(RIGHT, 30, 33, 0.8)])], False, 100)
    assert columns(found) == [(30, 33), (2, 10)]
    assert {one.presence for one in found} == {0.6}  # that of the image
    added = found[0]
    assert added.probability is not None and added.mask.shape == SIZE
    assert np.array_equal(added.probability > 0.5, added.mask) and added.probability[0, 0] == 0


def test_an_object_of_the_image_and_of_two_parts_is_one() -> None:
    seen = [(LEFT, [within(LEFT, 18, 22, 0.7)]), (RIGHT, [within(RIGHT, 18, 22, 0.8)])]
    found = add_closer([box(18, 23, 0.5)], seen, False, 100)
    assert columns(found) == [(18, 22)] and found[0].score == 0.8
    assert columns(add_closer([box(18, 23, 0.5)], seen, True, 100)) == [(18, 22), (18, 22), (18, 23)]


def test_what_the_border_of_a_part_cuts_off_counts_for_a_union_only() -> None:
    edge = LEFT[1].stop
    seen = [(LEFT, [within(LEFT, edge - 6, edge, 0.9)])]
    whole = [box(2, 6, 0.5)]
    assert columns(add_closer(whole, seen, False, 100)) == [(2, 6)]
    assert columns(add_closer(whole, seen, True, 100)) == [(edge - 6, edge), (2, 6)]
    at_the_border_of_the_image = [(RIGHT, [within(RIGHT, 36, 40, 0.9)])]
    assert len(add_closer(whole, at_the_border_of_the_image, False, 100)) == 2


def test_no_more_objects_than_were_named() -> None:
    seen = [(RIGHT, [within(RIGHT, 30, 33, 0.8)])]
    assert columns(add_closer([box(2, 10, 0.5)], seen, False, 1)) == [(30, 33)]


def test_equals_the_same_steps_by_hand(nano: Nano, frames: Callable[[int], list[np.ndarray]]) -> None:
    (frame,) = frames(1)
    predictor, text = ImagePredictor(*nano), "the red circle"
    options = {"threshold": 0.0, "all_instances": True, "soft": True}
    whole = predictor.predict(frame, text, **options)
    closer = {**options, "threshold": PART_PRESENCE}
    seen = [
        (part, predictor.predict(frame[part].copy(), text, **closer)) for part in parts_of(frame.shape[:2], 2)
    ]
    expected = add_closer(whole, seen, False, 100)
    found = predictor.predict(frame, ["big blue square", text], zoom=2, **options)
    found = [one for one in found if one.instruction_id == 1]
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-4) and one.image is not None
        assert one.probability is not None and other.probability is not None
        np.testing.assert_allclose(one.probability, other.probability, atol=1e-4)
    (joined,) = predictor.predict(frame, text, zoom=2, union=True, threshold=0.0)
    assert np.array_equal(joined.mask, np.any([one.mask for one in add_closer(whole, seen, True, 100)], axis=0))


def test_a_single_object_is_chosen_in_the_whole_image(
    nano: Nano, frames: Callable[[int], list[np.ndarray]]
) -> None:
    (frame,) = frames(1)
    predictor = ImagePredictor(*nano)
    (plain,), (zoomed,) = (predictor.predict(frame, "the red circle", zoom=zoom) for zoom in (1, 3))
    assert np.array_equal(plain.mask, zoomed.mask) and plain.score == zoomed.score


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"zoom": 0}, "from 1 to 4"),
        ({"zoom": 5}, "from 1 to 4"),
        ({"zoom": 1.5}, "a whole number, got 1.5"),
        ({"zoom": "2"}, "a whole number, got '2'"),
        ({"zoom": None}, "a whole number, got None"),
        ({"consensus": 2.5}, "a whole number, got 2.5"),
        ({"zoom": 2, "consensus": 2}, "exclude"),
    ],
)
def test_settings_that_make_no_sense(nano: Nano, options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImagePredictor(*nano).predict(np.zeros((8, 8, 3), np.uint8), "the red circle", **options)
