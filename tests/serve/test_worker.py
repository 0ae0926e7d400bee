"""One thread answers images in batches and videos in turn; what is full, cancelled or at fault ends alone."""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from instructseg.prediction import FrameResult
from instructseg.serve import worker as module
from instructseg.serve.counters import Counters
from instructseg.serve.failures import BusyError, CancelledVideoError
from instructseg.serve.limits import Limits
from instructseg.serve.worker import AHEAD, VideoStream, Worker
from tests.serve.test_batching import request


class Gate:
    """Holds the loading of a model until it is opened."""

    def __init__(self, predictors: Any) -> None:
        self.open, self.predictors = threading.Event(), predictors

    def load(self) -> Any:
        self.open.wait(30)
        return self.predictors


def stream(video: Path, got: list[Any]) -> VideoStream:
    return VideoStream(lambda predictor: predictor.predict(video, "the red circle"), got.append)


def wait_for(condition: Any) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_waiting_requests_are_answered_in_one_batch(predictors: Any) -> None:
    gate, counters = Gate(predictors), Counters()
    worker = Worker(gate.load, Limits(waiting=4), counters)
    futures = [worker.submit(request(seed, f"the red circle {seed}")) for seed in (0, 1, 0, 2)]
    with pytest.raises(BusyError, match="the server is busy: try again"):
        worker.submit(request(0, "x"))
    futures[3].cancel()
    gate.open.set()
    said = [future.result(60)[0].instruction for future in futures[:3]]
    assert said == ["the red circle 0", "the red circle 1", "the red circle 0"]
    assert counters.value("batches_total") == 1 and counters.value("batched_requests_total") == 3
    with pytest.raises(CancelledError):
        futures[3].result(1)
    worker.close()
    with pytest.raises(BusyError):
        worker.submit(request(0, "x"))


def test_large_images_wait_in_few(predictors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIXELS", 3000)
    gate = Gate(predictors)
    worker = Worker(gate.load, Limits(), Counters())
    first = worker.submit(request(0, "x"))  # 40 x 56
    with pytest.raises(BusyError):
        worker.submit(request(1, "x"))
    gate.open.set()
    assert first.result(60)
    worker.close()


def test_a_fault_ends_one_batch(predictors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(lambda: predictors, Limits(), Counters())
    with monkeypatch.context() as patch:
        patch.setattr(module, "segment_together", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            worker.submit(request(0, "x")).result(60)
    assert worker.submit(request(0, "x")).result(60)
    with pytest.raises(ValueError, match="shorten"):
        worker.submit(request(0, "red " * 3000)).result(60)
    worker.close()


def test_videos_take_turns_with_each_other_and_with_images(predictors: Any, video: Path) -> None:
    gate, counters = Gate(predictors), Counters()
    worker = Worker(gate.load, Limits(videos=2), counters)
    order: list[tuple[str, Any]] = []
    for name in "ab":
        worker.play(
            VideoStream(
                lambda p: p.predict(video, "the red circle"), lambda item, name=name: order.append((name, item))
            )
        )  # type: ignore[misc]
    with pytest.raises(BusyError, match="other videos"):
        worker.play(stream(video, []))
    image = worker.submit(request(0, "x"))
    gate.open.set()
    image.result(60)
    wait_for(lambda: len(order) == 12)
    assert [name for name, _ in order] == ["a", "b"] * 6
    assert [item.index for name, item in order if name == "a" and item is not None] == [0, 1, 2, 3, 4]
    assert counters.value("frames_total") == 10
    expected = list(predictors[1].predict(video, "the red circle"))
    for found, right in zip([item for name, item in order if name == "b"], expected, strict=False):
        assert isinstance(found, FrameResult) and (found.predictions[0].mask == right.predictions[0].mask).all()
    worker.close()


def test_a_video_waits_for_a_slow_client_and_ends_with_one_that_leaves(predictors: Any, video: Path) -> None:
    worker = Worker(lambda: predictors, Limits(), Counters())
    got: list[Any] = []
    slow = VideoStream(lambda p: (one for _ in range(9) for one in p.predict(video, "x")), got.append)
    worker.play(slow)
    wait_for(lambda: len(got) == AHEAD)
    assert worker.submit(request(0, "x")).result(60)  # not held up
    assert len(got) == AHEAD
    worker.taken(slow)
    wait_for(lambda: len(got) == AHEAD + 1)
    worker.cancel(slow)
    wait_for(lambda: not worker._videos)
    assert len(got) == AHEAD + 1
    worker.close()


def test_a_damaged_video_ends_with_its_error(predictors: Any) -> None:
    worker = Worker(lambda: predictors, Limits(), Counters())
    got: list[Any] = []
    worker.play(stream(Path("none.mp4"), got))
    wait_for(lambda: got)
    assert isinstance(got[0], FileNotFoundError) and not worker._videos
    worker.close()


def test_a_model_that_is_not_loaded_is_a_state(caplog: pytest.LogCaptureFixture) -> None:
    def load() -> Any:
        raise FileNotFoundError("no folder 'x'")

    worker = Worker(load, Limits(), Counters())
    wait_for(lambda: worker.failure)
    assert worker.failure == "no folder 'x'" and worker.predictors is None
    worker.close()


def test_what_waits_when_the_server_closes_gets_an_error(predictors: Any) -> None:
    gate = Gate(predictors)
    worker = Worker(gate.load, Limits(), Counters())
    future = worker.submit(request(0, "x"))
    threading.Timer(0.3, gate.open.set).start()
    worker.close()
    with pytest.raises(BusyError, match="closing"):
        future.result(1)


def test_whoever_waits_is_told_of_the_error_or_that_the_time_is_over(predictors: Any, video: Path) -> None:
    worker, never = Worker(lambda: predictors, Limits(), Counters()), threading.Event()
    assert worker.answer(request(0, "x"))[0].instruction == "x"
    with pytest.raises(ValueError, match="shorten"):
        worker.answer(request(0, "red " * 3000))
    found = [one.index for one in worker.follow(lambda p: p.predict(video, "x"), never)]
    assert found == [0, 1, 2, 3, 4]
    with pytest.raises(FileNotFoundError):
        list(worker.follow(lambda p: p.predict(Path("none.mp4"), "x"), never))
    worker.limits, held = Limits(seconds=1, video_seconds=1), threading.Event()
    follow = worker.follow(lambda p: iter(lambda: held.wait(60) and None, None), never)
    with pytest.raises(ValueError, match="not done after 1 seconds: cut the video"):
        next(follow)
    with pytest.raises(ValueError, match="not done after 1 seconds: try a smaller image"):
        worker.answer(request(0, "x"))  # the step before it takes so long
    held.set()
    worker.close()


def test_a_cancelled_video_takes_no_place_while_its_last_step_is_computed(predictors: Any, video: Path) -> None:
    worker = Worker(lambda: predictors, Limits(videos=1), Counters())
    held, cancelled = threading.Event(), threading.Event()
    stuck = worker.follow(lambda p: iter(lambda: held.wait(60) and None, None), cancelled)
    threading.Timer(0.2, cancelled.set).start()
    with pytest.raises(CancelledVideoError):
        next(stuck)
    other = worker.follow(lambda p: p.predict(video, "x"), threading.Event())
    held.set()
    assert len(list(other)) == 5
    abandoned = worker.follow(lambda p: p.predict(video, "x"), threading.Event())
    next(abandoned)
    abandoned.close()  # type: ignore[attr-defined]  # a generator
    wait_for(lambda: not worker._videos)
    worker.close()
