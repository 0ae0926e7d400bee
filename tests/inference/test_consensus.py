"""Agreement over paraphrases, on drawn masks and with the random model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from instructseg.inference import ImagePredictor
from instructseg.inference.consensus import MOST_PARAPHRASES, agree, paraphrases
from instructseg.inference.selection import AnswerRule, join
from instructseg.model import InstructSeg
from instructseg.plurals import means_several
from instructseg.prediction import Prediction
from instructseg.processing import InstructSegProcessor
from instructseg.questions import wants_words

Nano = tuple[InstructSeg, InstructSegProcessor]


@pytest.mark.parametrize(
    "text",
    [
        "the red circle",
        "Segment all the dogs",
        "What would roll away?",
        "where is the cup?",
        "a dog",
        "where can I find the cup?",
    ],
)
def test_paraphrases_mean_the_same(text: str) -> None:
    said = paraphrases(text, MOST_PARAPHRASES)
    assert said[0] == text and len(set(said)) == len(said) >= 5
    assert {means_several(one) for one in said} == {means_several(text)}
    assert not any(wants_words(one) for one in said)
    assert paraphrases(text, 3) == said[:3]


def found(columns: slice, score: float = 0.8, chance: float = 0.9, presence: float = 0.9) -> Prediction:
    soft = np.full((4, 12), 0.1, np.float32)
    soft[:, columns] = chance
    return Prediction(soft > 0.5, score, presence, "the dog", soft)


LEFT, ALMOST_LEFT, RIGHT = slice(0, 4), slice(0, 5), slice(8, 12)
NOTHING = found(slice(0), 0.1, presence=0.2)


def test_most_decide_where_one_finds_another() -> None:
    (one,) = agree([[found(RIGHT, 0.9)], [found(LEFT)], [found(ALMOST_LEFT)]])
    assert one.box == (0, 0, 4, 4) or one.box == (0, 0, 5, 4)
    assert one.agreement == pytest.approx(2 / 3) and one.score == pytest.approx(1.6 / 3)
    expected = (found(LEFT).probability + found(ALMOST_LEFT).probability) / 2
    np.testing.assert_allclose(one.probability, expected)
    assert np.array_equal(one.mask, expected > 0.5)


def test_without_a_majority_nothing_is_found() -> None:
    (one,) = agree([[found(LEFT)], [found(RIGHT)], [NOTHING]])
    assert not one.found and one.agreement == pytest.approx(1 / 3) and one.presence == pytest.approx(2 / 3)
    (one,) = agree([[NOTHING], [NOTHING], [found(RIGHT)]])
    assert not one.found and one.agreement == pytest.approx(2 / 3)


def test_of_several_objects_each_has_its_votes() -> None:
    some = agree(
        [[found(LEFT, 0.9), found(RIGHT, 0.6)], [found(RIGHT, 0.8)], [found(RIGHT, 0.7), found(LEFT, 0.6)]]
    )
    assert [(one.box or ())[0] for one in some] == [8, 0]
    assert [one.agreement for one in some] == [1, pytest.approx(2 / 3)]
    assert [one.score for one in some] == pytest.approx([0.7, 0.5])


def test_a_union_leaves_out_the_object_of_a_minority(
    nano: Nano, frames: Callable[[int], list[np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two wordings share one object; another object of one of them alone must not slip into the union."""
    wrong = found(RIGHT, 0.7, chance=0.99)
    answers = [[found(LEFT), wrong], [found(LEFT, chance=0.95)], [NOTHING]]
    rules = list[AnswerRule]()

    def segment(*given: object) -> list[list[Prediction]]:
        rules.append(next(one for one in given if isinstance(one, AnswerRule)))
        return [[join(some)] for some in answers] if rules[-1].union else answers

    monkeypatch.setattr(ImagePredictor, "_segment", lambda self, *given: segment(*given))
    (one,) = ImagePredictor(*nano).predict(frames(1)[0], "the dog", consensus=3, union=True, soft=True)
    assert rules[0].all_instances and one.box == (0, 0, 4, 4)
    assert one.agreement == pytest.approx(2 / 3)


def test_a_union_of_a_consensus_is_that_of_its_objects(
    nano: Nano, frames: Callable[[int], list[np.ndarray]]
) -> None:
    predictor, (frame,) = ImagePredictor(*nano), frames(1)
    some = predictor.predict(frame, "the circle", consensus=3, all_instances=True, threshold=0)
    (one,) = predictor.predict(frame, "the circle", consensus=3, union=True, threshold=0)
    assert np.array_equal(one.mask, np.any([other.mask for other in some], axis=0))
    assert one.agreement == min(other.agreement or 0 for other in some)


def test_one_answer_agrees_with_itself() -> None:
    (one,) = agree([[found(LEFT)]])
    assert one.agreement == 1 and one.score == 0.8 and np.array_equal(one.mask, found(LEFT).mask)


def test_a_consensus_is_that_of_its_paraphrases(nano: Nano, frames: Callable[[int], list[np.ndarray]]) -> None:
    predictor, (frame,) = ImagePredictor(*nano), frames(1)
    texts = ["the red circle", "big blue square"]
    some = predictor.predict(frame, texts, consensus=3, soft=True)
    assert [one.id for one in some] == list(range(1, len(some) + 1))
    for number, text in enumerate(texts):
        alone = [predictor.predict(frame, one, soft=True) for one in paraphrases(text, 3)]
        expected = agree(alone)
        got = [one for one in some if one.instruction_id == number]
        assert [one.instruction for one in got] == [text] * len(expected)
        for one, other in zip(got, expected, strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-4) and one.agreement == other.agreement
            np.testing.assert_allclose(one.probability, other.probability, atol=1e-4)
    (plain,) = predictor.predict(frame, texts[0], consensus=2)
    assert plain.probability is None and plain.agreement is not None
    for count in (0, MOST_PARAPHRASES + 1):
        with pytest.raises(ValueError, match="consensus must be from 1 to 8"):
            predictor.predict(frame, texts, consensus=count)
    with pytest.raises(ValueError, match="an explanation belongs to one wording"):
        predictor.predict(frame, texts, "reason_seg", consensus=2, explain=True)
