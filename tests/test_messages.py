"""Every message of ``docs/troubleshooting.md`` is said, by a newcomer's mistake or in a test that is named."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from instructseg import DEMO_IMAGE, DEMO_VIDEO, DRAWN_IMAGE
from instructseg.cli import app
from tests.pages import ROOT

TABLES = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8").split("## Slow")[0]
TRUCK = ["image", "photo.jpg", "the truck"]
MISTAKES: dict[str, list[str]] = {
    "Missing argument PROMPT": ["image", "photo.jpg"],
    "prompts of one word: put a sentence in quotes": ["image", "photo.jpg", "the", "truck"],
    "no such image": ["image", "phto.jpg", "the truck"],
    "matches": ["image", "photos/*.png", "the truck"],
    "is no image, or of an unknown format": ["image", "noise.jpg", "the truck"],
    "is damaged": ["image", "half.jpg", "the truck"],
    "is a video: use": ["image", "clip.mp4", "the dog"],
    "exists, made with": ["image", "photo.jpg", "the road", "--output", "made"],
    "no recorded run wrote it": [*TRUCK, "--output", "mine", "--overwrite"],
    "cannot be downloaded": ["image", "http://127.0.0.1:9/photo.jpg", "the truck"],
    "gives no frame": ["video", "0", "--prompt", "the person"],
    "nothing found": ["image", "photo.jpg", "the elephant", "--output", "none"],
    "a preview: it knows about 140 kinds of everyday objects": [*TRUCK, "--output", "preview"],
    "made for drawn shapes": ["ask", "drawing.png", "what shape is red?", "--model", "nano"],
    "the bundled model does not know these words": ["image", "photo.jpg", "the penguin", "--output", "words"],
    "asks for words, which these weights have not learned to write": ["image", "photo.jpg", "what is this?"],
    "have not learned to answer in words": ["ask", "photo.jpg", "what is this?"],
    "the mask comes without text": [*TRUCK, "--explain", "--output", "explained"],
    "have not learned to write text": [*TRUCK, "--task", "vqa", "--output", "written"],
    "no hub repository of that name was reached": [*TRUCK, "--model", "someone/nothing"],
    "is no name of a hub repository": [*TRUCK, "--model", "min"],
    "of memory are not enough": [*TRUCK, "--max-memory", "10MB"],
    "did you mean cuda?": [*TRUCK, "--device", "gpu"],
    "unknown format": [*TRUCK, "--format", "coc"],
    "needs an extra package": ["batch", "photo.jpg", "the truck", "--ray", "local", "--output", "many"],
    "the page needs an extra package": ["app"],
    "no configuration file": ["train", "nano-tun"],
    "unknown key; the closest is": ["train", "nano-tune", "train.max_step=3"],
    "is missing: give the folder of the data set": ["train", "nano-tune"],
    "is no part of the package: in a clone": ["train", str(ROOT / "configs" / "nano.yaml")],
    "already holds a run": ["train", "nano-tune", "output_dir=mine"],
}
"""The command by message; files as of :func:`folder`."""
NOTES = {
    "nothing found",
    "a preview: it knows about 140 kinds of everyday objects",
    "made for drawn shapes",
    "the bundled model does not know these words",
    "the mask comes without text",
}
"""Those of commands that succeed."""
TESTED = {
    "out of memory": "tests/test_pretrained.py",
    "no model: loading": "tests/serve/test_desk.py",
    "the server is busy": "tests/serve/test_worker.py",
}
"""What takes more than a command: the test that expects it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A newcomer's folder: a photograph, a video, a drawing, broken files, and results of before."""
    made = tmp_path_factory.mktemp("newcomer")
    for source, name in ((DEMO_IMAGE, "photo.jpg"), (DEMO_VIDEO, "clip.mp4"), (DRAWN_IMAGE, "drawing.png")):
        shutil.copyfile(source, made / name)
    (made / "half.jpg").write_bytes(DEMO_IMAGE.read_bytes()[:2000])
    (made / "noise.jpg").write_bytes(bytes(range(256)))
    (made / "mine").mkdir()
    (made / "mine" / "photo_overlay.png").write_text("a file of the user's own")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        done = CliRunner().invoke(app, [*TRUCK, "--output", "made"])
    assert done.exit_code == 0, done.output
    return made


def test_every_message_has_its_mistake_or_its_test() -> None:
    listed = re.findall(r"^\| `([^`]+)` \|", TABLES, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == {*MISTAKES, *TESTED}


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake_is_answered_by_the_message(
    message: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for package in ("gradio", "ray"):
        monkeypatch.setitem(sys.modules, package, None)
    done = CliRunner().invoke(app, MISTAKES[message])
    assert message in re.sub(r"\s+", " ", done.output), done.output
    assert done.exit_code == (0 if message in NOTES else 2), done.output


@pytest.mark.parametrize("message", TESTED)
def test_other_messages_are_tested(message: str) -> None:
    assert message in (ROOT / TESTED[message]).read_text(encoding="utf-8")
