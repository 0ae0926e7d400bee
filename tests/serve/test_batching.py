"""What is answered together equals what is answered alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from instructseg.inference import ImagePredictor
from instructseg.inference.encoder import Encoder
from instructseg.prediction import Prediction
from instructseg.serve.batching import ImageRequest, segment_together
from instructseg.structures import Task
from tests.serve.conftest import image


def request(seed: int, *words: str, task: Task | None = Task.RES, threshold: float = 0.0) -> ImageRequest:
    return ImageRequest(image(seed), str(seed), words, task, threshold)


def assert_same(found: Any, expected: list[Prediction]) -> None:
    assert [one.instruction for one in found] == [one.instruction for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert (one.mask != other.mask).mean() < 0.01 and one.score == pytest.approx(other.score, abs=1e-4)
        assert (one.id, one.instruction_id) == (other.id, other.instruction_id)


def test_a_batch_of_images_equals_one_after_another(predictors: Any) -> None:
    predictor: ImagePredictor = predictors[0]
    requests = [
        request(0, "the red circle", "big blue square"),
        request(1, "the red circle", task=Task.REASON_SEG),
        request(0, "moving left", threshold=1.0),
        request(0, "moving left"),
    ]
    answers = segment_together(predictor, requests)
    for one, found in zip(requests, answers, strict=True):
        task = one.task or Task.RES
        assert_same(found, predictor.predict(one.image, one.instructions, task, threshold=one.threshold))
    assert not answers[2][0].found and answers[3][0].found  # type: ignore[index]
    np.testing.assert_array_equal(answers[1][0].image, image(1))  # type: ignore[index]


def test_an_image_is_encoded_once(predictors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    own = Encoder.encode_tokens
    monkeypatch.setattr(
        Encoder,
        "encode_tokens",
        lambda self, frames: (seen.append(sum(f.tokens is None for f in frames)), own(self, frames)),
    )
    segment_together(predictors[0], [request(0, "a"), request(0, "b"), request(1, "c")])
    assert sum(seen) == 2


def test_a_mistake_is_that_of_its_request_alone(predictors: Any) -> None:
    answers = segment_together(predictors[0], [request(0, "red " * 3000), request(0, "the red circle")])
    assert isinstance(answers[0], ValueError) and "shorten" in str(answers[0])
    assert isinstance(answers[1], list) and len(answers[1]) == 1


def test_questions_are_answered_in_words(predictors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Encoder, "write_text", lambda self, frame, texts, task, most: [f"<{text}>" for text in texts]
    )
    asked = request(0, "how many circles are there?", "the red circle", "what colour is it?", task=None)
    answers = segment_together(predictors[0], [asked])[0]
    assert isinstance(answers, list)
    assert [one.text for one in answers] == ["<how many circles are there?>", None, "<what colour is it?>"]
    assert [one.found for one in answers] == [False, True, False]
    words = asked.in_words([Task.VQA])
    assert words == [True, False, True]
    with pytest.raises(ValueError, match="'how many circles are there\\?' asks for words"):
        asked.in_words([])


def test_another_system_is_asked_one_request_after_the_other() -> None:
    class Other:
        def predict(self, image: Any, instructions: Any, **options: Any) -> list[Prediction]:
            if "task" in options:
                raise ValueError("no tasks here")
            return [Prediction(np.ones((4, 4), bool), 1.0, 1.0, text) for text in instructions]

    answers = segment_together(Other(), [request(0, "a", "b", task=None), request(0, "a")])
    assert [one.instruction for one in answers[0]] == ["a", "b"]  # type: ignore[union-attr]
    assert isinstance(answers[1], ValueError)
