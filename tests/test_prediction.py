from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import supervision
from pycocotools import mask as coco

from instructseg.prediction import FrameResult, Prediction, to_supervision
from instructseg.visualization import colour, draw_predictions

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # of pycocotools

IMAGE = np.full((20, 30, 3), 90, np.uint8)


def prediction(id: int = 1, **fields: object) -> Prediction:
    """A rectangle of 4 x 10 pixels and a single one."""
    mask = np.zeros((20, 30), bool)
    mask[3:7, 5:15] = mask[15, 2] = True
    return Prediction(mask, 0.5, 0.75, "the red square", id=id, image=IMAGE, **fields)  # type: ignore[arg-type]


NOTHING = Prediction(np.zeros((20, 30), bool), 0.1, 0.02, "the dog")


def test_the_summary_is_one_readable_line() -> None:
    expected = (
        "<Prediction 'the red square' #1: score 0.50, presence 0.75, box [2, 3, 15, 16], area 41, in 20x30>"
    )
    assert repr(prediction()) == expected
    assert repr(NOTHING) == "<Prediction 'the dog': not found, presence 0.02, in 20x30>"
    assert "'dog'" in repr(prediction(label="dog"))
    shown = FrameResult(3, IMAGE, [prediction(), prediction(2), NOTHING], 0.125)
    told = "'the red square' #1, 'the red square' #2, 'the dog' not found"
    assert repr(shown) == f"<FrameResult 3 at 0.125 s: {told}, in 20x30>"
    assert repr(FrameResult(0, IMAGE, [])) == "<FrameResult 0: nothing asked, in 20x30>"


def test_box_and_area_are_those_of_pycocotools() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        one = Prediction(rng.random((9, 13)) > 0.95, 1, 1)
        rle = coco.encode(np.asfortranarray(one.mask.astype(np.uint8)))
        assert one.area == coco.area(rle) and one.found == bool(one.area)
        left, top, right, bottom = one.box or (0, 0, 0, 0)
        assert [left, top, right - left, bottom - top] == coco.toBbox(rle).tolist()
    assert NOTHING.box is None and NOTHING.area == 0 and not NOTHING.found


def test_polygons_begin_with_the_largest_part() -> None:
    large, small = prediction().polygons
    assert sorted(map(tuple, large.tolist())) == [(5, 3), (5, 7), (15, 3), (15, 7)]
    assert sorted(map(tuple, small.tolist())) == [(2, 15), (2, 16), (3, 15), (3, 16)]
    assert prediction().polygon().tolist() == large.tolist()
    even = prediction().polygon(28)  # one point per pixel of the border
    assert even.shape == (28, 2)
    assert np.allclose(np.abs(np.diff(np.concatenate([even, even[:1]]), axis=0)).sum(1), 1)
    assert NOTHING.polygon().shape == (0, 2) and NOTHING.polygons == []
    with pytest.raises(ValueError, match="at least 3 points, got 2"):
        prediction().polygon(2)


def test_coco_annotations_are_read_by_pycocotools() -> None:
    row = json.loads(json.dumps(prediction(id=4).to_coco(image_id=9, category_id=2)))
    assert (row["id"], row["image_id"], row["category_id"], row["label"]) == (4, 9, 2, "the red square")
    assert np.array_equal(coco.decode(row["segmentation"]), prediction().mask)
    assert row["bbox"] == coco.toBbox(row["segmentation"]).tolist() == [2, 3, 13, 13]
    assert row["area"] == coco.area(row["segmentation"])
    assert NOTHING.to_coco()["bbox"] == [0, 0, 0, 0]


def test_supervision_takes_what_was_found() -> None:
    frame = FrameResult(0, IMAGE, [prediction(), NOTHING, prediction(3, instruction_id=1, label="square")])
    for found in (frame.to_supervision(), to_supervision(frame.predictions)):
        assert isinstance(found, supervision.Detections) and len(found) == 2
        assert found.xyxy.tolist() == [[2, 3, 15, 16]] * 2
        assert found.tracker_id.tolist() == [1, 3] and found.class_id.tolist() == [0, 1]
        assert found.data["class_name"].tolist() == ["the red square", "square"]
        assert found.area.tolist() == [41, 41]
    assert len(NOTHING.to_supervision()) == 0 and len(prediction().to_supervision()) == 1


def test_results_of_an_instruction() -> None:
    frame = FrameResult(
        0, IMAGE, [prediction(), prediction(2, instruction_id=7), prediction(3, instruction_id=7)]
    )
    assert [one.id for one in frame.of(7)] == [2, 3] and frame.of(1) == []


def test_drawings_have_the_colour_of_the_object() -> None:
    plain = prediction().plot()
    assert plain.shape[0] > 20 and np.array_equal(plain, draw_predictions(IMAGE, [prediction()]))
    assert np.array_equal(prediction(2).plot()[5, 5], np.array(colour(1)))  # the outline
    assert np.array_equal(prediction(1).plot()[5, 5], np.array(colour(0)))
    both = FrameResult(0, IMAGE, [prediction(2)]).plot()
    assert np.array_equal(both, prediction(2).plot())
    with pytest.raises(ValueError, match="no image"):
        NOTHING.plot()


def test_files_hold_the_prediction(tmp_path: Path) -> None:
    from PIL import Image

    one = prediction()
    assert np.array_equal(np.asarray(Image.open(one.save(tmp_path / "a.png"))), one.mask * np.uint8(255))
    assert np.array_equal(np.load(one.save(tmp_path / "a.npy")), one.mask)
    assert json.loads(one.save(tmp_path / "a.json").read_text()) == one.to_coco()
    assert np.asarray(Image.open(one.save(tmp_path / "a.jpg"))).shape == one.plot().shape
    assert {file.name for file in tmp_path.iterdir()} == {"a.png", "a.npy", "a.json", "a.jpg"}
    with pytest.raises(ValueError, match=r"a\.gif: a prediction is no '\.gif': use \.png"):
        one.save(tmp_path / "a.gif")
