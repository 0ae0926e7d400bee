"""``instructseg ask``: several questions about one image, in turn."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from instructseg import DRAWN_IMAGE
from instructseg.cli import app
from instructseg.inference import ImagePredictor
from instructseg.jobs import ask

HOW_MANY, COLOUR, MASK = "how many circles are there?", "what colour is the star?", "the red circle"


def run(*words: str, code: int = 0, said: str = "") -> Result:
    result = CliRunner().invoke(app, ["ask", *words, "--model", "nano"], input=said)
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def test_questions_are_answered_in_turn_and_requests_by_their_score() -> None:
    lines = run(str(DRAWN_IMAGE), HOW_MANY, MASK, COLOUR).stdout.splitlines()
    predictor = ImagePredictor.from_pretrained("nano", "cpu")
    assert lines[:2] == [HOW_MANY, f"  {predictor.answer(DRAWN_IMAGE, HOW_MANY)}"]
    (found,) = predictor.predict(DRAWN_IMAGE, MASK)
    assert lines[2].startswith(f"{MASK}: score {found.score:.3f}")
    assert lines[3:] == [COLOUR, f"  {predictor.answer(DRAWN_IMAGE, COLOUR)}"]


def test_lines_of_standard_input_are_questions() -> None:
    result = run(str(DRAWN_IMAGE), "--json", said=f"{HOW_MANY}\n\n  {COLOUR}  \n")
    turns = [json.loads(line)["prompts"] for line in result.stdout.splitlines()]
    assert [turn[0]["prompt"] for turn in turns] == [HOW_MANY, COLOUR]
    assert all(turn[0]["answer"] for turn in turns)


def test_a_terminal_is_asked_until_an_empty_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(ask.sys, "stdin", Terminal("one\ntwo\n\nthree\n"))
    assert list(ask.typed()) == ["one", "two"]
    assert capsys.readouterr().err == "? " * 3


def test_text_is_streamed_as_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = ImagePredictor.from_pretrained("nano", "cpu")
    parts: list[str] = []
    tokens = predictor.processor.tokenizer("big red circles", add_special_tokens=False)["input_ids"]

    def words(embeds: object, most: int, stop: object, streamer: Any = None) -> Iterator[int]:
        import torch

        streamer.put(torch.zeros(1, 0, dtype=torch.long))  # what stands before the reply
        for number, token in enumerate(tokens, 1):
            streamer.put(torch.tensor([token]))
            assert number < 2 or parts  # the first word came before the last one
        streamer.end()
        return tokens

    monkeypatch.setattr(predictor.model.language, "continue_text", words)
    text = predictor.answer(DRAWN_IMAGE, HOW_MANY, stream=parts.append)
    assert "".join(parts).split() == text.split() == ["big", "red", "circles"] and len(parts) > 1


def test_weights_that_write_no_words_say_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImagePredictor, "text_tasks", ())
    told = run(str(DRAWN_IMAGE), HOW_MANY, code=2).stderr.splitlines()[-1]
    assert told.startswith("error: these weights have not learned to answer in words: add --model nano")


def test_what_is_refused() -> None:
    assert "no such image: none.png" in run("none.png", HOW_MANY, code=2).stderr
    assert "give the questions after it" in run("-", code=2).stderr


def test_questions_are_about_one_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "folder/b.png", "folder/c.png"):
        Path(name).parent.mkdir(exist_ok=True)
        shutil.copy(DRAWN_IMAGE, name)
    assert "folder holds 2 images: questions are about one" in run("folder", HOW_MANY, code=2).stderr
    assert "folder/b.png is another one" in run("a.png", "folder/b.png", HOW_MANY, code=2).stderr
    assert "put a sentence in quotes" in run("a.png", *HOW_MANY.split(), code=2).stderr
    assert run("a.png", "red", "circle", "--yes").stdout.count("score") == 2


def test_the_image_may_come_from_standard_input_or_the_web(monkeypatch: pytest.MonkeyPatch) -> None:
    content = Path(DRAWN_IMAGE).read_bytes()
    expected = run(str(DRAWN_IMAGE), HOW_MANY).stdout
    given = CliRunner().invoke(app, ["ask", "-", HOW_MANY, "--model", "nano"], input=content)
    assert given.exit_code == 0 and given.stdout == expected, given.output
    monkeypatch.setattr("instructseg.media.incoming._download", lambda _, path: path.write_bytes(content))
    assert run("https://x.org/shapes.png", HOW_MANY).stdout == expected
    monkeypatch.setattr("instructseg.media.incoming._download", lambda _, path: path.write_bytes(b"%PDF-1.4"))
    told = run("https://x.org/shapes.png", HOW_MANY, code=2).stderr
    assert "error: https://x.org/shapes.png is a PDF document" in told
