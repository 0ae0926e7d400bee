"""What the buttons of the web page do; the page itself is in ``test_web_page.py``."""

from __future__ import annotations

import io
import json
import os
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from instructseg.inference.encoder import Encoder
from instructseg.masks import rle_to_mask
from instructseg.media import TruncatedVideoError, open_video, save_image
from instructseg.prediction import Prediction
from instructseg.results import save_results
from instructseg.serve.figure import Figure
from instructseg.serve.limits import Limits
from instructseg.serve.page_actions import KEPT, TASKS, Page, VideoStep
from tests.serve.conftest import image
from tests.serve.test_figure import Tree

AUTO = next(iter(TASKS))


@pytest.fixture
def page(predictors: Any, tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    monkeypatch.chdir(tmp_path)
    save_image("photo.png", image(0))
    Path("clip.mp4").write_bytes(video.read_bytes())
    results = tmp_path / "results"
    results.mkdir()
    one = Page(*predictors, results, "nano")
    yield one
    one.close()


def steps_of(page: Page, text: str, threshold: float = 0.0, path: str | None = "clip.mp4") -> list[VideoStep]:
    return list(page.segment_video(path, text, threshold, threading.Event()))


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
    *steps, last = steps_of(page, "the red circle")
    assert [step.said for step in steps] == [f"Frame {n} of 5 …" for n in range(1, 6)]
    for step in steps:
        tree = Tree(str(step.shown))
        assert step.kept is None and len(tree.all("path")) == len(tree.all("input")) == 1
        assert tree.all("img")[0]["alt"] == "clip.mp4 with masks: the red circle"
    assert last.kept is not None and Tree(str(last.shown)).all("video") and "not know these words" in last.said
    archive = page.pack_video(last.kept, 0.0, ["rle", "overlay"])
    assert sorted(zipfile.ZipFile(str(archive)).namelist()) == ["clip.json", "clip_overlay.mp4"]
    assert page.pack_video(None, 0.0, ["rle"]) is None and page.pack_video(last.kept, 0.0, []) is None


def archived(path: str | None) -> dict[str, bytes]:
    """The masks and tables of an archive; the overlay is encoded in the order of threads."""
    assert path is not None
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith(".mp4")}


def test_a_threshold_acts_on_a_finished_video_without_the_model(page: Page, monkeypatch: Any) -> None:
    words, formats = "the red circle\nall the squares", ["masks", "csv"]
    kept = steps_of(page, words)[-1].kept
    assert kept is not None
    start = next(kept.results(open_video("clip.mp4")))
    between = sum(start.of(place)[0].presence for place in (0, 1)) / 2
    right = results_of(page, words.splitlines(), between, formats)
    monkeypatch.setattr(page.videos, "predict", None)  # no new forward
    everything, some = (archived(page.pack_video(kept, threshold, formats)) for threshold in (0.0, between))
    assert some == right != everything
    kept.file.unlink()
    with pytest.raises(ValueError, match="no longer kept: segment it again"):
        page.pack_video(kept, between, formats)


def results_of(page: Page, prompts: list[str], threshold: float, formats: list[str]) -> dict[str, bytes]:
    """Files of a run of the predictor at a threshold."""
    found = page.videos.predict("clip.mp4", prompts, threshold=threshold)
    save_results(found, "own", formats, name="clip", path="clip.mp4", fps=8.0)
    files = [path for path in Path("own").rglob("*.*") if not path.name.startswith(".")]
    # the name of the input is not given where results come by themselves
    return {
        path.relative_to("own").as_posix(): path.read_bytes().replace(b"\nclip,", b"\nclip.mp4,")
        for path in files
    }


def test_of_a_damaged_video_the_good_frames_are_kept(page: Page, monkeypatch: Any) -> None:
    source = open_video("clip.mp4")

    def broken() -> Any:
        for number, frame in enumerate(source):
            if number == 3:
                raise TruncatedVideoError(f"{Path('clip.mp4')} breaks off after 3 of 5 frames")
            yield frame

    monkeypatch.setattr(Limits, "open_video", lambda limits, path: source.passed_through(lambda _: broken()))
    last = steps_of(page, "the red circle")[-1]
    assert last.kept is not None and "breaks off after 3" in last.said and last.kept.count == 3
    assert len(open_video(last.kept.plain)) == 3
    body = json.loads(archived(page.pack_video(last.kept, 0.0, ["rle"]))["clip.json"])
    assert len(body["frames"]) == 3


def test_a_cancelled_video_leaves_nothing_and_the_next_one_begins_at_once(page: Page, monkeypatch: Any) -> None:
    reached, go_on = threading.Event(), threading.Event()
    predict = page.videos.predict

    def slow(video: Any, prompts: Any, **options: Any) -> Any:
        for result in predict(video, prompts, **options):
            yield result
            reached.set()
            assert go_on.wait(60)

    monkeypatch.setattr(page.videos, "predict", slow)
    cancelled = threading.Event()
    steps = page.segment_video("clip.mp4", "the red circle", 0.0, cancelled)
    next(steps)
    assert reached.wait(60)  # the model is in the middle of a step, which nobody can end
    cancelled.set()
    (last,) = steps
    assert (last.said, last.shown, last.kept) == ("Cancelled.", None, None)
    assert not list(page.results.iterdir())
    go_on.set()
    assert steps_of(page, "the red circle")[-1].kept is not None


def test_a_visitor_who_is_gone_is_no_burden(page: Page) -> None:
    for _ in range(page.limits.videos + 2):
        steps = page.segment_video("clip.mp4", "the red circle", 0.0, threading.Event())
        next(steps)
        steps.close()  # type: ignore[attr-defined]  # a generator
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
        return lambda: steps_of(page, text, 0.0, path)

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
        with pytest.raises(ValueError, match=said):
            act()
    page.limits = Limits(pixels=99)
    for act in (still("photo.png"), moving("clip.mp4")):
        with pytest.raises(ValueError, match="40 x 56 pixels is too large"):
            act()
    assert not list(page.results.iterdir())


def test_what_is_old_is_deleted(page: Page) -> None:
    figure, _ = page.segment("photo.png", "red", AUTO)
    old = page.pack(figure, 0.0, ["rle"])
    assert old is not None
    os.utime(Path(old).parent, (time.time() - KEPT - 1,) * 2)
    page.forget()
    assert not list(page.results.iterdir())


def test_what_takes_too_long_is_ended(predictors: Any, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    held = threading.Event()
    late = lambda _, asked: held.wait(60) and [[]] * len(asked)  # noqa: E731
    monkeypatch.setattr("instructseg.serve.worker.segment_together", late)
    monkeypatch.setattr(page.videos, "predict", lambda *_, **__: iter(lambda: held.wait(60) and None, None))
    other = Page(*predictors, page.results, "", Limits(seconds=1, video_seconds=1))
    try:
        with pytest.raises(ValueError, match="not done after 1 seconds: try a smaller image"):
            other.segment("photo.png", "red", AUTO)
        with pytest.raises(ValueError, match="not done after 1 seconds: cut the video"):
            steps_of(other, "red")
        assert not list(page.results.iterdir())
    finally:
        held.set()
        other.close()
