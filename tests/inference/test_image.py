"""Image prediction against the plain forward on the processor's batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from instructseg.inference import ImagePredictor
from instructseg.inference.instructions import Instruction
from instructseg.inference.postprocess import postprocess
from instructseg.model import InstructSeg
from instructseg.prediction import Prediction
from instructseg.processing import InstructSegProcessor
from instructseg.structures import Sample, Task
from tests.inference.conftest import make_model

TEXTS = ["the red circle", "big blue square", "moving left"]
Nano = tuple[InstructSeg, InstructSegProcessor]
Frames = Callable[[int], list[np.ndarray]]


def same(found: Prediction, expected: Prediction) -> None:
    assert found.score == pytest.approx(expected.score, abs=1e-4)
    assert found.presence == pytest.approx(expected.presence, abs=1e-4)
    assert found.probability is not None and expected.probability is not None
    np.testing.assert_allclose(found.probability, expected.probability, atol=1e-4)


@torch.no_grad()
def plain(nano: Nano, frame: np.ndarray, texts: list[str], task: Task = Task.RES) -> list[Prediction]:
    model, processor = nano
    inputs = processor([Sample(frame, text, task) for text in texts])
    return postprocess(model(inputs), inputs, soft=True)


@pytest.mark.parametrize("task", [Task.RES, Task.REASON_SEG, Task.RVOS])
@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_equals_the_plain_forward(nano: Nano, frames: Frames, task: Task, batch_size: int) -> None:
    (frame,) = frames(1)
    found = ImagePredictor(*nano).predict(frame, TEXTS, task, soft=True, batch_size=batch_size)
    assert [one.instruction for one in found] == TEXTS
    expected = plain(nano, frame, TEXTS, task)
    for one, other in zip(found, expected, strict=True):
        same(one, other)
    assert expected[0].score != expected[1].score  # the instruction matters


def test_the_image_is_encoded_once(nano: Nano, frames: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = nano[0].encode_frame
    monkeypatch.setattr(nano[0], "encode_frame", lambda *a, **k: calls.append(1) or real(*a, **k))
    predictor = ImagePredictor(*nano)
    image = predictor.encode(frames(1)[0])
    before = len(calls)
    predictor.predict(image, TEXTS, batch_size=1)
    predictor.predict(image, TEXTS[:1], Task.REASON_SEG, explain=True)
    for text in TEXTS:
        predictor.answer(image, text)
    assert (before, len(calls)) == (2, 2)


def test_later_changes_of_the_array_have_no_effect(nano: Nano, frames: Frames) -> None:
    image, predictor = frames(1)[0].copy(), ImagePredictor(*nano)
    encoded = predictor.encode(image)
    before = predictor.answer(encoded, TEXTS[0])
    image[:] = 0
    assert predictor.answer(encoded, TEXTS[0]) == before and np.array_equal(encoded.frame, frames(1)[0])


def test_a_reply_is_that_of_the_plain_model(nano: Nano, frames: Frames) -> None:
    model, processor = nano
    predictor = ImagePredictor(model, processor)
    (ids,) = model.answer(processor([Sample(frames(1)[0], TEXTS[0], Task.VQA)]), 8, (processor.seg_token_id,))
    assert predictor.answer(frames(1)[0], TEXTS[0], 8) == processor.decode(ids)


def test_a_task_by_its_name(nano: Nano, frames: Frames) -> None:
    predictor, (frame,) = ImagePredictor(*nano), frames(1)
    kinds = ("reason_seg", Task.REASON_SEG)
    (one,), (other,) = (predictor.predict(frame, TEXTS[0], task, soft=True) for task in kinds)
    same(one, other)
    with pytest.raises(ValueError, match="unknown task 'reasonseg': use res, reason_seg, rvos"):
        predictor.predict(frame, TEXTS[0], "reasonseg")


def test_lengths_of_a_compiled_model_come_in_steps(
    nano: Nano, frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, (frame,) = ImagePredictor(*nano), frames(1)
    plain_ones = predictor.predict(frame, TEXTS, soft=True)
    predictor.length_multiple = 32
    lengths, real = [], nano[0].reason
    monkeypatch.setattr(
        nano[0],
        "reason",
        lambda embeds, roles, *more: lengths.append(roles.shape[1]) or real(embeds, roles, *more),
    )
    predictor.predict(frame, TEXTS)
    assert lengths and all(length % 32 == 0 for length in lengths)
    for one, other in zip(predictor.predict(frame, TEXTS, soft=True), plain_ones, strict=True):
        same(one, other)


def test_files_pil_and_arrays_are_the_same(nano: Nano, frames: Frames, tmp_path: Path) -> None:
    (frame,) = frames(1)
    Image.fromarray(frame).save(tmp_path / "a.png")
    predictor = ImagePredictor(*nano)
    images = (frame, Image.fromarray(frame), tmp_path / "a.png", str(tmp_path / "a.png"))
    (first, *others) = [predictor.predict(image, "the red circle", soft=True)[0] for image in images]
    assert first.mask.shape == frame.shape[:2]
    for other in others:
        np.testing.assert_array_equal(first.mask, other.mask)


@pytest.mark.parametrize("size", [(1, 1), (50, 1), (1, 70)])
def test_a_line_of_pixels_has_a_mask(nano: Nano, size: tuple[int, int]) -> None:
    (found,) = ImagePredictor(*nano).predict(np.full((*size, 3), 99, np.uint8), "the red circle")
    assert found.mask.shape == size


@pytest.mark.parametrize("overrides", [{"use_ovp": False}, {"vmtf_mode": "off"}])
def test_models_without_a_part(frames: Frames, overrides: dict[str, object]) -> None:
    parts = make_model(**overrides)
    (frame,) = frames(1)
    same(ImagePredictor(*parts).predict(frame, TEXTS[0], soft=True)[0], plain(parts, frame, TEXTS[:1])[0])


def test_an_explanation_stands_before_the_mask(
    nano: Nano, frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = nano
    told: list[tuple[int, ...]] = []
    real = model.answer

    def answer(inputs: object, limit: int, stop: tuple[int, ...], tokens: torch.Tensor) -> list[list[int]]:
        told.append(stop)
        assert len(real(inputs, 3, stop, tokens)) == 2  # the real one runs on these inputs
        return [processor.tokenizer.encode(text) for text in ("the red circle", "")]

    monkeypatch.setattr(model, "answer", answer)
    predictor, (frame,) = ImagePredictor(model, processor), frames(1)
    found = predictor.predict(frame, TEXTS[:2], Task.REASON_SEG, explain=True)
    assert [one.text for one in found] == ["the red circle", ""]
    assert told == [(processor.seg_token_id,)]
    row = Instruction(0, TEXTS[0], Task.REASON_SEG, processor, 0, "the red circle")
    words = processor.tokenizer.encode("the red circle")
    assert bytes_of([*words, processor.seg_token_id]) in bytes_of(row.layout(0)[0])
    with pytest.raises(ValueError, match="'res' has no explanation"):
        predictor.predict(frame, TEXTS[:1], Task.RES, explain=True)


def bytes_of(ids: list[int]) -> bytes:
    return np.array(ids, np.int32).tobytes()


def test_a_question_is_answered_with_text(nano: Nano, frames: Frames) -> None:
    reply = ImagePredictor(*nano).answer(frames(1)[0], "what is it?", max_new_tokens=5)
    model, processor = nano
    expected = model.answer(
        processor([Sample(frames(1)[0], "what is it?", Task.VQA)]), 5, (processor.seg_token_id,)
    )
    assert reply == processor.decode(expected[0])


@pytest.mark.parametrize("part", ["vision", "backbone"])
def test_no_memory_for_an_image(nano: Nano, frames: Frames, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes.")

    predictor = ImagePredictor(*nano)
    first = predictor.encode(frames(1)[0])
    with monkeypatch.context() as patch:
        patch.setattr(getattr(nano[0], part), "forward", full)
        with pytest.raises(
            torch.cuda.OutOfMemoryError, match=r"on an image of 40x56 \(4\.0 KiB more requested"
        ):
            predictor.encode(frames(2)[1])
    assert predictor.predict(first, "red")


def test_no_memory_for_a_reply(nano: Nano, frames: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(nano[0], "answer", full)
    with pytest.raises(torch.cuda.OutOfMemoryError, match="writing 1 texts"):
        ImagePredictor(*nano).answer(frames(1)[0], "what colour?")


def test_errors(nano: Nano, frames: Frames, tmp_path: Path) -> None:
    predictor, (frame,) = ImagePredictor(*nano), frames(1)
    with pytest.raises(ValueError, match=r"an image array of 0x5 pixels"):
        predictor.encode(np.zeros((0, 5, 3), np.uint8))
    with pytest.raises(ValueError, match=r"an image array is uint8\[H, W, 3\] RGB, got int64\[5, 5, 3\]"):
        predictor.encode(np.zeros((5, 5, 3), np.int64))
    with pytest.raises(FileNotFoundError, match=r"none\.jpg"):
        predictor.encode(tmp_path / "none.jpg")
    with pytest.raises(ValueError, match="no instruction"):
        predictor.predict(frame, [])
    with pytest.raises(ValueError, match="instruction of task 'res' is empty"):
        predictor.predict(frame, "  ")
    with pytest.raises(ValueError, match="shorten them"):
        predictor.predict(frame, "red " * 600)
    with pytest.raises(ValueError, match="'vqa' has no mask"):
        predictor.predict(frame, "what?", Task.VQA)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        predictor.predict(frame, "the red circle", batch_size=0)
    with pytest.raises(TypeError, match="unexpected keyword argument 'sofd'"):
        predictor.predict(frame, "the red circle", sofd=True)  # type: ignore[call-arg]


def test_a_list_of_images_gives_the_predictions_on_each(nano: Nano, frames: Frames) -> None:
    predictor, given = ImagePredictor(*nano), frames(3)
    expected = [predictor.predict(frame, ["the red circle", "the star"]) for frame in given]
    lazily = predictor.predict_many((frame for frame in given), ["the red circle", "the star"])
    found = [next(lazily), *lazily]
    assert [[one.score for one in some] for some in found] == [[one.score for one in some] for some in expected]
    with pytest.raises(TypeError, match="use predict"):
        predictor.predict_many("photo.jpg", "the star")
    with pytest.raises(ValueError, match="consensus"):  # before the first image is read
        predictor.predict_many(given, "the star", consensus=99)
