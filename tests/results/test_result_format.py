"""Objects of frames and their names."""

from __future__ import annotations

import numpy as np
import pytest

from instructseg.prediction import FrameResult, Prediction
from instructseg.results import FORMATS, ResultInfo
from instructseg.results.result_format import frame_stems, label_map, mask_names
from tests.results.scenes import SIZE, masks, result


def test_names_of_masks() -> None:
    assert mask_names(["The Cat!", "", "犬"]) == ["1-the-cat", "2", "3-犬"]
    with pytest.raises(ValueError, match="room for 254 prompts, not 255"):
        FORMATS["palette"].check(["a"] * 255)


def test_names_of_frames_stay_distinct() -> None:
    assert frame_stems(["a.jpg", "b.png"]) == ("a", "b")
    assert frame_stems(["a.jpg", "A.png"]) == ("a.jpg", "A.png")
    info = ResultInfo(("x",), fps=1.0, frame_names=["a.jpg", "b.png"])
    assert [info.stem(i) for i in (0, 1, 2)] == ["a", "b", "00002"]


def test_objects_keep_their_numbers_through_a_video() -> None:
    form = FORMATS["csv"](__file__, ResultInfo(("the dog", "the cat", "the ball"), fps=1.0))  # type: ignore[arg-type]
    before = [(one.place, one.number, one.track, one.category) for one in form.objects(result(0, video=True))]
    after = [(one.place, one.number, one.track, one.category) for one in form.objects(result(4, video=True))]
    assert before == [(0, 1, 1, 1), (1, 1, 0, 2), (2, 1, 3, 3)]
    assert after == [(0, 1, 1, 1), (0, 2, 2, 1), (1, 1, 0, 2), (2, 1, 3, 3)]


def test_predictions_without_ids_are_numbered_and_replies_have_none() -> None:
    info = ResultInfo(("how many?", "the dog", "the cat"), replies={0: "two"})
    mask = np.ones((2, 2), bool)
    found = [
        Prediction(mask, 1.0, 1.0, text, instruction_id=i) for i, text in enumerate(("the dog", "the cat"))
    ]
    form = FORMATS["rle"](__file__, info)  # type: ignore[arg-type]
    objects = form.objects(FrameResult(0, np.zeros((2, 2, 3), np.uint8), found))
    assert [(one.place, one.track) for one in objects] == [(1, 1), (2, 2)]
    labelled = Prediction(mask, 1.0, 1.0, "the dog", label="poodle")
    (one,) = form.objects(FrameResult(1, np.zeros((2, 2, 3), np.uint8), [labelled]))
    assert form.labels[one.category - 1] == "poodle"


def test_of_several_masks_the_best_scored_has_a_pixel() -> None:
    form = FORMATS["rle"](__file__, ResultInfo(("the dog", "the cat", "the ball")))  # type: ignore[arg-type]
    objects = form.objects(result())
    order, seen = label_map(objects, SIZE), masks(4)
    both = seen["dog 1"] & seen["ball"]
    assert both.any() and (order[both] == 1).all() and (order[seen["ball"] & ~both] == 4).all()
