"""Which frames the language model runs on, and what the rest of a clip is answered with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from instructseg.inference import StreamOptions, Stride, VideoPredictor, VideoSession
from instructseg.inference.stride import feature_distance
from instructseg.model import InstructSeg
from instructseg.prediction import FrameResult
from instructseg.processing import InstructSegProcessor
from tests.inference.test_image import TEXTS

Nano = tuple[InstructSeg, InstructSegProcessor]
Frames = Callable[[int], list[np.ndarray]]


@contextmanager
def counted(model: InstructSeg) -> Iterator[Counter[str]]:
    """How many frames or rows went through each part."""
    calls: Counter[str] = Counter()

    def count(name: str) -> Callable[..., None]:
        return lambda _module, inputs: calls.update({name: len(inputs[0])})

    parts = {
        "vision": model.vision,
        "backbone": model.backbone,
        "ovp": model.ovp,
        "head": model.language.lm_head,
    }
    hooks = [part.register_forward_pre_hook(count(name)) for name, part in parts.items()]
    real = model.reason
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            model, "reason", lambda embeds, *more: calls.update(language=len(embeds)) or real(embeds, *more)
        )
        yield calls
    for hook in hooks:
        hook.remove()


def stream(nano: Nano, clip: list[np.ndarray], texts: list[str], **options: object) -> list[FrameResult]:
    session = VideoSession(*nano, StreamOptions(soft=True, **options))
    for text in texts:
        session.add(text)
    return [result for frame in clip for result in session.push(frame)] + session.close()


def probabilities(results: list[FrameResult]) -> np.ndarray:
    found = [one.probability for result in results for one in result.predictions]
    return np.stack([one for one in found if one is not None])


@pytest.mark.parametrize("value", [1, "1", Stride(1), Stride(8, True, margin=0), Stride(8, True, distance=0)])
def test_a_stride_of_one_is_the_exact_path(nano: Nano, frames: Frames, value: Stride | int | str) -> None:
    clip = frames(7)
    exact, found = stream(nano, clip, TEXTS), stream(nano, clip, TEXTS, llm_stride=value)
    if isinstance(value, Stride) and value.margin == 0:  # a score that rose holds
        pairs = [(a, b) for a, b in zip(exact, found, strict=True) if set(b.keys.values()) == {b.index}]
        assert pairs
        exact, found = [a for a, _ in pairs], [b for _, b in pairs]
    else:
        assert all(set(result.keys.values()) == {result.index} for result in found)
    np.testing.assert_array_equal(probabilities(exact), probabilities(found))


@pytest.mark.parametrize("length", range(1, 9))
@pytest.mark.parametrize("stride", [2, 3, 8])
def test_key_frames_and_calls(nano: Nano, frames: Frames, length: int, stride: int) -> None:
    clip = frames(length)
    with counted(nano[0]) as calls:
        results = stream(nano, clip, TEXTS, llm_stride=stride)
    waiting = length - 2 if length >= 5 else 0  # at the end, the next key frame can be looked at too
    for t, result in enumerate(results):
        past, future = t - t % stride, t - t % stride + stride
        nearest = future if t >= waiting and future < length and future - t < t - past else past
        assert result.keys == dict.fromkeys(range(3), nearest)
    keys = range(0, length, stride)
    looked_at = {i for t in keys for i in range(max(0, min(t - 2, length - 5)), min(length, max(t + 3, 5)))}
    assert calls["language"] == 3 * len(keys)
    assert calls["vision"] == len(looked_at)
    assert calls["backbone"] == length
    assert calls["ovp"] <= 3 * len(looked_at)
    assert calls["head"] == 0  # no text was asked for


def test_at_key_frames_nothing_changes(nano: Nano, frames: Frames) -> None:
    clip = frames(8)
    exact = stream(nano, clip, TEXTS)
    for options in ({}, {"delay": 4}):
        for before, after in zip(exact, stream(nano, clip, TEXTS, llm_stride=3, **options), strict=True):
            if before.index % 3 == 0:
                np.testing.assert_allclose(probabilities([after]), probabilities([before]), atol=1e-5)


@pytest.mark.parametrize(
    ("length", "keys"),
    [(1, [0]), (3, [0, 0, 0]), (5, [0, 0, 0, 4, 4]), (8, [0, 0, 0, 4, 4, 4, 4, 4])],
)
def test_with_more_delay_the_nearest_key_frame(
    nano: Nano, frames: Frames, length: int, keys: list[int]
) -> None:
    results = stream(nano, frames(length), TEXTS[:1], llm_stride=4, delay=4)
    assert [result.keys[0] for result in results] == keys
    with counted(nano[0]) as calls:
        predictor = VideoPredictor(*nano)
        found = list(predictor.predict(frames(length), TEXTS[0], llm_stride=4, soft=True, chunk=1))
    assert calls["language"] == len(set(keys))
    for one, other in zip(found, results, strict=True):
        np.testing.assert_allclose(one.predictions[0].probability, probabilities([other])[0], atol=1e-5)


@torch.no_grad()
def test_between_key_frames_the_pixels_are_the_frames_own(nano: Nano, frames: Frames) -> None:
    model, processor = nano
    clip = frames(5)
    (_, _, found, _, _) = stream(nano, clip, TEXTS[:1], llm_stride=4)
    input_ids, roles = processor.encode_text(TEXTS[:1], StreamOptions().task, 4)
    tokens = model.encode_frame(torch.stack([processor.encode_clip(frame) for frame in clip])).tokens
    assert tokens is not None
    text, mask = model.embed_text(input_ids, roles)
    temporal = model.perceive(tokens[1:], text.expand(4, -1, -1), mask.expand(4, -1))
    states = model.reason(model.embed(input_ids, roles, tokens[:1], temporal), roles)
    pixels, geometry = processor.encode_key_frame(clip[2])
    output = model.decode(model.encode_frame(seg_pixels=pixels[None]), states)
    from instructseg.inference.postprocess import predictions

    (expected,) = predictions(output, [geometry], soft=True)
    np.testing.assert_allclose(probabilities([found])[0], expected.probability, atol=1e-4)


def test_auto_runs_when_the_picture_changes(nano: Nano, frames: Frames) -> None:
    one, other = frames(2)
    clip = [one] * 5 + [other] * 5
    results = stream(nano, clip, TEXTS[:2], llm_stride=Stride(100, True, margin=1, distance=0.05))
    assert [result.keys[0] for result in results] == [0] * 5 + [5] * 5
    results = stream(nano, clip, TEXTS[:2], llm_stride=Stride(3, True, margin=1, distance=2))
    assert [result.keys[1] for result in results] == [0, 0, 0, 3, 3, 3, 6, 6, 6, 9]


def test_auto_runs_when_a_score_falls(nano: Nano, frames: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    session = VideoSession(*nano, StreamOptions(llm_stride=Stride(100, True, margin=0.2, distance=2), delay=0))
    first, second = session.add(TEXTS[0]), session.add(TEXTS[1])
    session.push(frames(1)[0])
    anchors = {number: row.anchor for number, row in session._instructions.items()}
    assert anchors[first] is not None
    object.__setattr__(anchors[first], "score", 1.0)  # as if the score had been high
    (result,) = session.push(frames(1)[0])
    assert result.keys == {first: 1, second: 0}
    (result,) = session.push(frames(1)[0])
    assert result.keys == {first: 1, second: 0}


def test_feature_distance() -> None:
    rng = torch.Generator().manual_seed(0)
    level = torch.randn(1, 8, 4, 4, generator=rng)
    assert feature_distance(level, level) == 0
    assert feature_distance(level, -level) == pytest.approx(2)
    assert feature_distance(torch.zeros_like(level), level) == pytest.approx(2)
    assert feature_distance(1.1 * level, level) == pytest.approx(0.1 / 1.05, abs=1e-6)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "llm_stride must be at least 1, got 0"),
        ("-2", "llm_stride must be at least 1, got -2"),
        ("often", "llm_stride is a number of frames or 'auto', got 'often'"),
    ],
)
def test_wrong_strides(value: int | str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Stride.of(value)


def test_wrong_bounds() -> None:
    with pytest.raises(ValueError, match=r"margin must be within 0\.\.1"):
        Stride(margin=2)
    with pytest.raises(ValueError, match=r"distance must be within 0\.\.2"):
        Stride(distance=-1)
    assert Stride.of("auto").adaptive and Stride.of(4) == Stride(4)
