"""Several objects for one prompt on the command line: options, files and summary, with the bundled model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from instructseg import VideoPredictor, load, load_image, load_video
from instructseg.cli import app

CIRCLES = ((30, 40), (90, 60), (150, 100))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.new("RGB", (192, 144), (240, 240, 240))
    pen = ImageDraw.Draw(image)
    for x, y in CIRCLES:
        pen.ellipse((x - 18, y - 18, x + 18, y + 18), fill=(220, 30, 30))
    pen.rectangle((20, 90, 60, 130), fill=(30, 60, 220))
    monkeypatch.chdir(tmp_path)
    image.save("shapes.png")


def run(*words: str, code: int = 0) -> str:
    ran = CliRunner().invoke(
        app, ["image", "shapes.png", *words, "--model", "nano", "--overwrite", "--threads", "1"]
    )
    assert ran.exit_code == code, ran.output
    return ran.output if code else ran.stdout


def centres(files: list[Path]) -> list[tuple[int, int]]:
    found = [np.nonzero(load_image(file)[..., 0]) for file in files]
    return sorted((round(float(x.mean())), round(float(y.mean()))) for y, x in found)


def near(found: list[tuple[int, int]], expected: tuple[tuple[int, int], ...]) -> bool:
    return len(found) == len(expected) and np.abs(np.array(found) - sorted(expected)).max() <= 2


def test_all_objects_that_fit() -> None:
    said = run("all the circles", "the blue square", "-f", "masks")
    assert "all the circles: 3 objects, score" in said and "the blue square: score" in said
    assert near(centres(sorted(Path("out/shapes_masks").glob("1-*.png"))), CIRCLES)
    assert near(centres(list(Path("out/shapes_masks").glob("2-*.png"))), ((40, 110),))


def test_options_decide_over_the_words() -> None:
    assert "3 objects" in run("the circle", "--all", "-f", "masks")
    assert "objects" not in run("all the circles", "--best", "-f", "masks", "-o", "best")
    assert len(list(Path("best/shapes_masks").iterdir())) == 1
    assert "objects" not in run("the circle", "--union", "-f", "masks", "-o", "union")
    (joined,) = Path("union/shapes_masks").iterdir()
    found = load("nano").predict("shapes.png", "the circle", all_instances=True)
    assert np.array_equal(load_image(joined)[..., 0] > 0, np.any([one.mask for one in found], axis=0))
    assert "union joins all instances" in run("the circle", "--union", "--best", code=2)


def test_nothing_is_said_in_words_and_is_no_error() -> None:
    said = run("both stars", "the star", "-f", "masks,rle,coco")
    assert said.count("nothing found") == 2
    rows = json.loads(Path("out/shapes.json").read_text())["frames"][0]["predictions"]
    assert [row["found"] for row in rows] == [False, False]
    assert json.loads(Path("out/shapes_coco.json").read_text())["annotations"] == []


@pytest.mark.parametrize("name", ["nano", "mini"])
def test_no_bundled_weights_explain_and_the_command_says_so(name: str) -> None:
    words = ["image", "shapes.png", "all the red ones", "--explain", "--model", name, "--threshold", "0"]
    ran = CliRunner().invoke(app, words)
    assert ran.exit_code == 0, ran.output
    assert "these weights have not learned to explain: the mask comes without text" in ran.stdout
    assert "presence" in ran.stdout and Path("out/shapes_masks").is_dir()


def test_objects_of_a_video_keep_their_ids() -> None:
    clip = []
    for t in range(8):
        image = Image.new("RGB", (192, 144), (240, 240, 240))
        pen = ImageDraw.Draw(image)
        for x, y in ((30 + 6 * t, 40), (150 - 6 * t, 100)):  # they cross
            pen.ellipse((x - 16, y - 16, x + 16, y + 16), fill=(220, 30, 30))
        clip.append(np.asarray(image))
    predictor = load_video("nano", device="cpu")
    assert isinstance(predictor, VideoPredictor)
    results = list(predictor.predict(clip, ["all the circles", "the star"]))
    upper, lower = set[int](), set[int]()
    for result in results:
        for one in result.of(0):
            assert one.box is not None
            (lower if one.box[1] > 60 else upper).add(one.id)
        (star,) = result.of(1)
        assert not star.found and star.id == 1
    assert upper | lower == {2, 3} and len(upper) == len(lower) == 1
    assert max(len(result.of(0)) for result in results) == 2
    smooth = list(predictor.predict(clip, "the circle", smooth=0.3))
    assert all(one.predictions[0].found and one.predictions[0].probability is None for one in smooth)


def test_classes_of_an_image_and_a_video() -> None:
    Path("classes.txt").write_text("circle\nblue square\nstar\n")
    for words in (["--classes", "circle, blue square,star"], ["--classes", "classes.txt"]):
        said = run(*words, "--arrange", "panoptic", "-f", "masks")
        assert "circle: 3 objects" in said and "blue square: score" in said and "star: nothing found" in said
    classes = ["circle", "blue square", "star"]
    panoptic, semantic = (
        load("nano").predict("shapes.png", classes, arrange=kind) for kind in ("panoptic", "semantic")
    )
    assert [one.label for one in panoptic] == ["circle", "circle", "circle", "blue square", "star"]
    assert [one.label for one in semantic] == classes and all(one.probability is None for one in semantic)
    frame = load_image("shapes.png")
    for kind, ids in (("instance", 3), ("semantic", 1)):
        for result in load_video("nano").predict(iter([frame]), classes, task="res", arrange=kind):  # type: ignore
            assert len({one.id for one in result.of(0)}) <= ids and result.of(0)[0].found
            assert not result.of(2)[0].found


def test_classes_exclude_other_prompts() -> None:
    assert "leave out other prompts" in run("--classes", "circle", "-p", "star", code=2)
    assert "--classes is empty" in run("--classes", " , ", code=2)
    assert "no such file of classes: none.txt" in run("--classes", "none.txt", code=2)
    assert "name them with --classes" in run("the circle", "--arrange", "semantic", code=2)
    assert "unknown arrange 'panoptik' (did you mean panoptic?)" in run(
        "--classes", "circle", "--arrange", "panoptik", code=2
    )
