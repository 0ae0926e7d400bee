from __future__ import annotations

import numpy as np
import pytest

from instructseg.structures import IGNORE_PIXEL, Sample, Task
from instructseg.visualization import colour, draw_clip, draw_sample
from instructseg.visualization.samples import IGNORED, SMALLEST_SIDE

GREY = np.full((300, 400, 3), 100, np.uint8)


def sample(masks: np.ndarray | None, task: Task = Task.RES, answer: str | None = None) -> Sample:
    return Sample(GREY, "the left half", task, masks=masks, answer=answer)


def halves() -> np.ndarray:
    mask = np.zeros((1, 300, 400), np.uint8)
    mask[:, :, :150] = 1
    mask[:, :, 250:] = IGNORE_PIXEL
    return mask


def test_target_and_what_does_not_count_are_tinted() -> None:
    drawn = draw_sample(sample(halves()))
    assert drawn.shape[0] > 300 and drawn.shape[1] == 400
    blend = lambda tint: np.rint((100 + np.array(tint)) / 2)  # noqa: E731
    assert (drawn[50, 50] == blend(colour(0))).all()
    assert (drawn[50, 350] == blend(IGNORED)).all()
    assert (drawn[50, 200] == 100).all()


def test_the_caption_is_below_and_tells_what_the_truth_is() -> None:
    captions = []
    none = np.zeros((0, 300, 400), np.uint8)
    for masks in (None, none, halves()[:, :, :] * (halves() == 1)):
        drawn = draw_sample(sample(masks))
        assert drawn[300:].any()
        captions.append(drawn[300:].tobytes())
    assert len(set(captions)) == 3
    np.testing.assert_array_equal(draw_sample(sample(none))[:300], GREY)


def test_a_text_question_has_no_word_of_masks() -> None:
    asked = draw_sample(sample(None, Task.VQA))
    assert asked.tobytes() != draw_sample(sample(None)).tobytes()
    assert asked.tobytes() != draw_sample(sample(None, Task.VQA, "yes")).tobytes()


def test_small_frames_are_enlarged_and_laid_out() -> None:
    frames = [np.full((60, 80, 3), 20 * t, np.uint8) for t in range(5)]
    masks = [np.zeros((1, 60, 80), np.uint8) for _ in frames]
    masks[1][:, :, :40] = 1
    drawn = draw_clip(frames, masks, ["it"])
    times = -(-SMALLEST_SIDE // 60)
    height, width = 60 * times, 80 * times
    assert drawn.shape[1] == 4 * width + 3 * 8 and drawn.shape[0] > 2 * height + 8
    assert (drawn[height // 2, width // 2] == 0).all()
    assert (drawn[height // 2, width + 8 + 9] != 20).any()
    assert (drawn[height // 2, 2 * width] == 20).all()
    assert (drawn[height + 8 + 5, 5] == 80).all()


def test_a_mask_of_another_size() -> None:
    with pytest.raises(ValueError, match="has the shape"):
        draw_sample(sample(np.zeros((1, 30, 40), np.uint8)))
