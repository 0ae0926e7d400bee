"""A new output format costs one class and one row of the table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typer.testing import CliRunner

from instructseg.cli import app
from instructseg.results import FORMATS, Format, parse_formats
from instructseg.results.formats import mask_names
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


def test_unknown_formats_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown format 'gif': use overlay, masks, palette, rle"):
        parse_formats(["overlay,gif"])
    with pytest.raises(ValueError, match="no format is given"):
        parse_formats([" , "])


def test_names_of_masks() -> None:
    assert mask_names(["The Cat!", "", "犬"]) == ["1-the-cat", "2", "3-犬"]
    with pytest.raises(ValueError, match="room for 255 prompts, not 256"):
        FORMATS["palette"].check(["a"] * 256)
    assert np.all([one.content(["a"], video=False) is None for name, one in FORMATS.items() if name != "masks"])
