"""Propagation in sessions and videos: what it changes, and what it leaves as it is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from instructseg.inference import StreamOptions, VideoPredictor, VideoSession
from instructseg.inference.propagation.flow_tracker import FlowTracker
from instructseg.inference.propagation.propagation import LOOKAHEAD, Propagation
from instructseg.inference.selection import Arrangement
from instructseg.model import InstructSeg
from instructseg.prediction import FrameResult
from instructseg.processing import InstructSegProcessor

Nano = tuple[InstructSeg, InstructSegProcessor]
Frames = Callable[[int], list[np.ndarray]]
TEXT = "the red circle moving left"


def equal(found: list[FrameResult], expected: list[FrameResult]) -> None:
    assert [one.index for one in found] == [one.index for one in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.frame, other.frame)
        for mine, theirs in zip(one.predictions, other.predictions, strict=True):
            assert (mine.id, mine.score, mine.presence) == (theirs.id, theirs.score, theirs.presence)
            np.testing.assert_array_equal(mine.mask, theirs.mask)


@pytest.mark.parametrize("lookahead", [0, 4])
@pytest.mark.parametrize("stride", [1, 3])
def test_a_session_shows_what_propagation_makes_of_its_results(
    nano: Nano, frames: Frames, lookahead: int, stride: int
) -> None:
    clip = frames(9)
    presence = [one.predictions[0].presence for one in VideoPredictor(*nano).predict(clip, TEXT, threshold=0)]
    options = {"threshold": float(np.median(presence)), "soft": True, "llm_stride": stride}
    plain = VideoSession(*nano, StreamOptions(**options))
    plain.add(TEXT)
    results = plain.extend(clip) + plain.flush()
    propagation = Propagation(FlowTracker, lookahead)
    expected = [one for result in results for one in propagation.add(result)] + propagation.end()
    session = VideoSession(*nano, StreamOptions(track="flow", lookahead=lookahead, **options))
    session.add(TEXT)
    equal(session.extend(clip) + session.flush(), expected)
    later = session.extend(clip) + session.close()  # another video has objects of its own
    assert [one.index for one in later] == list(range(9, 18))
    equal([FrameResult(one.index - 9, one.frame, one.predictions) for one in later], expected)


def test_off_is_the_default_and_changes_nothing(nano: Nano, frames: Frames) -> None:
    predictor, clip = VideoPredictor(*nano), frames(5)
    expected = list(predictor.predict(clip, TEXT, soft=True))
    found = list(predictor.predict(clip, TEXT, soft=True, track="off"))
    equal(found, expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.predictions[0].probability, other.predictions[0].probability)


def test_files_are_held_back_and_streams_are_not(nano: Nano, frames: Frames) -> None:
    predictor, asked = VideoPredictor(*nano), []
    real = predictor.session
    predictor.session = lambda **options: asked.append(options) or real(**options)  # type: ignore[method-assign, func-returns-value]
    list(predictor.predict(frames(2), TEXT, track="flow"))
    list(predictor.predict(iter(frames(2)), TEXT, track="flow"))
    list(predictor.predict(frames(2), TEXT))
    assert [one["lookahead"] for one in asked] == [LOOKAHEAD, 0, 0]


@pytest.mark.parametrize("kind", ["instance", "panoptic", "semantic"])
def test_classes_are_arranged_after_propagation(nano: Nano, frames: Frames, kind: Arrangement) -> None:
    options = StreamOptions(track="flow", arrange=kind, threshold=0)
    session = VideoSession(*nano, options)
    for text in ("circle", "square"):
        session.add(text)
    for result in session.extend(frames(4)) + session.close():
        assert {one.instruction for one in result.predictions} == {"circle", "square"}
        assert all(one.probability is None for one in result.predictions)
        if kind != "instance":
            assert np.sum([one.mask for one in result.predictions], axis=0).max() <= 1


def test_a_dropped_instruction_is_gone_and_waiting_results_are_not_lost(nano: Nano, frames: Frames) -> None:
    session = VideoSession(*nano, StreamOptions(track="flow", lookahead=8, delay=0, threshold=0))
    first, second = session.add(TEXT), session.add("big blue square")
    assert session.extend(frames(3)) == []
    session.drop(first)
    session.extend(frames(2))
    waiting = session.take()
    assert [one.index for one in waiting] == list(range(5))
    assert [len(one.of(first)) for one in waiting] == [1, 1, 1, 0, 0]
    assert all(one.of(second) for one in waiting)
    assert session.close() == []


def test_options_out_of_range_are_refused(nano: Nano) -> None:
    with pytest.raises(ValueError, match="lookahead must not be negative"):
        StreamOptions(lookahead=-1)
    with pytest.raises(ValueError, match="unknown tracker 'sam'"):
        VideoSession(*nano, StreamOptions(track="sam"))
