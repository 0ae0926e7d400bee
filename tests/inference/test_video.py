"""Prediction in video: against one plain forward per frame, and what is read when."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from instructseg.data.frames import neighbour_references
from instructseg.inference import VideoPredictor
from instructseg.inference.frame_window import spacing_of
from instructseg.inference.postprocess import postprocess
from instructseg.media import TruncatedVideoError, open_video
from instructseg.model import InstructSeg
from instructseg.processing import InstructSegProcessor
from instructseg.structures import Sample, SegOutput, Task
from tests.inference.test_image import TEXTS, same
from tests.inference.test_stride import counted
from tests.media.clips import make

Nano = tuple[InstructSeg, InstructSegProcessor]
Frames = Callable[[int], list[np.ndarray]]


@pytest.mark.parametrize("length", range(1, 9))
@torch.no_grad()
def test_equals_the_plain_forward(nano: Nano, frames: Frames, length: int) -> None:
    model, processor = nano
    clip = frames(length)
    results = list(VideoPredictor(*nano).predict(iter(clip), TEXTS, soft=True, batch_size=2))
    assert [result.index for result in results] == list(range(length))
    for t, result in enumerate(results):
        np.testing.assert_array_equal(result.frame, clip[t])
        references = tuple(clip[i] for i in neighbour_references(t, length))
        inputs = processor([Sample(clip[t], text, Task.RVOS, references) for text in TEXTS])
        expected = postprocess(model(inputs), inputs, soft=True)
        assert [found.instruction for found in result.predictions] == TEXTS
        for found, other in zip(result.predictions, expected, strict=True):
            same(found, other)


@torch.no_grad()
def test_mask_logits_equal_the_plain_forward(
    nano: Nano, frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = nano
    found: list[SegOutput] = []
    real, clip = model.decode, frames(7)
    with monkeypatch.context() as patch:
        patch.setattr(model, "decode", lambda *given: found.append(real(*given)) or found[-1])
        list(VideoPredictor(*nano).predict(clip, TEXTS))
    assert len(found) == len(clip)
    for t, output in enumerate(found):
        references = tuple(clip[i] for i in neighbour_references(t, len(clip)))
        expected = model(processor([Sample(clip[t], text, Task.RVOS, references) for text in TEXTS]))
        for name in ("mask_logits", "seg_logits"):
            torch.testing.assert_close(getattr(output, name), getattr(expected, name), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("fps", "options", "spacing"),
    [(12.0, {}, 2), (30.0, {}, 2), (30.0, {"references": 2}, 3), (12.0, {"spacing": 1}, 1), (None, {}, 1)],
)
def test_references_are_spaced_by_the_frame_rate_of_a_clip_that_tells_it(
    nano: Nano, frames: Frames, fps: float | None, options: dict[str, int], spacing: int
) -> None:
    clip, predictor = frames(11), VideoPredictor(*nano)
    found = list(predictor.predict(open_video(clip, fps), TEXTS[0], soft=True, **options))
    expected = list(predictor.predict(clip, TEXTS[0], soft=True, **{**options, "spacing": spacing}))
    for one, other in zip(found, expected, strict=True):
        same(one.predictions[0], other.predictions[0])


def test_a_file_that_does_not_announce_its_length_is_spaced_by_its_duration(nano: Nano, tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mkv"):  # 60 frames in 2 seconds
        clip = open_video(make(tmp_path / name))
        assert clip.about == pytest.approx(60, abs=1)
    assert clip.length is None
    with counted(nano[0]) as calls:
        found = list(VideoPredictor(*nano).predict(clip, TEXTS[0], llm_stride=10))
    assert len(found) == 60 and calls["backbone"] == 60
    assert spacing_of(clip.fps, clip.about) == 5


def test_no_frame_of_a_camera_is_read_before_it_is_needed(nano: Nano, frames: Frames) -> None:
    read: list[int] = []
    results = VideoPredictor(*nano).predict(
        (read.append(i) or frame for i, frame in enumerate(frames(8))), "red"
    )
    for wanted, ahead in [(0, 5), (1, 5), (2, 5), (3, 6), (4, 7)]:
        assert next(results).index == wanted
        assert len(read) == ahead


def test_each_frame_is_encoded_once(nano: Nano, frames: Frames) -> None:
    with counted(nano[0]) as calls:
        list(VideoPredictor(*nano).predict(frames(7), TEXTS))
    assert calls == {"vision": 7, "backbone": 7, "ovp": 21, "language": 21}


def test_frames_at_once_have_a_limit(nano: Nano, frames: Frames) -> None:
    predictor = VideoPredictor(*nano)
    for limit, expected in ((None, 4), (2, 2)):
        sizes: list[int] = []
        hook = nano[0].backbone.register_forward_pre_hook(lambda _, given, to=sizes: to.append(len(given[0])))
        predictor.chunk = limit
        list(predictor.predict(frames(8), TEXTS[0]))
        hook.remove()
        assert (max(sizes), sum(sizes)) == (expected, 8)


def test_a_source_that_breaks_gives_what_it_had(nano: Nano, frames: Frames) -> None:
    def broken() -> Iterator[np.ndarray]:
        yield from frames(6)
        raise TruncatedVideoError("clip.mp4 breaks off after 6 frames")

    indices = []
    with pytest.raises(TruncatedVideoError, match="breaks off after 6 frames"):
        for result in VideoPredictor(*nano).predict(broken(), TEXTS[0]):
            indices.append(result.index)
    assert indices == list(range(6))


def test_a_frame_of_another_size_ends_the_clip_behind_what_was_done(nano: Nano, frames: Frames) -> None:
    clip = [*frames(6), frames(7)[6][:, ::2], frames(8)[7]]
    for source in (clip, iter(clip)):  # where frames lie ready they are encoded together
        indices = []
        with pytest.raises(ValueError, match="40x28"):
            for result in VideoPredictor(*nano).predict(source, TEXTS[0]):
                indices.append(result.index)
        assert indices == list(range(6))


def test_errors_come_before_the_first_frame(nano: Nano, frames: Frames, tmp_path: object) -> None:
    predictor = VideoPredictor(*nano)
    with pytest.raises(ValueError, match="'vqa' has no mask"):
        predictor.predict(frames(2), "what?", Task.VQA)
    with pytest.raises(ValueError, match="no instruction"):
        predictor.predict(frames(2), [])
    with pytest.raises(FileNotFoundError, match=r"none\.mp4"):
        predictor.predict(f"{tmp_path}/none.mp4", "the red circle")
    with pytest.raises(ValueError, match="instruction of task 'rvos' is empty"):
        next(predictor.predict(frames(2), " "))
    with pytest.raises(ValueError, match="references must not be negative"):
        VideoPredictor(*nano, references=-1)
