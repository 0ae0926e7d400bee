"""A new output format costs one class and one row of the table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from instructseg.cli import app
from instructseg.prediction import Prediction
from instructseg.results import FORMATS, Format, parse_formats, save_results
from tests.cli.conftest import bundled, checkpoint, clip_frames, nano, workspace

if TYPE_CHECKING:
    from instructseg.prediction import FrameResult

__all__ = ["bundled", "checkpoint", "clip_frames", "nano", "workspace"]


class Areas(Format):
    """A line of pixel counts per frame."""

    name, title = "toy", "the areas"
    image_files = (".areas",)

    @classmethod
    def place(cls, folder: Path, name: str, video: bool) -> Path:
        return folder / f"{name}.areas"

    def write(self, result: FrameResult) -> None:
        self.target.parent.mkdir(parents=True, exist_ok=True)
        with self.target.open("a") as file:
            print(*(int(found.mask.sum()) for found in result.predictions), file=file)


@pytest.mark.usefixtures("workspace")
def test_a_new_format_on_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, Areas.name, Areas)
    words = ["image", "photo.png", "the red circle", "the star"]
    assert CliRunner().invoke(app, [*words, "-f", "toy,masks"]).exit_code == 0
    (line,) = Path("out/photo.areas").read_text().splitlines()
    assert len(line.split()) == 2 and Path("out/photo_masks").is_dir()
    assert CliRunner().invoke(app, [*words, "-o", "one.areas"]).exit_code == 0
    assert Path("one.areas").read_text().split() == line.split()
    assert CliRunner().invoke(app, ["video", "clip.mp4", "the red circle", "-f", "toy"]).exit_code == 0
    assert len(Path("out/clip.areas").read_text().splitlines()) == 7


@pytest.mark.usefixtures("workspace")
def test_all_formats_of_images_and_videos() -> None:
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save("other.png")
    words = ["-f", ",".join(FORMATS), "--threshold", "0", "--legend", "none", "--edge", "1"]
    found = CliRunner().invoke(app, ["image", "photo.png", "other.png", "the red circle", "a star", *words])
    assert found.exit_code == 0, found.output
    names = {str(path.relative_to("out")) for path in Path("out").rglob("*") if path.is_file()}
    gathered = {one.gathered for one in FORMATS.values() if one.gathered}
    assert gathered <= names and all(f"wrote out/{name}" in found.stderr for name in gathered)
    for form in FORMATS.values():
        assert form.place(Path("out"), "photo", False).exists()
    with Image.open("out/photo_overlay.png") as drawn, Image.open("photo.png") as image:
        assert drawn.size == image.size
    again = CliRunner().invoke(app, ["image", "photo.png", "other.png", "the red circle", "a star", *words])
    assert "2 of 2 are done already" in again.stderr
    found = CliRunner().invoke(app, ["video", "clip.mp4", "the red circle", "-o", "v", *words])
    assert found.exit_code == 0, found.output
    for form in FORMATS.values():
        assert form.place(Path("v"), "clip", True).exists()
    found = CliRunner().invoke(app, ["video", "clip.mp4", "the red circle", "-o", "v", "--overwrite", *words])
    assert found.exit_code == 0, found.output


@pytest.mark.usefixtures("workspace")
def test_what_is_written_by_python_has_the_list_of_its_folder() -> None:
    found = Prediction(np.eye(9, dtype=bool), 1.0, 1.0, "the dog")
    black = np.zeros((9, 9, 3), np.uint8)
    for name in ("a", "b"):
        paths = save_results([found], "out", "yolo,davis", image=black, name=name)
    assert Path("out/yolo/data.yaml") in paths
    assert Path("out/DAVIS/ImageSets/2017/val.txt").read_text() == "a\nb\n"
    cat = Prediction(np.eye(9, dtype=bool), 1.0, 1.0, "the cat")
    with pytest.raises(ValueError, match=r"data\.yaml has other classes, those of .*choose another"):
        save_results([cat], "out", "yolo", image=black, name="c")


def test_unknown_formats_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown format 'gif': use overlay, outline, masks, "):
        parse_formats(["overlay,gif"])
    with pytest.raises(ValueError, match="no format is given"):
        parse_formats([" , "])
