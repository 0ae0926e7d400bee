"""Foreign files stay, finished inputs are skipped, and two runs do not mix."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from instructseg.files import host, remove_abandoned, temporary_path
from instructseg.jobs.inputs import find_images
from instructseg.jobs.job import Job
from instructseg.prediction import FrameResult, Prediction
from instructseg.results import ResultFolder, ResultInfo, ResultPaths, ResultWriter, format_of_file, plan_paths
from instructseg.results.manifest import NAME, Manifest
from instructseg.results.raster_formats import covered

ALL = ("overlay", "masks", "palette", "rle")
PROMPTS = ("the cat", "dog")
FORGED = {"files": ["../../photos/1.jpg", "notes.txt"], "frames": ["..", "../..", "/"]}
WRONG = {"files": 3, "frames": None}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``photos`` with three images."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for name in ("1.jpg", "2.jpg", "3.png"):
        Image.new("RGB", (4, 4)).save(f"photos/{name}")


def results(
    *sources: str,
    output: str = "out",
    overwrite: bool = False,
    video: bool = False,
    prompts: tuple[str, ...] = PROMPTS,
    deep: bool = False,
    **options: Any,
) -> ResultFolder:
    inputs = find_images([Path(source) for source in sources or ("photos",)], deep)
    formats = ALL if output[-4:] != ".png" else ALL[:1]
    places = [plan_paths(item.name, Path(output), formats, video) for item in inputs.items]
    return ResultFolder(Path(output), inputs, places, prompts, options, overwrite)


def result(index: int = 0, prompts: tuple[str, ...] = PROMPTS) -> FrameResult:
    masks = [np.zeros((4, 4), bool) for _ in PROMPTS]
    masks[0][:2], masks[1][:, :2] = True, True
    found = [
        Prediction(mask, 0.5 + i / 4, 1.0, text)
        for i, (text, mask) in enumerate(zip(prompts, masks, strict=True))
    ]
    return FrameResult(index, np.zeros((4, 4, 3), np.uint8), found)


def write(run: ResultFolder, frames: int = 1, inputs: int = 99) -> None:
    """Writes what a run is to write, of the first inputs."""
    with run:
        for step in run.todo[:inputs]:
            info = ResultInfo(run.instructions, "x", fps=10.0 if step.places.video else None)
            with ResultWriter(step.places, info, partial(run.begin, step)) as writer:
                for index in range(frames):
                    writer.write(result(index, run.instructions))
            run.finish(step)


def tree(folder: str = ".") -> dict[str, bytes]:
    return {
        str(path): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file() and path.name != NAME
    }


def test_a_second_run_passes_over_what_is_done() -> None:
    write(results(), inputs=2)
    run = results()
    assert run.done == 2 and [step.item.name for step in run.todo] == ["3"]
    write(run)
    assert results().done == 3 and not results().todo
    assert len(results(overwrite=True).todo) == 3
    os.utime("photos/2.jpg", (1, 1))
    for change, message in (
        ({"prompts": ("cat",)}, "made with other prompts"),
        ({"threshold": 0.5}, "made with another --threshold"),
        ({"model": "x"}, "made with another model"),
        ({}, "2_overlay.png exists, made with another input of that name"),
    ):
        with pytest.raises(ValueError, match=f"{message}.*choose another --output, or add --overwrite"):
            results(**change)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"1_overlay.png exists: choose another"):
        results("photos/1.jpg")  # one input by itself


def test_options_of_a_job_are_remembered() -> None:
    marks = Job().marks()
    assert json.loads(json.dumps(marks)) == marks
    assert (
        Job(threshold=0.5).marks() != marks
        and Job(output=Path("x"), overwrite=True, device="cpu").marks() == marks
    )


def test_only_what_a_run_wrote_is_removed() -> None:
    write(results(prompts=PROMPTS), frames=1)
    Path("out/1_masks/notes.txt").write_text("mine")
    Path("out/other").mkdir()
    before = tree()
    with pytest.raises(ValueError, match=r"1_masks holds notes.txt, which no recorded run wrote"):
        results(overwrite=True)
    assert tree() == before
    Path("out/1_masks/notes.txt").unlink()
    write(results(overwrite=True, prompts=("a bird", "dog")))
    assert sorted(path.name for path in Path("out/1_masks").iterdir()) == ["1-a-bird.png", "2-dog.png"]
    assert Path("out/other").is_dir()


@pytest.mark.parametrize("name", ["1_overlay.png", "1_masks/1-a-cat.png"])
def test_a_file_of_the_user_by_the_name_of_a_result_is_kept(name: str) -> None:
    mine = Path("out") / name
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    with pytest.raises(ValueError, match="no recorded run wrote"):
        results(overwrite=True, prompts=("a cat", "dog"))
    assert mine.read_bytes() == b"mine"
    shutil.rmtree("out")
    write(results(prompts=("a cat", "dog")))
    before = mine.read_bytes()
    mine.write_bytes(b"changed")
    write(results(overwrite=True, prompts=("a cat", "dog")))  # a recorded result is replaced
    assert mine.read_bytes() == before


def test_frames_of_a_longer_video_do_not_stay() -> None:
    write(results("photos/1.jpg", video=True), frames=5)
    write(results("photos/1.jpg", video=True, overwrite=True), frames=2)
    for folder in ("1_masks/1-the-cat", "1_masks/2-dog", "1_palette"):
        assert sorted(path.name for path in Path("out", folder).glob("*.png")) == ["00000.png", "00001.png"]
    assert Path("out/1_palette/times.csv").read_text().count("\n") == 3
    Path("out/1_palette/00001b.png").touch()
    with pytest.raises(ValueError, match=r"1_palette holds 00001b.png"):
        results("photos/1.jpg", video=True, overwrite=True)


@pytest.mark.parametrize(
    "record",
    [
        "",
        "{",
        "[1]\nnull\n" + "[" * 5000,
        json.dumps({"run": "x", "state": "done", "targets": {"1_masks": FORGED}}),
        json.dumps({"run": "x", "state": "begun", "owner": ["h", -1, 0], "targets": {"../x": WRONG, "/": 5}}),
        json.dumps({"run": "x", "state": "begun", "targets": []}),
    ],
)  # fmt: skip
def test_a_record_that_is_missing_or_forged_removes_nothing(record: str) -> None:
    write(results())
    Path("out/1_masks/notes.txt").write_text("mine")
    Path("out", NAME).write_text(record)
    before = tree()
    with pytest.raises(ValueError, match=r"no recorded run wrote"):
        results(overwrite=True)
    assert tree() == before
    Path("out/1_masks/notes.txt").unlink()
    with pytest.raises(ValueError, match=r"no recorded run wrote"):  # whose the results are, nobody knows
        results(overwrite=True)


def test_a_result_is_never_an_input() -> None:
    Path("photos").rename("1_masks")
    Path("1_masks/notes.txt").write_text("mine")
    Path("3_masks").mkdir()
    Path("1_masks/3.png").rename("3_masks/3.png")
    Path("hard.png").hardlink_to("3_masks/3.png")
    Path("soft.png").symlink_to("3_masks/3.png")
    Path("elsewhere").symlink_to("1_masks")
    before = tree()
    for sources, output, message in (
        (["1_masks"], ".", "1_masks is the input"),
        (["1_masks/1.jpg"], ".", "1_masks would hold results, and holds the input"),
        (["elsewhere"], ".", "1_masks is the input"),
        (["3_masks/3.png"], ".", "3_masks would hold results"),
        (["3_masks/3.png"], "3_masks/3.png", "is the input"),
        (["3_masks/3.png"], "hard.png", "is the input"),
        (["3_masks/3.png"], "soft.png", "is the input"),
        (["soft.png"], "3_masks/3.png", "is the input"),
        (["1_masks"], "1_masks", "is in the folder of the inputs"),
        (["1_masks"], "elsewhere", "is in the folder of the inputs"),
        (["1_masks/1.jpg"], "1_masks/notes.txt", "no .txt file is written"),
    ):
        with pytest.raises(ValueError, match=message):
            results(*sources, output=output, overwrite=True)
    Path("1_masks/out").mkdir()
    results("1_masks", output="1_masks/out")
    with pytest.raises(ValueError, match="is in the folder of the inputs"):
        results("1_masks", output="1_masks/out", deep=True)
    assert tree() == before


def test_links_are_not_followed() -> None:
    Path("out").mkdir()
    Path("secret").mkdir()
    Path("secret/1-the-cat.png").write_text("mine")
    Path("out/1_masks").symlink_to("../secret")
    with pytest.raises(ValueError, match="1_masks is a link or a file"):
        results(overwrite=True)
    Path("out/1_masks").unlink()
    Path("out", NAME).symlink_to("../secret/1-the-cat.png")
    with pytest.raises(OSError):
        write(results())
    assert Path("secret/1-the-cat.png").read_text() == "mine"


def test_two_runs_do_not_mix() -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from instructseg.results.manifest import Manifest\n"
        "Manifest(Path('out')).begin({Path('out/2_masks'): None}); print('begun', flush=True)\n"
        "sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None and other.stdin is not None
    run = results()  # neither had begun
    assert other.stdout.readline() == "begun\n"
    message = rf"another run \(process {other.pid}\) is writing out/2_masks"
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=message):
            results(overwrite=overwrite)
    with pytest.raises(ValueError, match=message):
        write(run)
    write(results("photos/1.jpg"))  # another target
    other.communicate("")
    write(results())  # it ended without a word, as if killed
    assert results().done == 3


def test_of_two_that_begin_at_once_the_first_has_it() -> None:
    first, second = Manifest(Path("out")), Manifest(Path("out"))
    first.begin({Path("out/1_masks"): None})
    with pytest.raises(ValueError, match="another run"):
        second.begin({Path("out/1_masks"): None, Path("out/x.json"): None})
    first.release()
    second.begin({Path("out/1_masks"): None})
    Manifest(Path("out")).path.open("a").write('{"torn')
    second.finish([Path("out/1_masks")], {"a": 1}, complete=True)
    assert Manifest(Path("out")).of(Path("out/1_masks")).job == {"a": 1}


def test_what_killed_processes_left_is_removed() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    mine = temporary_path("out/a.mp4")
    dead = mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{ended.pid}-"))
    foreign = mine.with_name(dead.name.replace(host(), "0" * 8 if host() != "0" * 8 else "1" * 8))
    others = [Path("out", name) for name in (".instructseg-x.mp4", ".0a1b.mp4", "a.mp4")]
    for path in (mine, dead, foreign, *others):
        path.touch()
    results()
    assert not dead.exists() and all(path.exists() for path in (mine, foreign, *others))
    assert remove_abandoned(Path("none")) == 0


def test_one_file() -> None:
    write(results("photos/1.jpg", output="red.png"))
    with pytest.raises(ValueError, match=r"red.png exists: choose another"):
        results("photos/1.jpg", output="red.png")
    write(results("photos/1.jpg", output="red.png", overwrite=True))
    assert not Path(NAME).exists()
    with pytest.raises(ValueError, match=r"two images would be written to red.png"):
        results(output="red.png", overwrite=True)


@pytest.mark.parametrize(
    ("name", "formats", "video", "message"),
    [
        ("x.gif", ALL[:1], False, "no .gif file is written"),
        ("x.AVI", ALL[:1], True, "no .AVI file is written"),
        ("x.mov", ALL[:1], True, "holds the cut-out video alone: add -f prores"),
        ("x.webm", ("webm",), False, "no .webm: name a folder"),
        ("x.jsonl", ALL[3:], False, "a .json for run lengths"),
        ("x.json", ALL[:1], False, "holds run lengths alone"),
        ("x.png", ALL[:1], True, "the result of a video is no .png"),
        ("x.mp4", ALL[:1], False, "the result of an image is no .mp4"),
        ("file", ALL, False, "file is no folder"),
    ],
)
def test_an_output_that_cannot_be(name: str, formats: tuple[str, ...], video: bool, message: str) -> None:
    Path("file").touch()
    with pytest.raises(ValueError, match=message):
        plan_paths("a", Path(name), formats, video)


def test_run_lengths_alone_and_folders_with_dots() -> None:
    assert plan_paths("a", Path("x.json"), ALL[3:], False) == ResultPaths({"rle": Path("x.json")})
    assert plan_paths("a", Path("run.v1"), ALL[:1], False).paths == [Path("run.v1/a_overlay.png")]
    Path("x.png").mkdir()
    assert format_of_file(Path("x.png")) is None
    assert plan_paths("a", Path("x.png"), ALL[:1], False).paths == [Path("x.png/a_overlay.png")]


def test_what_a_palette_hides_is_told() -> None:
    places = ResultPaths({"palette": Path("p.png")})
    with ResultWriter(places, ResultInfo(PROMPTS, "x")) as writer:
        found = result().predictions
        found[0].mask[:, 2:] = False  # all of it lies in the second, which has the higher score
        writer.write(FrameResult(0, np.zeros((4, 4, 3), np.uint8), found))
    (told,) = writer.notes()
    assert "the palette shows 0 of 4 pixels of 'the cat', which 'dog' covers" in told
    assert covered(np.array([[3, 2], [0, 9]]), PROMPTS) == []
    assert covered(np.zeros((2, 2), int), PROMPTS) == []
