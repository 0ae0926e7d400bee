"""The benchmarks' own pure functions, against numbers worked out by hand; no model."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from instructseg.benchmarks.base import ScoreRecord
from instructseg.benchmarks.segmentation import (
    compare,
    custom_metrics,
    generalized_metrics,
    union_of,
    zero_one_many_metrics,
)
from instructseg.benchmarks.submission import LAYOUTS
from instructseg.benchmarks.table import METRICS, options_of, splits_of
from instructseg.benchmarks.text import SUBMISSIONS, circular_accuracy, pope_metrics
from instructseg.benchmarks.videos import merge_hard, merge_soft, shown_frames
from instructseg.data.catalog import evaluations
from instructseg.prediction import Prediction

DOCUMENT = Path(__file__).parents[2] / "docs" / "evaluation.md"


def test_the_documentation_lists_splits_and_options() -> None:
    table = {}
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and cells[0].strip("` ") in evaluations():
            table[cells[0].strip("` ")] = cells[1], cells[2]
    assert set(table) == set(evaluations())
    for name, (splits, options) in table.items():
        assert tuple(re.findall("`([^`]+)`", splits)) == tuple(split for split in splits_of(name) if split)
        words = table["refcoco"][1] if options.startswith("as `refcoco`") else options
        given = {key: yaml.safe_load(value) for key, value in re.findall(r"`(\w+): ([^`]*)`", words)}
        assert given == options_of(name)


def test_metrics_and_submissions_of_the_catalog_exist() -> None:
    found = [evaluation for _, evaluation in evaluations().values()]
    assert {evaluation.metric for evaluation in found} == set(METRICS)
    assert {evaluation.submission for evaluation in found} - {""} == {*LAYOUTS, *SUBMISSIONS}
    rows = [row for evaluation in found for row in evaluation.paper]
    assert len(rows) == len(set(rows))


def prediction(mask: list[list[bool]], probability: list[list[float]]) -> Prediction:
    return Prediction(np.array(mask), 1.0, 1.0, probability=np.array(probability, np.float32))


def test_objects_of_a_frame_become_one_label_map() -> None:
    # background: prod(1 - p) is .12, .45, .25, .02
    first = prediction([[True, False, False, True]], [[0.7, 0.1, 0.5, 0.8]])
    second = prediction([[True, True, False, True]], [[0.6, 0.5, 0.5, 0.9]])
    assert merge_soft([first, second], [3, 5]).tolist() == [[3, 5, 3, 5]]
    assert merge_hard([first, second], [3, 5]).tolist() == [[5, 5, 0, 5]]
    faint = prediction([[False]], [[0.4]])
    assert merge_soft([faint, faint], [1, 2]).tolist() == [[1]]  # .36 for none of both
    assert merge_soft([faint], [1]).tolist() == [[0]]


def test_counts_of_a_sample() -> None:
    masks = np.array([[[1, 0, 255, 255]], [[0, 0, 1, 0]]], np.uint8)
    assert union_of(masks).tolist() == [[1, 0, 1, 255]]
    assert union_of(masks[:0]).tolist() == [[0, 0, 0, 0]]
    record = compare(np.array([[True, True, False, True]]), masks)
    assert (record["intersection"], record["union"], record["score"]) == (1, 3, 1 / 3)
    assert (record["intersection_480"], record["union_480"]) == (480 * 120, 480 * 360)
    nothing = compare(np.zeros((1, 4), bool), masks[:0])
    assert nothing["is_nothing"] and nothing["score"] == 1


def test_no_target_by_threshold() -> None:
    def record(intersection: int, union: int, presence: float, is_nothing: bool) -> ScoreRecord:
        counts = {"intersection": intersection, "union": union}
        return {**counts, "presence": presence, "is_nothing": is_nothing}

    records = [
        record(6, 8, 0.9, False),
        record(5, 10, 0.1, False),
        record(0, 4, 0.2, True),
        record(0, 3, 0.8, True),
    ]
    found = generalized_metrics(records, 0.5)
    assert (found["N-acc"], found["T-acc"], found["Pr@0.7"]) == (0.5, 0.5, 0.5)
    assert found["cIoU"] == 6 / (8 + 10 + 3) and found["gIoU"] == (0.75 + 0 + 1 + 0) / 4
    assert custom_metrics(records)["N-acc"] == 0 and custom_metrics(records, 0.5)["N-acc"] == 0.5


def test_answers_to_numbers() -> None:
    circle = [("7", 1.0), ("1000007", 0.0), ("8", 1.0), ("1000008", 1.0)]
    found = circular_accuracy([{"question_id": key, "score": score} for key, score in circle])
    assert found == {"accuracy": 0.5, "row_accuracy": 0.75}
    said = [
        ("random", "Yes", True),
        ("random", "No", False),
        ("popular", "yes", False),
        ("popular", "Yes", True),
    ]
    found = pope_metrics([{"category": c, "text": text, "label": label} for c, text, label in said])
    assert found["random_f1"] == 1 and found["popular_accuracy"] == 0.5
    assert found["f1"] == pytest.approx((1 + 2 / 3) / 2) and "adversarial_f1" not in found


def test_shown_frames() -> None:
    assert [shown_frames(count) for count in (1, 2, 7)] == [[0], [0, 1], [0, 2, 4, 6]]


def test_one_to_zero_and_one_to_many_are_scored_apart() -> None:
    def record(intersection: int, union: int, presence: float, is_nothing: bool) -> ScoreRecord:
        small = {"intersection_480": intersection, "union_480": 2 * union}
        counts = {"intersection": intersection, "union": union, **small}
        return {**counts, "presence": presence, "is_nothing": is_nothing}

    records = [
        record(6, 8, 0.9, False),
        record(2, 10, 0.9, False),
        record(5, 10, 0.1, False),  # no mask is given
        record(0, 50, 0.9, True),  # adds nothing to the union
        record(0, 50, 0.1, True),
    ]
    found = zero_one_many_metrics(records)
    assert found["oIoU"] == (6 + 2 + 0) / (8 + 10 + 10)
    assert found["mIoU"] == pytest.approx((0.75 + 0.2 + 0) / 3)
    assert (found["Acc"], found["Pr@0.5"]) == (0.5, 1 / 3)
    assert zero_one_many_metrics(records, official_size=True)["oIoU"] == 8 / 56
    assert zero_one_many_metrics(records, threshold=0.0)["Acc"] == 0
