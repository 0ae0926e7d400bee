"""What the buttons of the web page do; the page itself is in ``test_web_page.py``."""

from __future__ import annotations

import io
import json
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from instructseg.inference.encoder import Encoder
from instructseg.masks import rle_to_mask
from instructseg.media import TruncatedVideoError, open_video, save_image
from instructseg.prediction import Prediction
from instructseg.serve.figure import Figure
from instructseg.serve.limits import Limits
from instructseg.serve.page_actions import KEPT, TASKS, Page
from instructseg.serve.web_page import MISTAKES
from tests.serve.conftest import image

AUTO = next(iter(TASKS))


@pytest.fixture
def page(predictors: Any, tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    monkeypatch.chdir(tmp_path)
    save_image("photo.png", image(0))
    Path("clip.mp4").write_bytes(video.read_bytes())
    results = tmp_path / "results"
    results.mkdir()
    return Page(*predictors, results, True)


def test_masks_and_words_side_by_side(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Encoder, "write_text", lambda self, frame, texts, task, most: ["two"] * len(texts))
    text = "the red circle\n\n how many circles are there? \n"
    figure, said = page.segment("photo.png", text, AUTO)
    assert [one.text for one in figure.regions] == [None, "two"] and "does not know these words" in said
    right = page.images.predict(image(0), "the red circle", threshold=0)[0]
    assert (rle_to_mask(figure.regions[0].rle) != right.mask).mean() < 0.01  # type: ignore[arg-type]
    figure, _ = page.segment("photo.png", text, "Words")
    assert [one.text for one in figure.regions] == ["two", "two"]
    figure, _ = page.segment("photo.png", text, "Masks of what is named")
    assert [one.text for one in figure.regions] == [None, None]


def test_downloads_are_the_masks_at_the_threshold(page: Page) -> None:
    figure, _ = page.segment("photo.png", "the red circle\nbig blue square", "Masks of what is named")
    for threshold in (0.0, 1.0):
        path = page.pack(figure, threshold, ["masks", "rle"])
        assert path is not None and Path(path).name == "photo.zip"
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            assert len([name for name in names if name.endswith(".png")]) == 2
            body = json.loads(archive.read("photo.json"))
            mask = np.asarray(
                Image.open(io.BytesIO(archive.read(next(n for n in names if n.endswith(".png")))))
            )
        np.testing.assert_array_equal(mask > 0, figure.regions[0].prediction(threshold).mask)
        assert bool(mask.any()) == (threshold == 0.0) and "circle" in json.dumps(body)
    assert page.pack(None, 0.0, ["rle"]) is None and page.pack(figure, 0.0, []) is None
    left = [file for file in page.results.rglob("*") if file.is_file()]
    assert {file.suffix for file in left} == {".zip"}


def test_answers_that_are_images_are_downloaded_too(page: Page) -> None:
    depth = np.full((*image(0).shape[:2], 3), 77, np.uint8)
    nothing = np.zeros(depth.shape[:2], bool)
    found = [
        Prediction(nothing, 1.0, 1.0, "the depth", drawn=depth, id=1),
        Prediction(nothing, 1.0, 1.0, "is it dark?", text="yes", drawn=depth, id=2, instruction_id=1),
        Prediction(nothing, 1.0, 1.0, "what is it?", text="a square", id=3, instruction_id=2),
    ]
    path = page.pack(Figure.of(Path("photo.png"), image(0), found), 0.5, ["rle", "drawn"])
    assert path is not None
    with zipfile.ZipFile(path) as archive:
        images = [archive.read(name) for name in archive.namelist() if name.endswith(".png")]
    assert len(images) == 2
    for one in images:
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(one))), depth)


def test_a_video_is_shown_while_it_is_segmented(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("instructseg.serve.page_actions.SHOWN_EVERY", 0.0)
    *steps, last = page.segment_video("clip.mp4", "the red circle", 0.0, ["rle"])
    assert [step.said for step in steps] == [f"Frame {n} of 5 …" for n in range(1, 6)]
    assert all(step.frame is not None and step.video is None for step in steps)
    assert "found in 5 of 5 frames" in last.said and last.video and last.archive
    assert len(open_video(last.video)) == 5
    assert sorted(zipfile.ZipFile(last.archive).namelist()) == ["clip.json", "clip_overlay.mp4"]
    assert last.kept is not None and "nothing found" in page.describe_video(last.kept, 1.0)


def archived(path: str | None) -> dict[str, bytes]:
    """The masks and tables of an archive; the overlay is encoded in the order of threads."""
    assert path is not None
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith(".mp4")}


def test_a_threshold_acts_on_a_finished_video_as_in_a_new_run(page: Page, monkeypatch: Any) -> None:
    words, formats = "the red circle\nall the squares", ["masks", "csv"]
    *_, first = page.segment_video("clip.mp4", words, 0.0, formats)
    assert first.kept is not None
    start = next(first.kept.results(open_video("clip.mp4")))
    between = sum(start.of(place)[0].presence for place in (0, 1)) / 2
    *_, right = page.segment_video("clip.mp4", words, between, formats)
    monkeypatch.setattr(page.videos, "predict", None)  # no new forward
    again = page.show_video(first.kept, between, formats)
    assert again.said == right.said and again.kept is first.kept and len(open_video(str(again.video))) == 5
    assert archived(again.archive) == archived(right.archive) != archived(first.archive)
    assert page.describe_video(first.kept, 1.0).count("nothing found") == 2
    first.kept.file.unlink()
    with pytest.raises(ValueError, match="no longer kept: segment it again"):
        page.show_video(first.kept, between, formats)


def test_of_a_damaged_video_the_good_frames_are_kept(page: Page, monkeypatch: Any) -> None:
    source = open_video("clip.mp4")

    def broken() -> Any:
        for number, frame in enumerate(source):
            if number == 3:
                raise TruncatedVideoError(f"{Path('clip.mp4')} breaks off after 3 of 5 frames")
            yield frame

    monkeypatch.setattr(Limits, "open_video", lambda limits, path: source.passed_through(lambda _: broken()))
    *_, last = page.segment_video("clip.mp4", "the red circle", 0.0, ["rle"])
    assert last.kept is not None and "breaks off after 3" in last.said and "3 of 3 frames" in last.said
    again = page.show_video(last.kept, 0.0, ["rle"])
    assert "breaks off after 3" in again.said and archived(again.archive) == archived(last.archive)


def test_a_cancelled_video_leaves_nothing(page: Page) -> None:
    steps = page.segment_video("clip.mp4", "the red circle", 0.0, ["masks"])
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert not list(page.results.iterdir())


def test_a_program_gets_plain_values(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Encoder, "write_text", lambda self, frame, texts, task, most: ["two"] * len(texts))
    found = json.loads(json.dumps(page.answers("photo.png", ["the red circle", "how many are there?"])))
    assert (
        found[0]["found"] in (True, False)
        and len(found[0]) == 6
        and found[1]
        == {
            "instruction": "how many are there?",
            "text": "two",
        }
    )


def test_mistakes_are_told_in_a_sentence(page: Page, tmp_path: Path) -> None:
    Path("bad.png").write_bytes(b"\x89PNG" + bytes(99))
    Path("bad.mp4").write_bytes(bytes(999))
    page.limits = Limits(frames=4)

    def still(path: str | None, text: str = "red") -> Callable[[], Any]:
        return lambda: page.segment(path, text, AUTO)

    def moving(path: str | None, text: str = "red") -> Callable[[], Any]:
        return lambda: list(page.segment_video(path, text, 0.0, []))

    for act, said in (
        (still(None), "no image yet"),
        (still("bad.png"), "bad.png"),
        (still("photo.png", " \n"), "no instruction"),
        (still("photo.png", "a\n" * 300), "300 instructions are too many"),
        (moving(None), "no video yet"),
        (moving("bad.mp4"), "bad.mp4"),
        (moving("clip.mp4", "how many?"), "asks for words"),
        (moving("clip.mp4"), "5 frames: cut it to at most 4"),
        (lambda: page.answers("", ["a"]), "no image yet"),
    ):
        with pytest.raises(MISTAKES, match=said):
            act()
    page.limits = Limits(pixels=99)
    for act in (still("photo.png"), moving("clip.mp4")):
        with pytest.raises(ValueError, match="40 x 56 pixels is too large"):
            act()
    assert not list(page.results.iterdir())


def test_what_takes_too_long_is_ended_and_what_is_old_is_deleted(page: Page) -> None:
    figure, _ = page.segment("photo.png", "red", AUTO)
    old = page.pack(figure, 0.0, ["rle"])
    assert old is not None
    os.utime(Path(old).parent, (time.time() - KEPT - 1,) * 2)
    page.limits = Limits(video_seconds=1)
    clock = iter([0.0, *[100.0] * 99])
    with pytest.MonkeyPatch.context() as patch:
        own = SimpleNamespace(monotonic=lambda: next(clock), time=time.time)  # of this module alone
        patch.setattr("instructseg.serve.page_actions.time", own)
        with pytest.raises(ValueError, match="not done after 1 seconds"):
            list(page.segment_video("clip.mp4", "the red circle", 0.0, []))
    assert not list(page.results.iterdir())
