"""Which mask is shown, with a tracker that leaves masks where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from instructseg.inference.propagation.mask_tracker import TrackedMask
from instructseg.inference.propagation.propagation import Propagation
from instructseg.prediction import FrameResult, Prediction

SHAPE = (4, 6)
AREAS = {name: np.zeros(SHAPE, bool) for name in "-ABC"}
"""Masks that do not overlap, by name; ``-`` is empty."""
for _column, _name in enumerate("ABC"):
    AREAS[_name][:, 2 * _column : 2 * _column + 2] = True


@dataclass(eq=False)
class StillTracker:
    """Objects stay where their last anchor is; the frame says with its value how well they are seen."""

    refines: bool = True
    masks: dict[int, np.ndarray] = field(default_factory=dict)

    def advance(self, frame: np.ndarray) -> dict[int, TrackedMask]:
        seen = float(frame[0, 0, 0]) / 100
        return {number: TrackedMask(mask.astype(np.float32), seen) for number, mask in self.masks.items()}

    def anchor(self, number: int, mask: np.ndarray, quality: float) -> None:
        self.masks[number] = mask

    def drop(self, number: int) -> None:
        self.masks.pop(number, None)


Answer = tuple[str, float]
"""Name of a mask, and its score; the presence is 1."""


def prediction(answer: Answer, number: int) -> Prediction:
    return Prediction(AREAS[answer[0]], answer[1], 1.0, "a dog", id=number, instruction_id=5)


def results(
    answers: Sequence[Sequence[Answer | None]], keys: Sequence[bool] | None = None, seen: int = 100
) -> list[FrameResult]:
    """The model's answers by frame and object, whose ids are 1 and more; ``None`` for no answer about one."""
    found = []
    for index, row in enumerate(answers):
        rows = [prediction(one, place) for place, one in enumerate(row, 1) if one] or [prediction(("-", 0), 0)]
        key = index if keys is None or keys[index] else -1
        frame = np.full((*SHAPE, 3), seen, np.uint8)
        found.append(FrameResult(index, frame, rows, keys={5: key}))
    return found


def through(given: Sequence[FrameResult], lookahead: int = 0, refines: bool = True) -> list[FrameResult]:
    propagation = Propagation(lambda: StillTracker(refines), lookahead)
    found = [one for result in given for one in propagation.add(result)] + propagation.end()
    assert [one.index for one in found] == [one.index for one in given]
    return found


def name_of(mask: np.ndarray) -> str:
    return next(name for name, area in AREAS.items() if np.array_equal(area, mask))


def names(found: Sequence[FrameResult]) -> list[str]:
    """Names of the masks of each frame, in order."""
    return ["".join(name_of(one.mask) for one in result.predictions) for result in found]


def alone(*answers: Answer) -> list[list[Answer | None]]:
    return [[one] for one in answers]


def test_a_mask_is_carried_to_frames_where_the_model_finds_nothing() -> None:
    found = through(results(alone(("A", 0.8), ("-", 0.1), ("A", 0.6)), seen=90))
    assert names(found) == ["A", "A", "A"]
    assert found[1].predictions[0].score == pytest.approx(0.8 * 0.9)
    assert found[1].predictions[0].image is found[1].frame


def test_of_two_masks_that_disagree_the_surer_is_shown() -> None:
    assert names(through(results(alone(("A", 0.8), ("B", 0.5), ("A", 0.7))))) == ["A", "A", "A"]
    assert names(through(results(alone(("A", 0.5), ("B", 0.8), ("A", 0.6))))) == ["A", "B", "B"]
    assert names(through(results(alone(("A", 0.8), ("B", 0.5)), seen=55))) == ["A", "B"]  # 0.8 * 0.55 < 0.5


def test_an_object_that_is_not_seen_is_what_the_model_says() -> None:
    assert names(through(results(alone(("A", 0.9), ("B", 0.1), ("-", 0.1)), seen=49))) == ["A", "B", "-"]


def test_a_track_gives_way_when_the_model_contradicts_it_more_often_than_it_confirms_it() -> None:
    answers = alone(("A", 0.9), ("A", 0.2), ("B", 0.3), ("B", 0.3), ("B", 0.3), ("-", 0.0))
    assert names(through(results(answers))) == ["A", "A", "A", "A", "B", "B"]


def test_masks_between_key_frames_are_no_evidence_for_a_tracker_that_refines() -> None:
    answers, keys = alone(("A", 0.5), ("B", 0.9), ("-", 0.0)), [True, False, True]
    assert names(through(results(answers, keys))) == ["A", "B", "A"]
    assert names(through(results(answers, keys), refines=False)) == ["A", "B", "B"]
    assert names(through(results(answers, [False] * 3))) == ["A", "B", "-"]


@pytest.mark.parametrize("refines", [True, False])
def test_where_both_agree_the_finer_is_shown(refines: bool) -> None:
    given = results(alone(("A", 0.5), ("A", 0.5)))
    thin = AREAS["A"].copy()
    thin[0] = False
    given[1].predictions[0] = Prediction(thin, 0.5, 1.0, id=1, instruction_id=5)
    shown = through(given, refines=refines)[1].predictions[0].mask
    np.testing.assert_array_equal(shown, AREAS["A"] if refines else thin)


def test_in_a_file_objects_are_tracked_in_both_directions_from_the_best_anchor() -> None:
    answers = alone(("B", 0.3), ("-", 0.0), ("A", 0.9), ("C", 0.4), ("A", 0.5))
    assert names(through(results(answers))) == ["B", "B", "A", "A", "A"]
    assert names(through(results(answers), lookahead=5)) == ["A", "A", "A", "A", "A"]
    assert names(through(results(answers), lookahead=2)) == ["B", "B", "A", "A", "A"]


def test_frames_wait_for_one_another_in_a_file_alone() -> None:
    given = results(alone(*[("A", 0.5)] * 7))
    propagation = Propagation(StillTracker, 3)
    assert [len(propagation.add(one)) for one in given] == [0, 0, 3, 0, 0, 3, 0]
    assert [one.index for one in propagation.end()] == [6]
    propagation = Propagation(StillTracker)
    assert [len(propagation.add(one)) for one in given] == [1] * 7


@pytest.mark.parametrize("soft", [False, True])
def test_carried_masks_are_soft_where_that_is_asked_for(soft: bool) -> None:
    propagation = Propagation(StillTracker, 2, soft)
    given = results(alone(("A", 0.8), ("-", 0.1)))
    _, carried = [one for result in given for one in propagation.add(result)]
    assert name_of(carried.predictions[0].mask) == "A"
    assert (carried.predictions[0].probability is not None) == soft


def test_the_next_video_has_objects_of_its_own() -> None:
    propagation = Propagation(StillTracker)
    first, second = results(alone(("A", 0.9), ("-", 0.0)))
    assert names(propagation.add(first)) == ["A"]
    assert not propagation.end()
    assert names(propagation.add(second)) == ["-"]


def test_a_dropped_instruction_is_not_tracked_any_more() -> None:
    propagation = Propagation(StillTracker)
    first, second = results(alone(("A", 0.9), ("-", 0.0)))
    propagation.add(first)
    propagation.drop(5)
    assert names(propagation.add(second)) == ["-"]


def test_of_several_objects_those_that_the_model_misses_are_shown_once() -> None:
    both: list[Answer | None] = [("A", 0.9), ("B", 0.8)]
    given = results([both, both, [("A", 0.9), None], [None, None], [None, None], [None, None], [None, None]])
    found = through(given)
    assert names(found) == ["AB", "AB", "AB", "AB", "A", "A", "-"]
    assert [one.id for one in found[3].predictions] == [1, 2]
    under_a_new_id = results([[("A", 0.9)], [None, ("A", 0.8)]])
    assert [[one.id for one in result.predictions] for result in through(under_a_new_id)] == [[1], [2]]


@pytest.mark.parametrize("seen", [0, 100])
def test_memory_does_not_grow_with_the_objects_of_a_long_stream(seen: int) -> None:
    tracker, most = StillTracker(), 0
    propagation = Propagation(lambda: tracker)
    for index in range(300):
        frame = np.full((*SHAPE, 3), seen, np.uint8)
        propagation.add(FrameResult(index, frame, [prediction(("A", 0.5), index + 1)]))
        most = max(most, len(tracker.masks))
    assert most <= (2 if seen else 62)


def plainly(answers: Sequence[Answer], keys: Sequence[bool], seen: Sequence[int]) -> list[tuple[str, float]]:
    """The rule for one object in a stream, as one loop: names and scores of the masks shown."""
    shown, area, score, votes = [], "", 0.0, [0, 0]
    for (own, own_score), key, value in zip(answers, keys, seen, strict=True):
        tracked = score * value / 100
        if area and value >= 50:
            agree = own == area
            if key:
                votes[not agree] += 1
            if agree:
                shown.append((area, tracked))
                if key:
                    score = max(own_score, tracked)
                continue
            if (own != "-" and own_score > tracked) or votes[1] > votes[0]:
                shown.append((own, own_score))
                if key and own != "-":
                    area, score, votes = own, own_score, [1, 0]
            else:
                shown.append((area, tracked))
            continue
        shown.append((own, own_score))
        if key and own != "-":
            area, score, votes = own, own_score, [1, 0]
    return shown


@pytest.mark.parametrize("seed", range(30))
def test_a_stream_is_what_a_plain_loop_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    answers = [(str(rng.choice(list("-AAABC"))), float(rng.random())) for _ in range(40)]
    keys, seen = (rng.random(40) < 0.5).tolist(), rng.integers(30, 101, 40).tolist()
    given = results(alone(*answers), keys)
    for one, value in zip(given, seen, strict=True):
        one.frame[:] = value
    found = [(name_of(one.predictions[0].mask), one.predictions[0].score) for one in through(given)]
    expected = plainly(answers, keys, seen)
    assert [name for name, _ in found] == [name for name, _ in expected]
    assert [score for _, score in found] == pytest.approx([score for _, score in expected])
