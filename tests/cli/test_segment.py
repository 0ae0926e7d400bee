"""``instructseg image``, ``video`` and ``demo`` from end to end, and what is said when they cannot."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from instructseg.cli import app
from instructseg.inference import ImagePredictor, Stride, VideoPredictor
from instructseg.inference.encoder import Encoder
from instructseg.inference.frame_window import spacing_of
from instructseg.masks import load_index_png, rle_to_mask
from instructseg.media import VideoWriter, open_video, save_image
from instructseg.model import InstructSeg
from instructseg.results import ResultWriter
from instructseg.results.manifest import NAME
from instructseg.results.result_format import TIMES
from tests.cli.conftest import FPS, LENGTH, SIZE
from tests.forked import Program

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("workspace")


def run(*words: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def refused(*words: object) -> str:
    """The one line of an error; nothing was written."""
    before = sorted(Path().rglob("*"))
    result = run(*words, code=2)
    lines = [line for line in result.stderr.splitlines() if not line.startswith("note:")]
    assert len(lines) == 1 and lines[0].startswith("error: "), result.stderr
    assert sorted(Path().rglob("*")) == before
    return lines[0]


def files(folder: str = "out") -> list[str]:
    """The results; without the record and the times of them."""
    found = [path.relative_to(folder) for path in Path(folder).rglob("*") if path.is_file()]
    return sorted(str(path) for path in found if path.name not in (NAME, TIMES))


def leftovers() -> list[Path]:
    """Hidden files that should not be there."""
    return [path for path in Path().rglob(".*") if path.name != NAME]


def test_image() -> None:
    result = run("image", "photo.png", "the red circle", "Blue; square?")
    assert files() == ["photo_masks/1-the-red-circle.png", "photo_masks/2-blue-square.png", "photo_overlay.png"]
    with Image.open("out/photo_overlay.png") as shown:
        assert shown.width == SIZE[1] and SIZE[0] < shown.height <= 1.5 * SIZE[0]  # the legend is below
    predictor = ImagePredictor.from_pretrained()
    for name, text in (("1-the-red-circle", "the red circle"), ("2-blue-square", "Blue; square?")):
        mask = load_index_png(f"out/photo_masks/{name}.png")
        (expected,) = predictor.predict("photo.png", text)
        np.testing.assert_array_equal(mask, expected.mask * 255)
        assert f"{text}: score {expected.score:.3f}" in result.stdout
    assert "wrote out/photo_overlay.png" in result.stdout
    assert "the bundled model mini is a preview" in result.stderr


def test_all_formats_of_an_image() -> None:
    run(
        "image",
        "photo.png",
        "the red circle",
        "blue square",
        "-f",
        "palette,rle",
        "-f",
        "masks",
        "--threads",
        1,
    )
    assert files() == [
        "photo.json", "photo_masks/1-the-red-circle.png", "photo_masks/2-blue-square.png", "photo_palette.png",
    ]  # fmt: skip
    record = json.loads(Path("out/photo.json").read_text())
    (frame,) = record["frames"]
    ids, best = load_index_png("out/photo_palette.png"), np.argmax([p["score"] for p in frame["predictions"]])
    for i, found in enumerate(frame["predictions"]):
        mask = rle_to_mask(found["rle"], SIZE)
        np.testing.assert_array_equal(mask, load_index_png(f"out/photo_masks/{files()[1 + i][12:]}") == 255)
        assert not (ids[~mask] == i + 1).any()
        if i == best:
            assert (ids[mask] == i + 1).all()
        assert 0 <= found["score"] <= found["presence"] <= 1


def test_soft_masks_and_one_file() -> None:
    run("image", "photo.png", "the red circle", "--soft", "-f", "masks")
    (expected,) = ImagePredictor.from_pretrained().predict("photo.png", "the red circle", soft=True)
    assert expected.probability is not None
    grey = load_index_png("out/photo_masks/1-the-red-circle.png")
    np.testing.assert_allclose(grey / 255, expected.probability, atol=1 / 255)
    run("image", "photo.png", "the red circle", "-f", "overlay", "-o", "red.png")
    assert Image.open("red.png").width == SIZE[1]


def test_a_threshold_empties_soft_masks_too() -> None:
    run("image", "photo.png", "the red circle", "--soft", "--threshold", "1", "-f", "masks")
    assert not load_index_png("out/photo_masks/1-the-red-circle.png").any()


def test_a_limit_on_memory_knows_what_is_asked() -> None:
    save_image("large.png", np.zeros((2160, 3840, 3), np.uint8))
    taken = []
    for name in ("photo.png", "large.png"):
        told = run("image", name, "the red circle", "--max-memory", "100GB", "-f", "masks").stderr
        assert "1 rows and 1 frame at once" in " ".join(told.split())
        taken.append(re.findall(r"([\d.]+ [GM]iB) expected", " ".join(told.split()))[0])
    assert taken[0] != taken[1]


def test_one_file_is_the_overlay() -> None:
    run("image", "photo.png", "the red circle", "-o", "red.png")
    assert Image.open("red.png").width == SIZE[1] and not Path("out").exists()


def test_a_folder_of_frames_at_another_rate() -> None:
    run("video", "frames", "the red circle", "--fps", "5", "-f", "overlay")
    assert open_video("out/frames_overlay.mp4").fps == pytest.approx(5)


def test_what_is_not_found_and_not_known_is_told() -> None:
    told = run("image", "photo.png", "the red zeppelin", "--threshold", "1")
    assert "the red zeppelin: nothing found, score" in told.stdout
    assert "note: the bundled model does not know these words: zeppelin" in told.stderr


def test_dots_in_the_name_of_a_folder() -> None:
    for folder in ("frames.v1", "frames.v2"):
        shutil.copytree("frames", folder)
        run("video", folder, "the red circle", "-f", "rle")
    assert files() == ["frames.v1.json", "frames.v2.json"]


def test_a_folder_of_pictures_and_json() -> None:
    result = run("image", "frames", "the red circle", "--json", "-f", "overlay")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["source"] for row in rows] == ["frames/0.png", "frames/1.png", "frames/2.png"]
    assert files() == ["0_overlay.png", "1_overlay.png", "2_overlay.png"]
    assert set(rows[0]["prompts"][0]) == {"prompt", "found", "score", "presence", "area"}


def test_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Encoder, "write_text", lambda self, frame, texts, *_: ["it is red"] * len(texts))
    assert run("image", "photo.png", "what is it?", "--task", "vqa").stdout == "what is it?\n  it is red\n"
    assert not Path("out").exists()
    row = json.loads(run("image", "photo.png", "what rolls?", "--explain", "--json", "-f", "rle").stdout)
    assert row["prompts"][0]["answer"] == "it is red"
    assert (
        json.loads(Path("out/photo.json").read_text())["frames"][0]["predictions"][0]["answer"] == "it is red"
    )


def test_video() -> None:
    result = run(
        "video", "clip.mp4", "the red circle", "moving left", "-f", "overlay,masks,palette,rle", "--json"
    )
    clip = open_video("out/clip_overlay.mp4")
    assert (clip.size[1], len(clip)) == (SIZE[1] + 1, LENGTH) and clip.size[0] > SIZE[0]
    assert clip.fps == pytest.approx(FPS, abs=1e-3)
    names = [f"{t:05d}.png" for t in range(LENGTH)]
    for folder in ("clip_masks/1-the-red-circle", "clip_masks/2-moving-left", "clip_palette"):
        assert files(f"out/{folder}") == names
    frames = json.loads(Path("out/clip.json").read_text())["frames"]
    assert [frame["index"] for frame in frames] == list(range(LENGTH))
    predictor = VideoPredictor.from_pretrained()
    for found, frame in zip(
        predictor.predict("clip.mp4", ["the red circle", "moving left"]), frames, strict=True
    ):
        for one, row in zip(found.predictions, frame["predictions"], strict=True):
            np.testing.assert_array_equal(one.mask, rle_to_mask(row["rle"]))
    summary = json.loads(result.stdout)
    assert summary["frames"] == LENGTH
    scores = [frame["predictions"][1]["score"] for frame in frames]
    assert summary["prompts"][1]["score"] == pytest.approx(np.mean(scores), abs=1e-5)


@pytest.mark.parametrize(("source", "count"), [("frames", 3), ("photo.png", 1)])
def test_video_of_a_folder_or_a_picture(source: str, count: int) -> None:
    run("video", source, "the red circle", "-f", "masks", "-o", "here")
    assert len(files("here")) == count


def test_demo() -> None:
    run("demo", "--output", "out")
    assert {"dog.mp4", "dog_overlay.mp4"} < set(files())
    before, after = open_video("out/dog.mp4"), open_video("out/dog_overlay.mp4")
    assert (before.size[1], before.fps, len(before)) == (after.size[1], after.fps, len(after))
    assert len(files("out/dog_masks/1-the-dog")) == len(after)
    assert "out/dog.mp4 exists: choose another --output, or add --overwrite" in refused("demo")


def test_nothing_is_overwritten_unasked() -> None:
    run("video", "clip.mp4", "the red circle", "-f", "masks")
    first = files()
    assert "out/clip_masks exists: choose another --output, or add --overwrite" in refused(
        "video", "frames/../clip.mp4", "the red circle", "-f", "masks,rle"
    )
    run("image", "photo.png", "the red circle")  # other names: no conflict
    Path("clip").mkdir()
    Path("frames/0.png").rename("clip/0.png")
    run("video", "clip", "the red circle", "-f", "masks", "--overwrite")
    assert not set(files()) & set(first)  # none of the longer clip stayed
    assert files("out/clip_masks") == ["1-the-red-circle/0.png"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["image", "none.jpg", "a"], "no such image: none.jpg"),
        (["video", "none.mp4", "a"], "no such video, folder or image: none.mp4"),
        (["image", "photo.png", " "], "a prompt is empty"),
        (["image", "photo.png", "red " * 600], "shorten them"),
        (["video", "clip.mp4", "red " * 600], "shorten them"),
        (["image", "photo.png", "a", "--model", "no/such/place"], "no/such/place"),
        (["image", "photo.png", "a", "--model", "frames"], "frames is no checkpoint: it has no config.json"),
        (["image", "photo.png", "a", "--device", "warp"], "device 'warp' cannot be used"),
        (["image", "photo.png", "a", "--dtype", "fp8"], "unknown dtype 'fp8'"),
        (["image", "photo.png", "a", "--format", "gif"], "unknown format 'gif': use overlay, outline, masks,"),
        (["image", "photo.png", "a", "-o", "x.mp4"], "the result of an image is no .mp4"),
        (["image", "photo.png", "a", "-o", "x.png", "-f", "masks"], "x.png is one file and holds the overlay"),
        (["image", "clip.mp4", "a"], "clip.mp4 is a video: use 'instructseg video'"),
        (["video", "frames", "a", "--fps", "0"], "fps must be positive"),
        (["image", "frames", "a", "-o", "x.png", "-f", "overlay"], "two images would be written to x.png"),
        (["image", "photo.png", "a", "--explain", "--task", "res"], "task 'res' has no explanation"),
        (["image", "photo.png", *["a"] * 256, "-f", "palette"], "room for 254 prompts"),
        (["train", "none.yaml"], "none.yaml"),
        (["convert", "official", "frames", "there"], "config.json"),
        (["convert", "mask2former", "none.pkl", "m.safetensors"], "none.pkl"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(words: list[str], message: str) -> None:
    assert message in refused(*words)


def test_damaged_files() -> None:
    for name in ("photo.png", "clip.mp4"):
        Path(name).write_bytes(Path(name).read_bytes()[:90])
    Path("empty.png").touch()
    assert "photo.png is damaged" in refused("image", "photo.png", "a")
    assert "empty.png is an empty file" in refused("image", "empty.png", "a")
    assert "clip.mp4" in refused("video", "clip.mp4", "a")


def stop_at(count: int, error: BaseException) -> Callable[..., None]:
    real = ResultWriter.write

    def write(self: ResultWriter, result: object) -> None:
        if self.count == count:
            raise error
        real(self, result)  # type: ignore[arg-type]

    return write


def test_ctrl_c_leaves_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ResultWriter, "write", stop_at(3, KeyboardInterrupt()))
    result = run("video", "clip.mp4", "the red circle", "-f", "overlay,masks,rle", code=130)
    assert "interrupted: the first 3 frames are in out/clip_overlay.mp4" in result.stderr
    assert len(list(open_video("out/clip_overlay.mp4"))) == 3
    assert len(files("out/clip_masks")) == len(json.loads(Path("out/clip.json").read_text())["frames"]) == 3
    assert not leftovers()


@pytest.mark.parametrize(
    ("program", "number", "code", "said_first"),
    [
        (("-m", "instructseg", "video"), signal.SIGTERM, 143, "stopped by a signal"),
        (("demo/video.py",), signal.SIGINT, 130, "interrupted"),
    ],
)
def test_a_real_signal_leaves_what_is_done(
    program: tuple[str, ...],
    number: signal.Signals,
    code: int,
    said_first: str,
    clip_frames: np.ndarray,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with VideoWriter("long.mp4", FPS, SIZE) as writer:
        for turn in range(400):
            writer.write(clip_frames[turn % LENGTH])
    if program[0] == "-m":
        words = ["long.mp4", "the red circle", "--threads", "1"]
    else:
        program = (str(ROOT / program[0]),)
        words = ["--input", "long.mp4", "--prompt", "the red circle"]
    running = Program(tmp_path_factory.mktemp("printed"), *program, *words)
    masks = Path("out/long_masks/1-the-red-circle")
    while running.process.is_alive() and len(list(masks.glob("0*.png"))) < 3:
        time.sleep(0.05)
    os.kill(running.process.pid, number)
    returned, _, said = running.ended(120)
    assert returned == code, said
    assert "Traceback" not in said
    count = len(list(open_video("out/long_overlay.mp4")))
    assert 3 <= count < 400
    assert f"{said_first}: the first {count} frames are in out/long_overlay.mp4" in said
    assert files(str(masks)) == [f"{t:05d}.png" for t in range(count)]
    for path in masks.iterdir():
        assert load_index_png(path).shape == (SIZE[0], SIZE[1] + 1)  # the clip was made even
    assert not leftovers()


def test_fewer_tokens_of_the_language_model(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def watched(kind: type) -> Callable[..., object]:
        real = kind.predict  # type: ignore[attr-defined]
        return lambda *a, **k: asked.append(k.get("keep_tokens")) or real(*a, **k)

    for kind in (ImagePredictor, VideoPredictor):
        monkeypatch.setattr(kind, "predict", watched(kind))
    run("image", "photo.png", "the red circle", "--keep-tokens", "0.3", "-o", "image")
    run("video", "clip.mp4", "the red circle", "--keep-tokens", "0.3", "-o", "video")
    run("video", "clip.mp4", "the red circle", "--keep-tokens", "1", "-o", "all")
    assert asked == [0.3, 0.3, None]
    for value in ("0", "1.1"):
        run("image", "photo.png", "a", "--keep-tokens", value, code=2)


def test_a_speed_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    real = VideoPredictor.predict
    monkeypatch.setattr(
        VideoPredictor,
        "predict",
        lambda self, *a, **k: asked.append(k.get("speed")) or real(self, *a, **k),
    )
    run("video", "clip.mp4", "the red circle", "--speed", "fast")
    assert asked == ["fast"]
    message = "unknown speed 'fats' (did you mean fast?): use exact, balanced, fast"
    assert message in refused("video", "clip.mp4", "a", "--speed", "fats")


def test_a_stride_of_the_language_model(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = VideoPredictor.predict
    monkeypatch.setattr(
        VideoPredictor,
        "predict",
        lambda self, *a, **k: asked.append(Stride.of(k["llm_stride"])) or real(self, *a, **k),
    )
    for value in ("3", "auto"):
        run("video", "clip.mp4", "the red circle", "--llm-stride", value, "-o", value)
        assert len(files(f"{value}/clip_masks")) == LENGTH
    assert asked == [Stride(3), Stride.of("auto")]
    message = "llm_stride is a number of frames or 'auto', got 'often'"
    assert message in refused("video", "clip.mp4", "a", "--llm-stride", "often")


def test_references_are_spaced_by_the_frame_rate_of_a_file(
    monkeypatch: pytest.MonkeyPatch, clip_frames: np.ndarray
) -> None:
    asked = []
    real = VideoPredictor.session
    monkeypatch.setattr(
        VideoPredictor, "session", lambda self, **k: asked.append(k["spacing"]) or real(self, **k)
    )
    with VideoWriter("long.mp4", FPS, SIZE) as writer:
        for turn in range(2 * LENGTH):
            writer.write(clip_frames[turn % LENGTH])
    run("video", "long.mp4", "the red circle", "-o", "own")
    run("video", "long.mp4", "the red circle", "--spacing", "1", "-o", "one")
    assert asked == [spacing_of(FPS, 2 * LENGTH), 1] == [2, 1]
    assert "--spacing" in run("video", "clip.mp4", "a", "--spacing", "0", code=2).stderr


def test_compile_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(VideoPredictor, "compile", lambda self: calls.append(self))
    run("video", "photo.png", "a", "-o", "plain")
    assert not calls
    run("video", "photo.png", "a", "--compile", "-o", "compiled")
    assert len(calls) == 1


def test_no_memory_leaves_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = InstructSeg.reason, []

    def reason(self: InstructSeg, *arguments: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(self, *arguments)

    monkeypatch.setattr(InstructSeg, "reason", reason)
    result = run("video", "clip.mp4", "the red circle", code=2)
    assert "out of memory on one of the instructions" in result.stderr
    assert "the results of the 4 frames before are in out/clip_overlay.mp4" in result.stderr
    assert len(list(open_video("out/clip_overlay.mp4"))) == len(files("out/clip_masks")) == 4


def test_a_clip_that_breaks_off_leaves_what_is_done() -> None:
    file = Path("frames/2.png")
    file.write_bytes(file.read_bytes()[:60])
    result = run("video", "frames", "the red circle", code=2)
    line = next(line for line in result.stderr.splitlines() if line.startswith("error: "))
    assert "breaks off after 2 of 3 frames" in line and "the results of the 2 frames before are in" in line
    assert len(list(open_video("out/frames_overlay.mp4"))) == 2
    assert len(files("out/frames_masks")) == 2


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    error = OSError(errno.ENOSPC, "No space left on device", "out/photo_overlay.png")
    monkeypatch.setattr(ResultWriter, "write", stop_at(0, error))
    assert refused("image", "photo.png", "a") == "error: No space left on device: out/photo_overlay.png"


def test_a_usage_error_has_the_same_exit_code() -> None:
    assert "Missing argument" in run("image", "photo.png", code=2).stderr
    run("image", "photo.png", "a", "--threshold", 2, code=2)


def test_a_demo_that_fails_does_not_stand_in_its_own_way() -> None:
    run("demo", "--model", "no/such/place", code=2)
    assert files() == []


def test_a_threshold_empties_masks() -> None:
    for threshold, empty in ((0, False), (1, True)):
        run("image", "photo.png", "the red circle", "--threshold", threshold, "--overwrite")
        assert load_index_png("out/photo_masks/1-the-red-circle.png").any() != empty
