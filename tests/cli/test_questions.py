"""Questions and requests side by side on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from instructseg.cli import app
from instructseg.inference import ImagePredictor
from instructseg.masks import load_index_png, rle_to_mask
from instructseg.processing import InstructSegProcessor
from tests.cli.conftest import SIZE

pytestmark = pytest.mark.usefixtures("workspace")
QUESTION, REQUEST, OTHER = "how many circles are there?", "the red circle", "the blue square"


def run(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


@pytest.fixture
def replies(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked in words; random weights would reply with noise."""
    asked: list[str] = []
    monkeypatch.setattr(ImagePredictor, "answer", lambda _, image, text: asked.append(text) or "two")
    return asked


def test_a_question_is_answered_in_words(replies: list[str]) -> None:
    result = run("image", "photo.png", QUESTION)
    assert result.stdout.splitlines() == [QUESTION, "  two"] and replies == [QUESTION]
    assert not Path("out").exists()
    assert json.loads(run("image", "photo.png", QUESTION, "--json").stdout)["prompts"] == [
        {"prompt": QUESTION, "answer": "two"}
    ]


def test_answers_alone_are_written_where_a_format_holds_them(replies: list[str]) -> None:
    expected = [{"index": 0, "predictions": [{"answer": "two"}]}]
    assert "wrote out/photo.json" in run("image", "photo.png", QUESTION, "-f", "rle,overlay").stdout
    run("image", "photo.png", QUESTION, "-o", "answer.json")
    assert sorted(path.name for path in Path("out").glob("[!.]*")) == ["photo.json"]
    for file in ("out/photo.json", "answer.json"):
        assert json.loads(Path(file).read_text())["frames"] == expected
    run("image", "frames", QUESTION, "-f", "rle", "-o", "many")
    asked = len(replies)
    again = run("image", "frames", QUESTION, "-f", "rle", "-o", "many")
    assert f"{asked - 2} of {asked - 2} are done already" in again.stderr and len(replies) == asked
    run("batch", "frames", QUESTION, "-f", "rle,coco", "-o", "batch")
    assert sorted(path.name for path in Path("batch").glob("[!.]*")) == sorted(
        path.name for path in Path("many").glob("[!.]*")
    )


def test_an_image_of_a_table_may_have_questions_alone(replies: list[str]) -> None:
    Path("prompts.csv").write_text(f"image,prompt\nphoto.png,{QUESTION}\nframes/0.png,{REQUEST}\n")
    told = run("image", "--prompts", "prompts.csv", "-f", "rle,masks,coco").stdout
    files = [line.removeprefix("wrote ") for line in told.splitlines() if line.startswith("wrote ")]
    assert files and all(Path(file).exists() for file in files)
    assert "2 of 2 are done already" in run("image", "--prompts", "prompts.csv", "-f", "rle,masks,coco").stderr
    assert len(replies) == 1


def test_questions_and_requests_in_one_command(replies: list[str]) -> None:
    result = run("image", "photo.png", REQUEST, QUESTION, OTHER, "-f", "rle,masks,palette,overlay")
    assert replies == [QUESTION]
    alone = run("image", "photo.png", REQUEST, OTHER, "-f", "rle,palette,overlay", "-o", "alone")
    rows = json.loads(Path("out/photo.json").read_text())
    (frame,), (expected,) = (
        json.loads(Path(f"{folder}/photo.json").read_text())["frames"] for folder in ("out", "alone")
    )
    assert rows["instructions"] == [REQUEST, QUESTION, OTHER]
    assert frame["predictions"][1] == {"answer": "two"}
    assert [frame["predictions"][0], frame["predictions"][2]] == expected["predictions"]
    assert sorted(path.name for path in Path("out/photo_masks").iterdir()) == [
        "1-the-red-circle.png", "3-the-blue-square.png",
    ]  # fmt: skip
    ids, plain = load_index_png("out/photo_palette.png"), load_index_png("alone/photo_palette.png")
    np.testing.assert_array_equal(ids, np.array([0, 1, 3])[plain])  # the place among the prompts
    for place, name in ((0, "1-the-red-circle"), (2, "3-the-blue-square")):
        mask = rle_to_mask(frame["predictions"][place]["rle"], SIZE)
        np.testing.assert_array_equal(load_index_png(f"out/photo_masks/{name}.png") == 255, mask)
    told = result.stdout.splitlines()
    assert told[1:3] == [QUESTION, "  two"] and told[0].startswith(REQUEST) and told[3].startswith(OTHER)
    assert alone.exit_code == 0


def test_a_task_is_obeyed(replies: list[str]) -> None:
    for task in ("res", "reason_seg"):
        assert "score" in run("image", "photo.png", QUESTION, "--task", task, "--overwrite").stdout
    assert not replies
    run("image", "photo.png", REQUEST, "--task", "vqa")
    assert replies == [REQUEST]


def test_weights_that_write_no_words_say_what_to_do(
    replies: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = InstructSegProcessor.from_pretrained.__func__  # type: ignore[attr-defined]

    def without(cls: type, *given: object) -> InstructSegProcessor:
        processor = real(cls, *given)
        object.__setattr__(processor.config, "text_tasks", ())
        return processor

    monkeypatch.setattr(InstructSegProcessor, "from_pretrained", classmethod(without))
    told = run("image", "photo.png", REQUEST, QUESTION, code=2).stderr
    assert QUESTION in told and "--task reason_seg" in told
    assert not replies and not Path("out").exists()
    run("image", "photo.png", QUESTION, "--task", "reason_seg")


def test_a_video_is_not_asked_for_words() -> None:
    told = run("video", "clip.mp4", REQUEST, QUESTION, code=2).stderr
    assert "instructseg image" in told and "--task reason_vos" in told and not Path("out").exists()
    assert "score" in run("video", "clip.mp4", QUESTION, "--task", "reason_vos", "-f", "rle").stdout


def test_what_is_not_found_is_said_everywhere() -> None:
    for command, file in (("image", "photo.png"), ("video", "clip.mp4")):
        told = run(
            command, file, REQUEST, "--threshold", "1", "-f", "rle,masks", "-o", command, "--json"
        ).stdout
        (row,) = json.loads(told)["prompts"]
        assert row["found"] is False and row["area"] == 0
        record = json.loads(next(Path(command).glob("*.json")).read_text())
        assert not any(one["found"] for frame in record["frames"] for one in frame["predictions"])
        text = run(command, file, REQUEST, "--threshold", "1", "-f", "rle", "-o", f"{command}2").stdout
        assert f"{REQUEST}: nothing found" in text
        told = run(
            command, file, REQUEST, "--threshold", "0", "-f", "rle", "-o", f"{command}3", "--json"
        ).stdout
        assert json.loads(told)["prompts"][0]["found"] is True
