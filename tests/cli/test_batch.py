"""Several inputs in one run: failures are reported, the others continue, finished inputs are skipped."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from instructseg.cli import app
from instructseg.files import read_json
from instructseg.inference import ImagePredictor
from instructseg.inference.encoder import Encoder
from instructseg.jobs import segment
from instructseg.structures import Task
from tests.cli.test_segment import files, refused, run

pytestmark = pytest.mark.usefixtures("workspace")


def test_a_broken_image_does_not_end_a_folder() -> None:
    Path("frames/1.png").write_bytes(Path("frames/1.png").read_bytes()[:60])
    shutil.copy("photo.png", "frames/2.gif")
    result = run("image", "frames", "the red circle", "-f", "overlay", code=1)
    assert files() == ["0_overlay.png", "2.gif_overlay.png", "2.png_overlay.png"]
    assert "frames/0.png:\nthe red circle: " in result.stdout
    assert "error: frames/1.png is damaged" in result.stderr
    table = result.stderr.splitlines()[-3:]
    assert table[0].split() == ["failed", "reason"] and table[1].startswith("frames/1.png  is damaged")
    assert table[2] == "error: 1 of 4 images failed, the others are done"
    again = run("image", "frames", "the red circle", "-f", "overlay", "--json", code=1)
    assert "note: 3 of 4 are done already" in again.stderr
    (row,) = map(json.loads, again.stdout.splitlines())
    assert row["source"] == "frames/1.png" and "is damaged" in row["error"] and row["files"] == []
    assert "0_overlay.png exists, made with other prompts" in refused("image", "frames", "dog", "-f", "overlay")
    Path("frames/1.png").unlink()
    done = run("image", "frames", "the red circle", "-f", "overlay")
    assert not done.stdout and "note: 3 of 3 are done already" in done.stderr


def test_what_every_image_would_meet_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "shorten them" in refused("image", "frames", "red " * 600)
    assert "no/such/place" in refused("image", "frames", "a", "--model", "no/such/place")
    monkeypatch.setattr(segment, "load_image", lambda *_: 1 / 0)
    assert run("image", "frames", "a", code=1).stderr.count("ZeroDivisionError") == 6  # and in the table


def test_several_images_and_videos() -> None:
    shutil.copy("photo.png", "b.png")
    run("image", "photo.png", "b.png", "the red circle", "-f", "overlay")
    assert files() == ["b_overlay.png", "photo_overlay.png"]
    Path("videos").mkdir()
    for name in ("x.mp4", "y.mp4"):
        shutil.copy("clip.mp4", f"videos/{name}")
    Path("videos/z.mp4").write_bytes(b"none")
    result = run("video", "videos", "photo.png", "-p", "dog", "-f", "rle", "--json", "-o", "v", code=1)
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [Path(row["source"]).name for row in rows if "error" not in row] == ["x.mp4", "y.mp4", "photo.png"]
    assert files("v") == ["photo.json", "x.json", "y.json"]
    assert "1 of 4 videos failed" in result.stderr
    again = run("video", "videos", "photo.png", "-p", "dog", "-f", "rle", "-o", "v", code=1)
    assert "note: 3 of 4 are done already" in again.stderr


def test_run_lengths_name_the_frames_of_a_folder() -> None:
    for t, name in enumerate(("frame1.png", "frame2.png", "frame10.png")):
        Path(f"frames/{t}.png").rename(f"frames/{name}")
    run("video", "frames", "the red circle", "-o", "x.json")
    frames = json.loads(Path("x.json").read_text())["frames"]
    assert [frame["file"] for frame in frames] == ["frame1.png", "frame2.png", "frame10.png"]
    run("video", "clip.mp4", "the red circle", "-o", "y.json")
    assert "file" not in json.loads(Path("y.json").read_text())["frames"][0]


def test_the_input_is_never_replaced() -> None:
    before = {path: path.read_bytes() for path in (Path("photo.png"), Path("clip.mp4"))}
    assert "photo.png is the input" in refused("image", "photo.png", "a", "-o", "photo.png", "--overwrite")
    assert "clip.mp4 is the input" in refused("video", "clip.mp4", "a", "-o", "clip.mp4", "--overwrite")
    Path("frames").rename("0_masks")
    assert "0_masks is the input" in refused("image", "0_masks", "a", "-o", ".", "--overwrite")
    assert all(path.read_bytes() == content for path, content in before.items())


def test_no_other_file_that_is_read_is_replaced() -> None:
    Path("words.json").write_text("the red circle")
    Path("weights").mkdir()
    Path("weights/config.json").write_text("{}")
    read = "is a file that the run reads"
    asked = ("image", "photo.png", "--overwrite", "--prompts", "words.json", "-o")
    assert f"words.json {read}" in refused(*asked, "words.json")
    assert f"weights/config.json {read}" in refused(*asked, "weights/config.json", "--model", "weights")
    assert Path("words.json").read_text() == "the red circle"


def test_weights_that_do_not_explain(monkeypatch: pytest.MonkeyPatch) -> None:
    note = "note: these weights have not learned to explain: the mask comes without text"
    monkeypatch.setattr(Encoder, "write_text", lambda self, frame, texts, *_: [""] * len(texts))
    assert note in run("image", "photo.png", "the red circle", "--explain").stdout
    monkeypatch.setattr(ImagePredictor, "text_tasks", (Task.RES,))
    monkeypatch.delattr(Encoder, "write_text")  # such weights are not asked for an explanation
    told = run("image", "photo.png", "the red circle", "--explain", "--overwrite").stdout
    assert note in told and "presence" in told
    assert "have not learned to write text for" in refused(
        "image", "photo.png", "what?", "-o", "x", "--task", "vqa"
    )


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
def test_names_that_are_no_text() -> None:
    name = os.fsdecode(b"caf\xe9.png")
    Image.new("RGB", (8, 8)).save("plain.png")
    Path("plain.png").rename(name)
    assert r"caf\udce9.png' is not encoded in UTF-8" in refused("image", name, "a")
    assert "is not encoded in UTF-8" in refused("image", "photo.png", os.fsdecode(b"caf\xe9"))
    assert "is not encoded in UTF-8" in refused("image", "photo.png", "a", "-o", os.fsdecode(b"\xff"))
    Path("names").mkdir()
    Path(name).rename(f"names/{name}")
    shutil.copy("photo.png", "names/a.png")
    result = run("image", "names", "dog", "-f", "rle", "--json", code=1)
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert "error" not in rows[0] and "UTF-8" in rows[1]["error"]
    assert files() == ["a.json"]


def test_a_demo_replaces_no_file_of_the_user() -> None:
    Path("out").mkdir()
    shutil.copy("clip.mp4", "out/dog.mp4")
    for words in ([], ["--overwrite"]):
        refused("demo", *words)
    assert Path("out/dog.mp4").read_bytes() == Path("clip.mp4").read_bytes()


def test_a_table_of_images_with_their_own_prompts() -> None:
    Path("lists").mkdir()
    shutil.copy("photo.png", "lists/b.png")
    Path("lists/prompts.csv").write_text("image,prompt\n../photo.png,the star\nb.png,the dog\nb.png,a cat\n")
    run("image", "--prompts", "lists/prompts.csv", "-f", "masks,coco,yolo", "--threshold", "0")
    assert {name for name in files() if name.endswith(".png")} == {
        "photo_masks/1-the-star.png", "b_masks/1-the-dog.png", "b_masks/2-a-cat.png",
    }  # fmt: skip
    classes = [int(line.split()[0]) for line in Path("out/yolo/labels/b.txt").read_text().splitlines()]
    assert (
        classes == [1, 2] and "names:\n- the star\n- the dog\n- a cat" in Path("out/yolo/data.yaml").read_text()
    )
    again = run("image", "--prompts", "lists/prompts.csv", "-f", "masks,coco,yolo", "--threshold", "0")
    assert "2 of 2 are done already" in again.stderr
    with Path("lists/prompts.csv").open("a") as table:
        table.write("gone.png,the dog\nc.png,a cat\n")
    shutil.copy("photo.png", "lists/c.png")
    told = run("image", "--prompts", "lists/prompts.csv", "-f", "masks,coco,yolo", "--threshold", "0", code=1)
    assert "c_masks/1-a-cat.png" in files() and "error: no such image: lists/gone.png" in told.stderr
    assert "2 of 4 are done already" in told.stderr and "error: 1 of 2 images failed" in told.stderr
    assert "names its own inputs" in refused("image", "photo.png", "--prompts", "lists/prompts.csv")
    assert "Missing argument INPUT" in refused("image", "-p", "the dog")


def test_standard_input_and_members_of_a_shard() -> None:
    content = Path("photo.png").read_bytes()
    result = CliRunner().invoke(app, ["image", "-", "the star", "-f", "rle"], input=content)
    assert result.exit_code == 0 and files() == ["stdin.json"], result.output
    given = CliRunner().invoke(app, ["image", "-", "the star", "-o", "pdf"], input=b"%PDF-1.4")
    assert "error: standard input" in given.stderr and "is a PDF document" in given.stderr
    with tarfile.open("shard.tar", "w") as archive:
        archive.add("photo.png", "set/01.png")
        archive.add("clip.mp4", "02.mp4")
    run("image", "shard.tar", "the star", "-f", "rle", "-o", "shards")
    run("video", "shard.tar", "the star", "-f", "rle", "-o", "shards")
    assert files("shards") == ["02.json", "set/01.json"]
    assert json.loads(Path("shards/set/01.json").read_text())["frames"][0]["predictions"][0]["rle"]
    assert (
        "1 of 1 are done already" in run("video", "shard.tar", "the star", "-f", "rle", "-o", "shards").stderr
    )


def test_prompts_of_a_shard_count_where_no_others_are_given() -> None:
    prompts = {"a.txt": b"the star\n", "b.json": b'{"prompt": "the dog"}', "c.txt": b""}
    with tarfile.open("shard.tar", "w") as archive:
        for name in "abc":
            archive.add("photo.png", f"{name}.png")
        for name, content in prompts.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    assert "Missing argument PROMPT: shard.tar:c.png has none of its own" in refused("batch", "shard.tar")
    told = run("batch", "shard.tar", "a cat", "-f", "coco", "-o", "one").stderr
    assert "prompts that lie in shards or tables are left out" in told
    assert [one["name"] for one in read_json(Path("one/coco.json"))["categories"]] == ["a cat"]
    with tarfile.open("shard.tar", "a") as archive:
        entry = tarfile.TarInfo("c.json")
        entry.size = len(prompts["b.json"])
        archive.addfile(entry, io.BytesIO(prompts["b.json"]))
    for words in (("batch", "shard.tar"), ("image", "shard.tar")):
        run(*words, "-f", "coco,yolo", "--threshold", 0, "-o", words[0])
        found = read_json(Path(words[0]) / "coco.json")
        assert [one["name"] for one in found["categories"]] == ["the star", "the dog"]
        assert [one["category_id"] for one in found["annotations"]] == [1, 2, 2]
        assert "- the star\n- the dog" in Path(words[0], "yolo/data.yaml").read_text()
    assert "Missing argument PROMPT" in refused("batch", "photo.png")


def test_prompts_of_one_word_each_are_taken_on_request() -> None:
    assert "put a sentence in quotes" in refused("image", "photo.png", "the", "star")
    run("image", "photo.png", "the", "star", "--yes", "-f", "masks")
    assert files() == ["photo_masks/1-the.png", "photo_masks/2-star.png"]
