"""Streams: against one plain forward per frame; what is kept, what is shared, and what goes wrong."""

from __future__ import annotations

import gc
from collections.abc import Callable

import numpy as np
import pytest
import torch

from instructseg.data.frames import neighbour_references
from instructseg.inference import StreamOptions, VideoPredictor, VideoSession
from instructseg.inference.postprocess import postprocess
from instructseg.model import InstructSeg
from instructseg.prediction import FrameResult, Prediction
from instructseg.processing import InstructSegProcessor
from instructseg.structures import Sample, Task
from tests.inference.conftest import make_model
from tests.inference.test_image import TEXTS, same
from tests.inference.test_stride import counted

Nano = tuple[InstructSeg, InstructSegProcessor]
Frames = Callable[[int], list[np.ndarray]]


FORWARDS: dict[tuple[object, ...], Prediction] = {}
"""What :func:`forward` gave: many tests ask about the same frames."""


@torch.no_grad()
def forward(nano: Nano, frame: np.ndarray, references: list[np.ndarray], text: str) -> Prediction:
    """What the model's forward says of a frame and its references."""
    model, processor = nano
    key = (id(model), text, *((one.shape, one.tobytes()) for one in (frame, *references)))
    if key not in FORWARDS:
        inputs = processor([Sample(frame, text, Task.RVOS, tuple(references))])
        (FORWARDS[key],) = postprocess(model(inputs), inputs, soft=True)
    return FORWARDS[key]


def check(nano: Nano, clip: list[np.ndarray], result: FrameResult, t: int, references: list[int]) -> None:
    """A result against the model's forward on the frame and its references."""
    for found in result.predictions:
        same(found, forward(nano, clip[t], [clip[i] for i in references], found.instruction))


def session_of(nano: Nano, **options: object) -> VideoSession:
    return VideoSession(*nano, StreamOptions(soft=True, **options))


@pytest.mark.parametrize("length", range(1, 9))
def test_equals_the_plain_forward(nano: Nano, frames: Frames, length: int) -> None:
    clip = frames(length)
    session = session_of(nano, batch_size=2)
    numbers = [session.add(text) for text in TEXTS]
    results = [result for frame in clip for result in session.push(frame)]
    assert len(results) == (0 if length < 5 else length - 2)
    results += session.close()
    assert [result.index for result in results] == list(range(length))
    for t, result in enumerate(results):
        np.testing.assert_array_equal(result.frame, clip[t])
        assert {found.instruction_id: found.instruction for found in result.predictions} == dict(
            zip(numbers, TEXTS, strict=True)
        )
        check(nano, clip, result, t, neighbour_references(t, length))


@pytest.mark.parametrize(("length", "spacing"), [(1, 2), (5, 2), (11, 2), (16, 3)])
def test_with_spacing_each_frame_belongs_to_a_clip_of_every_nth(
    nano: Nano, frames: Frames, length: int, spacing: int
) -> None:
    clip = frames(length)
    session = session_of(nano, spacing=spacing, batch_size=2, chunk=3)
    session.add(TEXTS[0])
    with counted(nano[0]) as calls:
        results = [*session.extend(clip), *session.close()]
    assert calls == {"vision": length, "backbone": length, "ovp": length, "language": length}
    assert [result.index for result in results] == list(range(length))
    for t, result in enumerate(results):
        own = list(range(t % spacing, length, spacing))
        check(nano, clip, result, t, [own[i] for i in neighbour_references(t // spacing, len(own))])


def test_with_spacing_and_a_stride_only_key_frames_and_their_references_are_seen(
    nano: Nano, frames: Frames
) -> None:
    with counted(nano[0]) as calls:
        results = list(VideoPredictor(*nano).predict(frames(17), TEXTS[0], llm_stride=4, spacing=4))
    assert [result.index for result in results] == list(range(17))
    assert calls == {"vision": 5, "backbone": 17, "ovp": 5, "language": 5}


@pytest.mark.parametrize("delay", [0, 1])
def test_with_less_delay(nano: Nano, frames: Frames, delay: int) -> None:
    clip = frames(8)
    session = session_of(nano, delay=delay)
    session.add(TEXTS[0])
    for read, frame in enumerate(clip):
        for result in session.push(frame):
            assert result.index == read - delay
            last = result.index + delay
            check(
                nano, clip, result, result.index,
                [i for i in range(max(0, last - 4), last + 1) if i != result.index],
            )  # fmt: skip
    assert [result.index for result in session.flush()] == list(range(8 - delay, 8))


@pytest.mark.parametrize("stride", [1, 3])
def test_instructions_come_and_go(nano: Nano, frames: Frames, stride: int) -> None:
    clip = frames(8)
    session = session_of(nano, llm_stride=stride)
    first = session.add(TEXTS[0])
    asked, results, last = [], [], None
    for t, frame in enumerate(clip):
        if t == 5:  # three results are out: from frame 3 on
            last = session.add(TEXTS[1])
            assert session.instructions == {first: TEXTS[0], last: TEXTS[1]}
        if t == 7:
            session.drop(first)
        results += session.push(frame)
    results += session.close()
    asked = [{one.instruction_id for one in result.predictions} for result in results]
    assert asked == [{first}] * 3 + [{first, last}] * 2 + [{last}] * 3
    for t, result in enumerate(results):
        if stride == 1 or result.keys == dict.fromkeys((one.instruction_id for one in result.predictions), t):
            check(nano, clip, result, t, neighbour_references(t, 8))
    if stride == 3:
        assert [result.keys.get(last) for result in results] == [None, None, None, 3, 3, 3, 6, 6]


def test_an_instruction_between_key_frames_runs_at_once(nano: Nano, frames: Frames) -> None:
    session = session_of(nano, llm_stride=4, delay=0)
    first = session.add(TEXTS[0])
    keys = []
    for t, frame in enumerate(frames(8)):
        if t == 1:
            second = session.add(TEXTS[1])
        keys += [result.keys for result in session.push(frame)]
    assert [key[first] for key in keys] == [0, 0, 0, 0, 4, 4, 4, 4]
    assert [key.get(second) for key in keys] == [None, 1, 1, 1, 4, 4, 4, 4]


@pytest.mark.parametrize("llm_stride", [2, 3, 4])
@pytest.mark.parametrize("delay", [0, 1, 3])
def test_an_instruction_that_comes_in_a_chunk_never_looks_ahead(
    nano: Nano, frames: Frames, llm_stride: int, delay: int
) -> None:
    keys = []
    for chunk in (1, 4):
        session = session_of(nano, chunk=chunk, llm_stride=llm_stride, delay=delay)
        first, found = session.add(TEXTS[0]), []
        for t in range(0, 16, 4):
            if t == 8:
                second = session.add(TEXTS[1])
            found += session.extend(frames(16)[t : t + 4])
        found += session.close()
        assert [result.index for result in found] == list(range(16))
        keys.append([(result.keys[first], result.keys.get(second)) for result in found])
    # those that came out before are other ones: a chunk is asked about as a whole
    assert [one for one, _ in keys[0]] == [one for one, _ in keys[1]]
    for one, other in zip(*keys, strict=True):
        assert None in (one[1], other[1]) or one[1] == other[1]


@pytest.mark.parametrize("options", [{}, {"llm_stride": 8, "delay": 0}, {"llm_stride": "auto", "delay": 0}])
def test_frames_are_not_shared_with_whoever_draws_on_them(
    nano: Nano, frames: Frames, options: dict[str, object]
) -> None:
    def run(spoil: bool) -> list[FrameResult]:
        session, buffer = session_of(nano, **options), np.empty_like(frames(1)[0])
        session.add(TEXTS[0])
        results = []
        for frame in frames(12):
            buffer[:] = frame  # a camera that fills the same array
            for result in session.push(buffer if spoil else frame):
                results.append(result)
                if spoil:
                    result.frame[:] = 0
        return results + session.close()

    for one, other in zip(run(False), run(True), strict=True):
        for found, expected in zip(one.predictions, other.predictions, strict=True):
            same(found, expected)


def test_features_are_shared(nano: Nano, frames: Frames) -> None:
    for count in (1, 3):
        for chunk in (1, 4):
            session = session_of(nano, chunk=chunk)
            for text in TEXTS[:count]:
                session.add(text)
            with counted(nano[0]) as calls:
                session.extend(frames(8))
                session.close()
            assert calls == {"vision": 8, "backbone": 8, "ovp": 8 * count, "language": 8 * count}


def test_without_instructions_nothing_is_computed(nano: Nano, frames: Frames) -> None:
    session = session_of(nano)
    with counted(nano[0]) as calls:
        results = [result for frame in frames(8) for result in session.push(frame)] + session.flush()
    assert not calls and [result.predictions for result in results] == [[]] * 8


def test_chunks_change_nothing(nano: Nano, frames: Frames) -> None:
    predictor = VideoPredictor(*nano)
    one, other = (list(predictor.predict(frames(8), TEXTS, soft=True, chunk=chunk)) for chunk in (1, 3))
    for before, after in zip(one, other, strict=True):
        for found, expected in zip(after.predictions, before.predictions, strict=True):
            same(found, expected)


@pytest.fixture
def apart() -> None:
    """Leaves what is there before the test out of :func:`live_tensors`: it is much, and others made it."""
    gc.collect()
    gc.freeze()  # for good, as in ``tests/conftest.py``


def live_tensors() -> tuple[int, int]:
    gc.collect()
    found = [one for one in gc.get_objects() if type(one) is torch.Tensor]
    return len(found), sum(one.untyped_storage().nbytes() for one in found)


@pytest.mark.parametrize(
    "options", [{}, {"delay": 0}, {"llm_stride": 3}, {"llm_stride": 4, "delay": 4}, {"llm_stride": "auto"}]
)
def test_memory_does_not_grow(nano: Nano, frames: Frames, apart: None, options: dict[str, object]) -> None:
    session = session_of(nano, **options)
    session.add(TEXTS[0])
    clip, sizes = frames(8), []
    for turn in range(3):
        for frame in clip + clip[:4]:  # 12 frames: strides of 2, 3 and 4 end alike
            session.push(frame)
        number = session.add(TEXTS[1])
        session.push(clip[0])
        session.drop(number)
        for frame in clip + clip[:3]:
            session.push(frame)
        sizes.append((session.held, len(session.instructions), *live_tensors()))
        assert session.held <= 9
        assert turn < 2 or sizes[-1] == sizes[-2], sizes
    session.close()
    assert session.held == 0 and live_tensors()[0] < sizes[-1][2]


def test_clips_do_not_look_back(nano: Nano, frames: Frames) -> None:
    session = session_of(nano)
    session.add(TEXTS[0])
    clip = frames(8)
    assert session.flush() == []
    results = session.extend(clip[:3]) + session.flush()
    larger = [np.tile(frame, (2, 1, 1)) for frame in clip[3:]]
    results += session.extend(larger) + session.close()
    assert [result.index for result in results] == list(range(8))
    for result in results[:3]:
        check(nano, clip[:3], result, result.index, neighbour_references(result.index, 3))
    for result in results[3:]:
        t = result.index - 3
        check(nano, larger, result, t, neighbour_references(t, 5))


def test_a_frame_of_another_size_is_refused_and_the_stream_goes_on(nano: Nano, frames: Frames) -> None:
    session = session_of(nano)
    session.add(TEXTS[0])
    clip = frames(8)
    results = session.extend(clip[:6])
    with pytest.raises(ValueError, match=r"the frames before are 40x56: resize it, or call flush"):
        session.push(clip[6][:, ::2])
    results += session.extend(clip[6:]) + session.close()
    for t, result in enumerate(results):
        check(nano, clip, result, t, neighbour_references(t, 8))


def test_after_the_end(nano: Nano, frames: Frames) -> None:
    session = session_of(nano)
    number = session.add(TEXTS[0])
    session.push(frames(1)[0])
    assert len(session.close()) == 1
    assert session.close() == []
    for call, words in (
        (lambda: session.push(frames(1)[0]), "take a frame"),
        (lambda: session.add("late"), "add an instruction"),
        (lambda: session.drop(number), "drop an instruction"),
        (session.flush, "flush"),
    ):
        with pytest.raises(ValueError, match=f"cannot {words}: the session is closed"):
            call()


def test_wrong_ids_and_options(nano: Nano) -> None:
    with session_of(nano) as session:
        with pytest.raises(ValueError, match="no instruction has the id 3: there are none"):
            session.drop(3)
        with pytest.raises(ValueError, match="instruction of task 'rvos' is empty"):
            session.add("  ")
        with pytest.raises(ValueError, match="shorten"):
            session.add("red " * 600)
        assert session.instructions == {} and session.add("red") == 0
    assert session.closed
    for options, message in (
        ({"chunk": 0}, "chunk must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"threshold": 2.0}, r"threshold 2\.0 is outside 0\.\.1"),
        ({"task": Task.VQA}, "'vqa' has no mask"),
        ({"delay": -1}, "delay must not be negative"),
    ):
        with pytest.raises(ValueError, match=message):
            StreamOptions(**options)


def limit(model: InstructSeg, monkeypatch: pytest.MonkeyPatch, rows: int) -> list[int]:
    """Lets the language model run out of memory with more rows; lists the sizes it was asked."""
    asked: list[int] = []
    real = model.reason

    def reason(embeds: torch.Tensor, *more: torch.Tensor) -> object:
        asked.append(len(embeds))
        if len(embeds) > rows:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has ...")
        return real(embeds, *more)

    monkeypatch.setattr(model, "reason", reason)
    return asked


def test_less_memory_means_smaller_batches(
    nano: Nano, frames: Frames, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = list(VideoPredictor(*nano).predict(frames(6), TEXTS, soft=True, chunk=1))
    with monkeypatch.context() as patch:
        asked = limit(nano[0], patch, 1)
        found = list(VideoPredictor(*nano).predict(frames(6), TEXTS, soft=True, chunk=1))
    assert asked == [3] + [1] * 18
    assert "no memory for 3 instructions at once: continuing with 1" in caplog.text
    for before, after in zip(expected, found, strict=True):
        for one, other in zip(after.predictions, before.predictions, strict=True):
            same(one, other)


def test_no_memory_for_one(nano: Nano, frames: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = frames(8)
    session = session_of(nano)
    session.add(TEXTS[0])
    results = session.extend(clip[:6])
    with monkeypatch.context() as patch:
        limit(nano[0], patch, 0)
        with pytest.raises(torch.cuda.OutOfMemoryError) as caught:
            session.push(clip[6])
    assert "out of memory on one of the instructions (2.50 GiB more requested" in str(caught.value)
    assert "bfloat16" in str(caught.value)
    results += session.push(clip[7]) + session.close()  # the frame is tried again, nothing is lost
    assert [result.index for result in results] == list(range(8))
    for t, result in enumerate(results):
        check(nano, clip, result, t, neighbour_references(t, 8))


def test_other_errors_are_not_taken_for_memory(
    nano: Nano, frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(nano[0], "reason", broken)
    with pytest.raises(RuntimeError, match=r"^shape mismatch$"):
        list(VideoPredictor(*nano).predict(frames(2), TEXTS))


def test_a_camera_that_drops(nano: Nano, frames: Frames) -> None:
    def camera() -> object:
        yield from frames(6)
        raise OSError("the camera is gone")

    indices = []
    with pytest.raises(OSError, match="the camera is gone"):
        for result in VideoPredictor(*nano).predict(camera(), TEXTS[0]):
            indices.append(result.index)
    assert indices == list(range(6))


def test_lengths_can_be_padded(nano: Nano, frames: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, session = frames(6), session_of(nano)
    session.length_multiple = 32
    for text in TEXTS:
        session.add(text)
    lengths, real = [], nano[0].reason
    monkeypatch.setattr(
        nano[0],
        "reason",
        lambda embeds, roles, *more: lengths.append(roles.shape[1]) or real(embeds, roles, *more),
    )
    results = session.extend(clip) + session.close()
    monkeypatch.undo()
    assert all(length % 32 == 0 for length in lengths)
    for t, result in enumerate(results):
        check(nano, clip, result, t, neighbour_references(t, 6))


@pytest.mark.slow
def test_a_compiled_model(frames: Frames) -> None:
    clip, fresh = frames(8), make_model()
    plain = list(VideoPredictor(*make_model()).predict(clip, TEXTS, soft=True, chunk=1))
    predictor = VideoPredictor(*fresh)
    predictor.compile()
    compiled = list(predictor.predict(clip, TEXTS, soft=True, chunk=1))
    for before, after in zip(plain, compiled, strict=True):
        for found, expected in zip(after.predictions, before.predictions, strict=True):
            same(found, expected)
    with torch._dynamo.config.patch(error_on_recompile=True):  # shapes are static from here on
        assert len(list(predictor.predict(clip, ["big blue circle", *TEXTS[1:]], chunk=1))) == 8
