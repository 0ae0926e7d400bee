from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageDraw, ImageFont

from instructseg.prediction import Prediction
from instructseg.visualization import colour, covered, draw_masks, draw_predictions
from instructseg.visualization.overlay import CAPTION_SHARE

GREY = np.full((100, 120, 3), 100, dtype=np.uint8)


def box(top: int, left: int, bottom: int, right: int, shape: tuple[int, int] = (100, 120)) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def test_the_tint_is_blended_inside_and_nothing_happens_outside() -> None:
    mask = box(20, 30, 60, 90)
    painted = draw_masks(GREY, [mask], alpha=0.25, colors=[(200, 100, 0)])
    assert (painted[25:55, 35:85] == (125, 100, 75)).all()
    far = ~box(16, 26, 64, 94)
    assert np.array_equal(painted[far], GREY[far])
    assert painted[20, 60].tolist() == [200, 100, 0]  # the outline is not blended


def test_alpha_0_is_the_outline_only() -> None:
    painted = draw_masks(GREY, [box(20, 30, 60, 90)], alpha=0)
    assert np.array_equal(painted[25:55, 35:85], GREY[25:55, 35:85])
    assert painted[20, 60].tolist() == list(colour(0))


def test_a_mask_over_all_has_no_outline() -> None:
    painted = draw_masks(GREY, [np.ones((100, 120), dtype=bool)], alpha=0)
    assert np.array_equal(painted, GREY)


def test_later_masks_lie_above() -> None:
    masks = [box(10, 10, 80, 80), box(30, 30, 90, 110)]
    painted = draw_masks(GREY, masks, alpha=1)
    assert painted[50, 20].tolist() == list(colour(0))
    assert painted[60, 60].tolist() == list(colour(1))


def test_nothing_to_draw_gives_a_copy() -> None:
    for labels in (None, []):
        painted = draw_masks(GREY, [], labels)
        assert np.array_equal(painted, GREY)
        assert not np.shares_memory(painted, GREY)
    assert np.array_equal(draw_masks(GREY, [np.zeros((100, 120), dtype=bool)]), GREY)


def test_the_inputs_are_not_modified() -> None:
    image, mask = GREY.copy(), box(20, 30, 60, 90)
    before = mask.copy()
    draw_masks(image, [mask], ["the box"], scores=[0.5])
    assert np.array_equal(image, GREY)
    assert np.array_equal(mask, before)


def test_colours_are_distinct_and_stable() -> None:
    many = [colour(i) for i in range(14)]
    assert len(set(many)) == 14
    assert many[0] == colour(0) == (86, 180, 233)
    assert all(0 <= value <= 255 for i in range(100) for value in colour(i))


def test_the_caption_is_legible_and_led_by_the_colour() -> None:
    image = np.full((480, 640, 3), 255, dtype=np.uint8)
    empty = np.zeros((480, 640), dtype=bool)
    painted = draw_masks(image, [empty, empty], ["the left one", "the right one"])
    strip = np.flatnonzero((painted != 255).any(axis=(1, 2)))
    text = painted[strip[0] :]
    assert 440 > strip[0] > 380
    assert (text == 255).all(axis=2).sum() > 300  # white letters
    assert np.median(text) < 80  # on a dark ground
    for i in range(2):
        assert (text == colour(i)).all(axis=2).sum() > 80
    assert not (text == colour(2)).all(axis=2).any()


def test_scores_are_shown() -> None:
    image = np.zeros((200, 300, 3), dtype=np.uint8)
    mask = np.zeros((200, 300), dtype=bool)
    plain = draw_masks(image, [mask], ["it"])
    scored = draw_masks(image, [mask], ["it"], scores=[0.5])
    assert not np.array_equal(plain, scored)
    assert np.array_equal(scored, draw_masks(image, [mask], ["it · 0.50"]))


@pytest.mark.parametrize("words", ["a very long instruction " * 60, "x" * 2000, "字" * 900])
def test_a_long_caption_leaves_the_picture_visible(words: str) -> None:
    image = np.full((240, 320, 3), 200, dtype=np.uint8)
    painted = draw_masks(image, [np.zeros((240, 320), dtype=bool)], [words])
    untouched = int(240 * (1 - CAPTION_SHARE))
    assert np.array_equal(painted[:untouched], image[:untouched])
    assert not np.array_equal(painted, image)


@given(
    text=st.text(st.characters(exclude_categories=()), max_size=30),  # half surrogates included
    height=st.integers(1, 70),
    width=st.integers(1, 70),
)
@settings(max_examples=60, deadline=None)
def test_any_text_on_any_size(text: str, height: int, width: int) -> None:
    image = np.zeros((height, width, 3), dtype=np.uint8)
    painted = draw_masks(image, [np.ones((height, width), dtype=bool)], [text], scores=[0.1])
    assert painted.shape == image.shape
    assert painted.dtype == np.uint8


@pytest.mark.parametrize("labels", [["a"], ["the red circle " * 9, "b"], ["x"] * 40])
def test_a_caption_below_hides_nothing_and_is_as_high_for_any_score(labels: list[str]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    masks = [np.zeros((120, 160), bool)] * len(labels)
    heights = set()
    for score in (0.0, 0.11, 0.4, 1.0):
        drawn = draw_masks(image, masks, labels, scores=[score] * len(labels), below=True)
        np.testing.assert_array_equal(drawn[:120], image)
        assert (drawn[120:] > 200).any() and len(drawn) <= 120 * 1.46
        heights.add(len(drawn))
    assert len(heights) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"masks": [box(0, 0, 1, 1, (9, 9))]}, r"mask 0 has the shape \(9, 9\), the image \(100, 120\)"),
        ({"masks": [box(0, 0, 1, 1)], "labels": ["a", "b"]}, "2 labels for 1 masks"),
        ({"masks": [box(0, 0, 1, 1)], "labels": ["a"], "scores": []}, "0 scores for 1 masks"),
        ({"masks": [box(0, 0, 1, 1)], "colors": []}, "0 colors for 1 masks"),
        ({"masks": [], "alpha": 1.5}, "alpha must lie in 0..1, got 1.5"),
        ({"masks": [], "image": GREY.astype(float)}, r"got float64\[100, 120, 3\]"),
    ],
)
def test_what_does_not_fit_is_an_error(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_masks(**{"image": GREY, **arguments})


IMAGE = np.full((240, 320, 3), 255, np.uint8)


def predicted(mask: np.ndarray, score: float = 0.5, text: str = "the red circle") -> Prediction:
    return Prediction(mask, score, score, text)


def swatches(drawn: np.ndarray, count: int) -> list[bool]:
    """Whether the caption shows each of the first colours."""
    return [bool((drawn[len(IMAGE) :] == colour(i)).all(axis=2).any()) for i in range(count)]


def test_what_was_not_found_is_said_without_a_colour() -> None:
    here, nowhere = box(20, 30, 60, 90, (240, 320)), np.zeros((240, 320), bool)
    drawn = draw_predictions(IMAGE, [predicted(here), predicted(nowhere, 0.3), predicted(here, text="it")])
    assert swatches(drawn, 3) == [True, False, True]
    for other in (0.0, 0.9):  # no score is shown for it
        again = draw_predictions(
            IMAGE, [predicted(here), predicted(nowhere, other), predicted(here, text="it")]
        )
        np.testing.assert_array_equal(drawn, again)
    alone = draw_predictions(IMAGE, [predicted(nowhere)])
    np.testing.assert_array_equal(alone[:240], IMAGE)
    assert (alone[240:] > 200).any() and swatches(alone, 1) == [False]


def test_a_colour_below_another_one_is_said() -> None:
    small, large = box(30, 40, 50, 60, (240, 320)), box(20, 30, 60, 90, (240, 320))
    assert covered([small, large]) == {0} and covered([large, small]) == set()
    assert covered([large, large, large]) == {0, 1} and covered([]) == set()
    assert covered([np.zeros((240, 320), bool), large]) == set()  # nothing there is not below anything
    halves = [box(20, 30, 60, 60, (240, 320)), box(20, 60, 60, 90, (240, 320))]
    assert covered([large, *halves]) == {0}  # by both together
    both, one = ([predicted(small), predicted(mask, text="it")] for mask in (large, halves[1]))
    assert not np.array_equal(draw_predictions(IMAGE, both)[240:], draw_predictions(IMAGE, one)[240:])


@pytest.mark.parametrize("text", ["a", "the red circle " * 5, "the large red circle", "x" * 90, ""])
@pytest.mark.parametrize("size", [(240, 320), (40, 24), (3, 3)])
def test_a_legend_is_as_high_on_every_frame(text: str, size: tuple[int, int]) -> None:
    frame, here, nowhere = np.zeros((*size, 3), np.uint8), np.ones(size, bool), np.zeros(size, bool)
    shapes = set()
    for first, second in ((here, here), (here, nowhere), (nowhere, here), (nowhere, nowhere)):
        for score in (0.0, 0.11, 1.0):
            drawn = draw_predictions(frame, [predicted(first, score, text), predicted(second, score, "it")])
            shapes.add(drawn.shape)
    assert len(shapes) == 1


@given(letters=st.integers(1, 60), count=st.integers(0, 12))
@settings(max_examples=60, deadline=None)
def test_a_legend_is_as_high_for_any_number_of_objects(letters: int, count: int) -> None:
    frame, label = np.zeros((120, 160, 3), np.uint8), "m" * letters
    one = Prediction(box(5, 5, 90, 90, (120, 160)), 0.9, 0.9, label, id=1)
    some = [replace(one, id=number) for number in range(1, count + 1)]
    some = some or [replace(one, mask=np.zeros_like(one.mask))]
    above = replace(one, label="x", instruction_id=1)  # covers them
    assert draw_predictions(frame, some).shape == draw_predictions(frame, [one]).shape
    assert draw_predictions(frame, [*some, above]).shape == draw_predictions(frame, [one, above]).shape


def test_the_font_has_what_a_legend_adds_to_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Prediction(box(10, 10, 50, 50), 0.9, 0.9, "the dog", id=1)
    other = Prediction(box(5, 5, 90, 90), 0.9, 0.9, "the cat", id=3, instruction_id=1)
    drawn = list[str]()
    text = ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw,
        "text",
        lambda self, at, line, **more: (drawn.append(line), text(self, at, line, **more)),
    )
    draw_predictions(np.zeros((100, 120, 3), np.uint8), [one, replace(one, id=2), other])
    draw_predictions(np.zeros((100, 120, 3), np.uint8), [replace(one, label="a b c d" * 90)])
    added = set("".join(drawn)) - set("the dog the cat a b c d ")
    font = ImageFont.load_default(size=16)
    missing = bytes(font.getmask("\ue000"))
    assert {"2", "\u00b7", "\u2026"} <= added
    assert not [letter for letter in added if bytes(font.getmask(letter)) == missing]


def test_predictions_must_fit_their_frame() -> None:
    assert np.array_equal(draw_predictions(IMAGE, []), IMAGE)
    with pytest.raises(ValueError, match="mask 0 has the shape"):
        draw_predictions(IMAGE, [predicted(np.ones((2, 2), bool))])


def test_objects_of_an_instruction_share_a_line_and_a_swatch() -> None:
    frame = np.full((100, 120, 3), 90, np.uint8)

    def one(mask: np.ndarray, track: int, place: int = 0) -> Prediction:
        return Prediction(mask, 0.5, 1.0, ("dog", "cat")[place], id=track, instruction_id=place)

    first, second, cat = one(box(10, 10, 30, 30), 1), one(box(50, 50, 80, 80), 3), one(box(5, 70, 20, 90), 2, 1)
    both, alone = draw_predictions(frame, [first, second, cat]), draw_predictions(frame, [first, cat])
    assert both.shape == alone.shape  # frames of a video, whatever is in them
    for drawn, seen in ((both, {0, 2, 1}), (alone, {0, 1})):
        strip = {tuple(pixel) for pixel in drawn[100:].reshape(-1, 3)}
        assert {i for i in range(3) if colour(i) in strip} == seen
    assert (both[60, 60] != 90).any() and (alone[60, 60] == 90).all()


def test_the_legend_may_stand_inside_or_be_left_out() -> None:
    frame = np.full((100, 120, 3), 90, np.uint8)
    found = [predicted(box(10, 10, 30, 30))]
    below, inside, none = (
        draw_predictions(frame, found, legend=legend) for legend in ("below", "inside", "none")
    )
    assert below.shape[0] > 100 and inside.shape == none.shape == frame.shape
    assert (none[80:] == 90).all() and (inside[80:] != 90).any() and (inside[:50] == none[:50]).all()
    assert (draw_predictions(frame, found, alpha=0.0)[15:25, 15:25] == 90).all()
    with pytest.raises(ValueError, match="unknown legend 'above': use below, inside or none"):
        draw_predictions(frame, found, legend="above")  # type: ignore[arg-type]
