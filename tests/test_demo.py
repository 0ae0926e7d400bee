"""The demo scripts run as they are."""

from __future__ import annotations

import os
import sys
import time
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from instructseg import DEMO_IMAGE, DEMO_VIDEO, hub
from instructseg.inference import ImagePredictor
from instructseg.media import VideoWriter, open_video, save_image
from instructseg.model import InstructSeg
from instructseg.processing import InstructSegProcessor
from tests.inference.conftest import checkpoint, nano

__all__ = ["checkpoint", "nano"]
DEMO = Path(__file__).parents[1] / "demo"


@pytest.fixture(autouse=True)
def place(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights instead of the bundled ones, and an empty working directory."""
    monkeypatch.setattr(hub, "DEFAULT_MODEL", checkpoint)
    monkeypatch.chdir(tmp_path)


def script_module(script: str) -> ModuleType:
    spec = util.spec_from_file_location(f"demo_{script}", DEMO / f"{script}.py")
    assert spec is not None and spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(script: str, *words: str) -> None:
    module = script_module(script)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"{script}.py", *words])
        module.main()


def test_video(capsys: pytest.CaptureFixture[str]) -> None:
    run("video")
    assert len(open_video("out/demo_overlay.mp4")) == len(open_video(DEMO_VIDEO))
    assert "the red circle moving left: score" in capsys.readouterr().out
    assert len(list(Path("out/demo_masks").iterdir())) == 1


def test_image_with_prompts() -> None:
    run("image", "--prompt", "the green triangle", "--prompt", "the star", "--output", "there")
    names = sorted(str(path.relative_to("there")) for path in Path("there").rglob("*.png"))
    assert names == [
        "demo_masks/1-the-green-triangle.png",
        "demo_masks/2-the-star.png",
        "demo_overlay.png",
    ]
    run("image", "--input", str(DEMO_IMAGE), "--prompt", "the star", "--output", "again")
    assert Path("again/demo_overlay.png").is_file()
    with pytest.raises(SystemExit) as caught:
        run("image", "--output", "there")
    assert caught.value.code == 2


@pytest.mark.parametrize("script", ["image", "video"])
def test_an_input_needs_a_prompt(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(script, "--input", "x.png")
    assert caught.value.code == 2 and "--input needs a --prompt" in capsys.readouterr().err


@pytest.fixture
def app() -> ModuleType:
    return script_module("app")


@pytest.fixture
def page(app: ModuleType, nano: tuple[InstructSeg, InstructSegProcessor], tmp_path: Path) -> Any:
    """What the buttons of the web page do; the page itself needs gradio."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (3, 40, 56, 3), np.uint8)
    save_image("photo.png", frames[0])
    with VideoWriter("clip.mp4", 8, (40, 56)) as writer:
        for frame in frames:
            writer.write(frame)
    results = tmp_path / "results"
    results.mkdir()
    return app.Page(*nano, results, True)


def follow(items: Any, total: int | None) -> Any:
    return items


def test_the_page_segments_and_answers(page: Any, app: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImagePredictor, "answer", lambda _, image, text: "two")
    text = "the red circle\n\n how many circles are there? \n"
    shown, told = page.segment_image("photo.png", text, app.AUTO, 0.0)
    assert shown.shape[0] > 40 and shown.shape[1] == 56
    assert "the red circle – score" in told and "how many circles are there? **two**" in told
    assert "do not know these words" in told  # those that the tests' tokenizer never read
    _, told = page.segment_image("photo.png", text, "words", 0.0)
    assert told.count("**two**") == 2
    _, told = page.segment_image("photo.png", text, "masks of what is named", 1.0)
    assert told.count("nothing found") == 2 and "two" not in told
    path, told = page.segment_video("clip.mp4", "the red circle", 0.0, follow)
    assert len(open_video(path)) == 3 and "found in 3 of 3 frames" in told
    assert "nothing found" in page.segment_video("clip.mp4", "the red circle", 1.0, follow)[1]


def test_the_page_tells_mistakes_in_a_sentence(
    page: Any, app: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("bad.png").write_bytes(b"\x89PNG" + bytes(99))
    Path("bad.mp4").write_bytes(bytes(999))
    monkeypatch.setattr(app, "MOST_FRAMES", 2)

    def image(path: str | None, text: str = "red") -> object:
        return page.segment_image(path, text, app.AUTO, None)

    def video(path: str | None, text: str = "red") -> object:
        return page.segment_video(path, text, None, follow)

    for act, said in (
        (lambda: image(None), "no image yet"),
        (lambda: image("bad.png"), "bad.png"),
        (lambda: image("photo.png", " \n"), "no instruction"),
        (lambda: image("photo.png", "a\n" * 300), "300 instructions are too many"),
        (lambda: video(None), "no video yet"),
        (lambda: video("bad.mp4"), "bad.mp4"),
        (lambda: video("clip.mp4"), "3 frames: cut it to at most 2"),
        (lambda: video("clip.mp4", "how many?"), "asks for words"),
    ):
        with pytest.raises(app.MISTAKES, match=said):
            act()
    monkeypatch.setattr(app, "MOST_PIXELS", 99)
    for act in (lambda: image("photo.png"), lambda: video("clip.mp4")):
        with pytest.raises(ValueError, match="40 x 56 pixels is too large"):
            act()


def test_the_page_ends_what_takes_too_long_and_deletes_what_is_old(
    page: Any, app: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = page.segment_video("clip.mp4", "the red circle", 0.0, follow)
    os.utime(path, (time.time() - app.KEPT - 1,) * 2)
    monkeypatch.setattr(app, "SECONDS", -1)
    with pytest.raises(ValueError, match="not done after -1 seconds"):
        page.segment_video("clip.mp4", "the red circle", 0.0, follow)
    assert not list(page.results.iterdir())
