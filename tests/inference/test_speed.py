"""Speeds by name: what they set, and that settings of one's own stay."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from instructseg.inference import Stride, TokenChoice, VideoPredictor
from instructseg.inference.stream_options import SPEEDS, with_speed
from instructseg.jobs import checks
from instructseg.model import InstructSeg
from instructseg.processing import InstructSegProcessor
from tests.inference.test_image import TEXTS
from tests.inference.test_stride import counted, probabilities

Nano = tuple[InstructSeg, InstructSegProcessor]
Frames = Callable[[int], list[np.ndarray]]


def test_the_default_is_exact() -> None:
    assert with_speed({}) == with_speed({"speed": "exact"}) == {"llm_stride": 1, "keep_tokens": 1.0}
    assert next(iter(SPEEDS)) == "exact"
    assert tuple(SPEEDS) == checks.SPEEDS


@pytest.mark.parametrize("speed", SPEEDS)
def test_a_speed_is_a_stride_and_a_share_of_the_tokens(nano: Nano, frames: Frames, speed: str) -> None:
    stride, keep = SPEEDS[speed]  # type: ignore[index]
    options = VideoPredictor(*nano).session(speed=speed).options  # type: ignore[arg-type]
    assert (options.stride, options.kept) == (Stride(stride), TokenChoice(keep))
    with counted(nano[0]) as calls:
        found = list(VideoPredictor(*nano).predict(frames(9), TEXTS[0], speed=speed, soft=True))  # type: ignore[arg-type]
    assert calls["language"] == len(range(0, 9, stride))
    plain = VideoPredictor(*nano).predict(frames(9), TEXTS[0], llm_stride=stride, keep_tokens=keep, soft=True)
    np.testing.assert_array_equal(probabilities(found), probabilities(list(plain)))


def test_settings_that_are_given_stay(nano: Nano) -> None:
    options = VideoPredictor(*nano).session(speed="fast", llm_stride=2).options
    assert options.stride == Stride(2)
    assert options.kept == TokenChoice(SPEEDS["fast"][1])


def test_an_unknown_speed_is_refused(nano: Nano, frames: Frames) -> None:
    with pytest.raises(ValueError, match="unknown speed 'faster': use exact, balanced, fast"):
        VideoPredictor(*nano).predict(frames(2), TEXTS[0], speed="faster")  # type: ignore[arg-type]
