"""Words that weights do not know, in every language: told once, and without effect alone."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from instructseg import ImagePredictor, load_video
from instructseg.processing import InstructSegProcessor
from instructseg.processing.known_words import KnownWords, UnknownWordsWarning

FOREIGN = ("红色的圆", "найди круг", "赤い丸を見つけて", "كلب", "🔴")


@pytest.fixture(params=["mini", "nano"])
def known(request: pytest.FixtureRequest) -> KnownWords:
    return InstructSegProcessor.from_pretrained(request.param).known_words


def test_symbols_are_strange_words_and_marks_are_none(known: KnownWords) -> None:
    assert known.strange(["\U0001f534, the red one!", "(\u2605)"]) == ["\U0001f534", "\u2605"]


@pytest.mark.parametrize("text", [*FOREIGN, "???", "find 红色的圆", "the", "show me the 圆"])
def test_a_text_without_a_known_word_is_told_from_others(known: KnownWords, text: str) -> None:
    assert not known.any_in(text)
    assert known.any_in(f"{text} red") and known.any_in("find the blue one")


def test_weights_that_do_not_name_their_words_are_trusted(known: KnownWords) -> None:
    other = KnownWords(known._tokenizer, ())
    assert other.any_in("红色的圆")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other.warn("红色的圆")


def test_each_text_is_told_once(known: KnownWords) -> None:
    said = "the bundled model does not know these words: zeppelin"
    with pytest.warns(UnknownWordsWarning, match=f"{said}$") as told:
        known.warn("the red zeppelin")
        known.warn("find the red zeppelin")
    assert len(told) == 1
    assert known.note(["круг"]) == f"{said[:-8]}круг; without a known word, an instruction finds nothing"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        known.warn("круг")
        known.warn("the red one")


def test_wholly_foreign_text_finds_nothing_and_warns() -> None:
    frame = np.full((96, 128, 3), 255, np.uint8)
    frame[20:70, 30:80] = (220, 20, 30)
    for name in ("nano", "mini"):
        predictor = ImagePredictor.from_pretrained(name, "cpu")
        for text in FOREIGN:
            with pytest.warns(UnknownWordsWarning, match="an instruction finds nothing") as told:
                some = predictor.predict(frame, [text, "the red one"])
            assert not some[0].found and some[0].presence < 1e-6, text
            assert told[0].filename == __file__
            (wide,) = predictor.predict(frame, text, consensus=3)
            assert not wide.found
    (forced,) = predictor.predict(frame, "红色的圆", threshold=0)
    assert forced.found and forced.presence < 1e-6  # a mask in any case


def test_a_video_is_read_in_the_same_way() -> None:
    frames = [np.full((64, 64, 3), 200, np.uint8)] * 2
    for frame in frames:
        frame[10:40, 10:40] = (30, 60, 220)
    with pytest.warns(UnknownWordsWarning) as told:
        results = list(load_video("nano", device="cpu").predict(frames, "синий квадрат"))
    assert told[0].filename == __file__
    assert [one.found for result in results for one in result.predictions] == [False, False]
