"""What is taken as an image, a video and an instruction, at every door."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from instructseg.inference import ImagePredictor, VideoPredictor, VideoSession
from instructseg.inference.user_input import take_video
from instructseg.model import InstructSeg
from instructseg.processing import InstructSegProcessor

Nano = tuple[InstructSeg, InstructSegProcessor]
Frames = Callable[[int], list[np.ndarray]]

BAD = {
    "two-dimensional": np.zeros((3, 3)),
    "grey": np.zeros((40, 56), np.uint8),
    "one channel": np.zeros((40, 56, 1), np.uint8),
    "transparent": np.zeros((40, 56, 4), np.uint8),
    "channels first": np.zeros((3, 40, 56), np.uint8),
    "floats": np.zeros((40, 56, 3)),
    "floats of 0..255": np.full((40, 56, 3), 99.0, np.float32),
    "not a number": np.full((40, 56, 3), np.nan),
    "signed": np.zeros((40, 56, 3), np.int8),
    "booleans": np.zeros((40, 56, 3), bool),
    "objects": np.full((40, 56, 3), None),
    "a number": np.array(5, np.uint8),
    "no height": np.zeros((0, 56, 3), np.uint8),
    "no width": np.zeros((40, 0, 3), np.uint8),
    "a line of 1e9": np.broadcast_to(np.zeros(3, np.uint8), (1, 10**9, 3)),
}
STRANGE = {
    "a dictionary": {"image": 1},
    "nothing": None,
    "a number": 5.0,
}


def doors(nano: Nano, good: np.ndarray) -> dict[str, Callable[[Any], object]]:
    session = VideoSession(*nano)
    session.add("the red circle")
    videos = VideoPredictor(*nano)
    return {
        "encode": ImagePredictor(*nano).encode,
        "predict": lambda bad: ImagePredictor(*nano).predict(bad, "red"),
        "push": session.push,
        "extend": lambda bad: session.extend([bad]),
        "a list": lambda bad: list(videos.predict([bad], "red")),
        "behind a good one": lambda bad: list(videos.predict([good, bad], "red")),
        "a generator": lambda bad: list(videos.predict((one for one in [bad]), "red")),
    }


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_an_array_that_is_no_image_is_refused_at_every_door(
    nano: Nano, frames: Frames, bad: np.ndarray
) -> None:
    for name, door in doors(nano, frames(1)[0]).items():
        with pytest.raises(ValueError, match=r"an image .*\d"):
            door(bad)
            pytest.fail(name)


@pytest.mark.parametrize("bad", STRANGE.values(), ids=STRANGE)
def test_what_is_no_image_at_all_is_refused_at_every_door(nano: Nano, frames: Frames, bad: object) -> None:
    for name, door in doors(nano, frames(1)[0]).items():
        with pytest.raises(TypeError, match=f"an image is a path.*got {type(bad).__name__}"):
            door(bad)
            pytest.fail(name)
    with pytest.raises(TypeError, match="a video is a path"):
        VideoPredictor(*nano).predict(bad, "red")  # type: ignore[arg-type]


def test_a_list_of_images_is_told_where_it_goes(nano: Nano, frames: Frames) -> None:
    with pytest.raises(TypeError, match="got list: predict_many takes several"):
        ImagePredictor(*nano).predict(frames(2), "red")  # type: ignore[arg-type]


def test_bytes_files_and_tensors_are_images_at_every_door(nano: Nano, frames: Frames) -> None:
    (shown,) = frames(1)
    file = io.BytesIO()
    Image.fromarray(shown).save(file, "PNG")
    for name, door in doors(nano, shown).items():
        wanted = door(shown)
        for given in (file.getvalue(), torch.from_numpy(shown.transpose(2, 0, 1).copy())):
            found = door(given)
            if name == "predict":
                assert np.array_equal(found[0].mask, wanted[0].mask)  # type: ignore[index]


def test_a_session_goes_on_behind_a_frame_that_was_refused(nano: Nano, frames: Frames) -> None:
    first, second, third = frames(3)
    plain, disturbed = (VideoSession(*nano) for _ in range(2))
    for session in (plain, disturbed):
        session.add("the red circle")
    for frame in (first, second, third):
        with pytest.raises(ValueError, match="an image array"):
            disturbed.push(np.zeros((3, 3)))
        plain.push(frame)
        disturbed.push(frame)
    scores = [[one.predictions[0].score for one in session.flush()] for session in (plain, disturbed)]
    assert scores[0] == scores[1] and scores[0]


def test_what_holds_frames_is_opened_as_before(frames: Frames, tmp_path: Path) -> None:
    given = frames(3)
    Image.fromarray(given[0]).save(tmp_path / "0.png")

    class Camera:
        fps = 7.0

        def __iter__(self) -> Iterator[np.ndarray]:
            return iter(given)

    stacked, pillow = np.stack(given), [Image.fromarray(one) for one in given]
    for video in (given, stacked, pillow, iter(given), Camera(), tuple(given)):
        opened = take_video(video)
        np.testing.assert_array_equal(np.stack(list(opened)), stacked)
    assert take_video(Camera()).fps == 7 and take_video(Camera()).length is None
    assert take_video(given).length == take_video(stacked).length == 3
    for one in (
        given[0],
        pillow[0],
        tmp_path / "0.png",
        str(tmp_path / "0.png"),
        tmp_path,
        [tmp_path / "0.png"],
    ):
        assert len(take_video(one)) == 1


def test_instructions_are_texts(nano: Nano, frames: Frames) -> None:
    image, video, session = ImagePredictor(*nano), VideoPredictor(*nano), VideoSession(*nano)
    (frame,) = frames(1)
    for ask in (lambda given: image.predict(frame, given), lambda given: video.predict(frames(1), given)):
        for given, said in (
            (5, "got int"),
            (None, "got NoneType"),
            (b"red", "got bytes"),
            (["red", 5], "instruction 1 .* int"),
        ):
            with pytest.raises(TypeError, match=said):
                ask(given)  # type: ignore[operator]
        for empty in ([], (), iter([])):
            with pytest.raises(ValueError, match="no instruction: say what to look for"):
                ask(empty)  # type: ignore[operator]
    for other in (lambda given: image.answer(frame, given), session.add):
        with pytest.raises(TypeError, match="a text, got int"):
            other(5)  # type: ignore[operator]


def test_threads_may_share_a_predictor(nano: Nano, frames: Frames) -> None:
    given = frames(6)
    expected = [ImagePredictor(*nano).predict(one, "the red circle")[0].score for one in given]
    assert len(set(expected)) == 6
    predictor, barrier = ImagePredictor(*nano), threading.Barrier(6, timeout=60)
    found: dict[int, float] = {}

    def work(i: int) -> None:
        image = predictor.encode(given[i])
        barrier.wait()  # all have encoded theirs before the first one asks
        found[i] = predictor.predict(image, "the red circle")[0].score

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[i] for i in range(6)] == pytest.approx(expected, abs=1e-5)


def test_a_session_takes_frames_from_one_thread_at_a_time(nano: Nano, frames: Frames) -> None:
    session, told = VideoSession(*nano), []
    circle = session.add("the red circle")

    def intrude() -> None:
        for act in (lambda: session.push(frames(1)[0]), session.flush, session.close):
            with pytest.raises(ValueError, match="another thread is inside"):
                act()
            told.append(1)

    def given() -> Iterator[np.ndarray]:
        thread = threading.Thread(target=intrude)
        thread.start()
        thread.join()
        session.drop(circle)  # the same thread may
        yield frames(1)[0]

    session.extend(given())
    assert len(told) == 3 and session.held == 1


def test_a_threshold_is_that_of_the_weights_unless_given(nano: Nano, frames: Frames) -> None:
    model, plain = nano
    (frame,) = frames(1)
    (before,) = ImagePredictor(*nano).predict(frame, "the red circle")
    assert before.found  # weights without a threshold mark always
    for threshold, found in ((before.presence + 1e-4, False), (before.presence - 1e-4, True)):
        config = replace(plain.config, presence_threshold=threshold)
        parts = model, InstructSegProcessor(plain.tokenizer, config)
        options: dict[str, Any]
        for options, expected in (({}, found), ({"threshold": None}, found), ({"threshold": 0}, True)):
            (one,) = ImagePredictor(*parts).predict(frame, "the red circle", **options)
            (other,) = VideoPredictor(*parts, references=0).predict([frame], "the red circle", "res", **options)
            assert one.found is other.predictions[0].found is expected
    for bad in (-0.1, 1.1, float("nan")):
        for predictor in (ImagePredictor(*nano).predict, VideoPredictor(*nano).predict):
            with pytest.raises(ValueError, match=r"outside 0\.\.1"):
                predictor(frame, "the red circle", threshold=bad)  # type: ignore[operator]
