"""Prediction in video: against one plain forward per frame, and the window against the rule itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from instructseg.data.frames import neighbour_references
from instructseg.inference import VideoPredictor
from instructseg.inference.postprocess import postprocess
from instructseg.inference.video import windows
from instructseg.media import TruncatedVideoError
from instructseg.model import InstructSeg
from instructseg.processing import InstructSegProcessor
from instructseg.structures import Sample, Task
from tests.inference.test_image import TEXTS, same

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
        assert result.frame is clip[t]
        references = tuple(clip[i] for i in neighbour_references(t, length))
        inputs = processor([Sample(clip[t], text, Task.RVOS, references) for text in TEXTS])
        expected = postprocess(model(inputs), inputs, soft=True)
        assert [found.instruction for found in result.predictions] == TEXTS
        for found, other in zip(result.predictions, expected, strict=True):
            same(found, other)


@pytest.mark.parametrize("references", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 6, 7, 20])
def test_windows_follow_the_rule(length: int, references: int) -> None:
    expected = [(t, t, neighbour_references(t, length, references)) for t in range(length)]
    assert list(windows(iter(range(length)), references)) == expected


def test_no_frame_is_read_before_it_is_needed() -> None:
    read: list[int] = []
    stream = windows((read.append(i) or i for i in range(100)), 4)
    for wanted, ahead in [(0, 5), (1, 5), (2, 5), (3, 6), (4, 7)]:
        assert next(stream)[0] == wanted
        assert len(read) == ahead


def test_each_frame_is_encoded_once(nano: Nano, frames: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()
    model = nano[0]
    for part in ("vision", "backbone", "ovp", "language"):
        module = getattr(model, part).model if part == "language" else getattr(model, part)
        real = module.forward
        monkeypatch.setattr(
            module, "forward", lambda *a, _part=part, _real=real, **k: calls.update([_part]) or _real(*a, **k)
        )
    list(VideoPredictor(*nano).predict(frames(7), TEXTS))
    assert calls == {"vision": 7, "backbone": 7, "ovp": 7, "language": 7}


def test_a_source_that_breaks_gives_what_it_had(nano: Nano, frames: Frames) -> None:
    def broken() -> Iterator[np.ndarray]:
        yield from frames(6)
        raise TruncatedVideoError("clip.mp4 breaks off after 6 frames")

    indices = []
    with pytest.raises(TruncatedVideoError, match="breaks off after 6 frames"):
        for result in VideoPredictor(*nano).predict(broken(), TEXTS[0]):
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
