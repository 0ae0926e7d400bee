"""The measurement of propagation: what is kept, what is compared, and the bound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from instructseg.prediction import FrameResult, Prediction
from perf import report
from perf.track import Case, Kept, between, compared, drawn, filmed, jf, kept, left_empty, results_of, rows_of

SHAPE = (24, 30)


def square(left: int) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[8:18, left : left + 10] = True
    return mask


def case(count: int = 9, there: bool = True) -> Case:
    """A square that moves by two pixels per frame over a noisy ground."""
    ground = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), np.uint8)
    masks = np.stack([square(2 * t) for t in range(count)])
    frames = np.stack([np.where(mask[..., None], np.uint8(255), ground) for mask in masks])
    return Case("a", "video", frames, "the square", masks if there else np.zeros_like(masks))


def found(one: Case, presence: float = 0.9) -> Kept:
    count = len(one.frames)
    masks = np.stack([square(2 * t) for t in range(count)])
    return Kept(masks, np.full(count, 0.8), np.full(count, presence), np.arange(count) % 4 == 0)


class StubPredictor:
    """Finds the square, and counts how often it is asked."""

    calls = 0

    def predict(
        self, video: list[np.ndarray], text: str, llm_stride: int, threshold: float
    ) -> list[FrameResult]:
        self.calls += 1
        return [
            FrameResult(
                t, frame, [Prediction(square(2 * t), 0.8, 0.9, text, id=1)], keys={0: t - t % llm_stride}
            )
            for t, frame in enumerate(video)
        ]


def test_predictions_are_computed_once_and_read_again(tmp_path: Path) -> None:
    predictor, one = StubPredictor(), case()
    first = kept(predictor, one, 4, tmp_path)  # type: ignore[arg-type]
    second = kept(predictor, one, 4, tmp_path)  # type: ignore[arg-type]
    assert predictor.calls == 1
    np.testing.assert_array_equal(first.masks, one.truth)
    for name in ("masks", "score", "presence", "key"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert first.key.tolist() == [t % 4 == 0 for t in range(9)]
    assert list(tmp_path.iterdir()) == [tmp_path / "a-4.npz"]


def test_masks_below_the_threshold_are_empty() -> None:
    one = case()
    assert all(result.predictions[0].found for result in results_of(one, found(one), 0.9))
    low = results_of(one, found(one, 0.89), 0.9)
    assert not any(result.predictions[0].found for result in low)
    assert [result.keys[0] for result in low] == [0, -1, -1, -1, 4, -1, -1, -1, 8]


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_masks_held_between_key_frames_are_those_of_the_nearest(stride: int) -> None:
    one = case(10)
    shown = between(one.frames, one.truth, stride, moving=False)
    keys = list(range(0, 10, stride))
    for t in range(10):
        nearest = min(keys, key=lambda key: (abs(key - t), key))
        np.testing.assert_array_equal(shown[t], one.truth[nearest])
    moving = between(one.frames, one.truth, stride)
    np.testing.assert_array_equal(moving[keys], one.truth[keys])


def test_settings_are_compared_with_the_first() -> None:
    one = case()
    settings = {"off": lambda case: np.zeros_like(case.truth), "flow": lambda case: case.truth}
    off, flow = compared([one, one], settings, jf)
    assert (off["value"], off["difference"], flow["value"], flow["difference"]) == (0, 0, 1, 1)
    assert flow["n"] == 2
    assert left_empty(np.stack([square(0), square(0) & False]), one.truth) == 0.5


def test_a_row_has_what_is_there_and_what_is_not() -> None:
    here, absent = case(), case(there=False)
    absent = Case("b", absent.video, absent.frames, absent.text, absent.truth)
    predictions = {"a": found(here), "b": found(absent)}
    row = rows_of([here, absent], 4, predictions, 0.0)
    assert [one["setting"] for one in row["jf"]] == [
        "off", "flow", "flow, forward", "flow alone between key frames"
    ]  # fmt: skip
    assert row["jf"][0]["value"] == 1
    assert "left_empty" not in row
    low = rows_of([here, absent], 1, predictions, 0.95)
    assert [one["value"] for one in low["left_empty"]] == [1, 1, 1]
    assert low["off_as_empty"] == {"threshold": 0.9, "jf": 1}
    assert [one["setting"] for one in low["jf"]] == ["off", "flow", "flow, forward"]


def test_cases_are_the_same_each_time_and_name_their_video(tmp_path: Path) -> None:
    first, second = list(drawn(1, 4)), list(drawn(1, 4))
    assert [one.name for one in first] == ["attribute-0-0", "attribute-0-1", "absent-0-0"]
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.frames, other.frames)
        assert one.truth.any() == (not one.name.startswith("absent"))
    (tmp_path / "expressions.json").write_text("{}")
    assert list(filmed(tmp_path)) == []


def test_tables_name_the_model_the_stride_and_the_threshold() -> None:
    one = {"setting": "off", "value": 0.8, "difference": 0.0, "low": 0.0, "high": 0.0}
    two = {**one, "setting": "flow", "value": 0.9, "difference": 0.1, "low": 0.05, "high": 0.15}
    rows = [{"stride": 4, "threshold": 0.5, "jf": [one, two, two], "left_empty": [one, two, two],
             "off_as_empty": {"threshold": 0.4, "jf": 0.85}},
            {"stride": 4, "threshold": 0.0, "jf": [one, two, two, two]}]  # fmt: skip
    bounds = [{"stride": 4, "between": name, "jf": value} for name, value in (("held", 0.7), ("flow", 0.85))]
    values = {"drawn": {"rows": rows, "bound": bounds}}
    text = report.track(values)
    assert "| `nano`, stride 4, that of the weights | 80.00 | 90.00 | +10.00 (+5.00 to +15.00) |" in text
    assert text.splitlines()[2].endswith("| 80.00 | 90.00 | 85.00 |")
    assert text.splitlines()[3].endswith("| – | – | – |")
    assert "| drawn videos, every 4th frame | 70.00 | 85.00 | 80.00 | 90.00 |" in report.track_between(values)
