"""Uploads of the video benchmarks: written, packed, and every fault found."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from instructseg.benchmarks.submission import (
    LAYOUTS,
    ExpectedVideo,
    pack,
    validate,
    write_labels,
    write_mask,
)

FRAMES = ("00000", "00005")
VIDEO = ExpectedVideo("UVO/all/x", FRAMES, ("0", "1"), (4, 6))
MASK = np.eye(4, 6, dtype=bool)


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    for expression in VIDEO.expressions:
        for frame in FRAMES:
            write_mask(tmp_path / "out", VIDEO.name, expression, frame, MASK)
    return tmp_path / "out"


@pytest.mark.parametrize(
    ("layout", "top"), [(LAYOUTS["ref-youtube-vos"], "Annotations/"), (LAYOUTS["mevis"], "")]
)
def test_zips(predictions: Path, layout, top: str) -> None:
    target = predictions.parent / "upload" / "submission.zip"
    pack(predictions, target, layout)
    with zipfile.ZipFile(target) as archive:
        assert archive.namelist() == [
            f"{top}UVO/all/x/{expression}/{frame}.png" for expression in "01" for frame in FRAMES
        ]
        with archive.open(archive.namelist()[0]) as file:
            image = Image.open(file)
            assert image.mode == "L"
            assert np.array_equal(np.asarray(image), MASK * 255)
    assert validate(target, layout, [VIDEO]) == []
    first = target.read_bytes()
    pack(predictions, target, layout)
    assert target.read_bytes() == first
    wrong = LAYOUTS["mevis"] if layout is LAYOUTS["ref-youtube-vos"] else LAYOUTS["ref-youtube-vos"]
    assert sum("missing" in fault for fault in validate(target, wrong, [VIDEO])) == 4


def test_every_fault_of_a_folder_is_found(predictions: Path) -> None:
    assert validate(predictions, LAYOUTS["folders"], [VIDEO]) == []
    folder = predictions / VIDEO.name
    (folder / "0/00000.png").unlink()
    Image.fromarray(np.full((4, 6), 128, np.uint8)).save(folder / "0/00005.png")
    (folder / "1/00000.png").write_bytes(b"no image")
    write_mask(predictions, VIDEO.name, "1", "00005", MASK[:3])
    write_mask(predictions, VIDEO.name, "2", "00000", MASK)
    assert validate(predictions, LAYOUTS["folders"], [VIDEO]) == [
        "UVO/all/x/0/00000.png: missing",
        "UVO/all/x/0/00005.png: has values other than 0 and 255",
        "UVO/all/x/1/00000.png: damaged",
        "UVO/all/x/1/00005.png: 3x6 pixels instead of 4x6",
        "UVO/all/x/2/00000.png: not asked for",
    ]


def test_the_frames_of_a_video_agree_where_no_size_is_known(predictions: Path) -> None:
    write_mask(predictions, VIDEO.name, "1", "00000", MASK[:3])
    (fault,) = validate(predictions, LAYOUTS["folders"], [ExpectedVideo(VIDEO.name, FRAMES, ("0", "1"))])
    assert fault == "UVO/all/x/1/00000.png: 3x6 pixels instead of 4x6"


def test_davis_wants_palette_images(tmp_path: Path) -> None:
    for frame in FRAMES:
        write_labels(tmp_path, "swan", frame, MASK.astype(np.uint8) * 2)
    video = ExpectedVideo("swan", FRAMES)
    assert validate(tmp_path, LAYOUTS["davis"], [video]) == []
    Image.fromarray(MASK.astype(np.uint8)).save(tmp_path / "swan/00000.png")
    (fault,) = validate(tmp_path, LAYOUTS["davis"], [video])
    assert fault == "swan/00000.png: a PNG of mode L instead of a PNG of mode P"


def test_missing_files_and_wrong_kinds(predictions: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing to check"):
        validate(predictions / "nowhere", LAYOUTS["folders"], [])
    with pytest.raises(FileNotFoundError, match="no masks below"):
        pack(predictions.parent / "empty", predictions.parent / "a.zip", LAYOUTS["mevis"])
    with pytest.raises(ValueError, match="takes the folder itself"):
        pack(predictions, predictions.parent / "a.zip", LAYOUTS["folders"])
    assert "should be a zip file" in validate(predictions, LAYOUTS["mevis"], [])[0]
    text = predictions.parent / "a.zip"
    text.write_text("no zip")
    assert "is no zip file" in validate(text, LAYOUTS["mevis"], [])[0]
    assert "should be a folder" in validate(text, LAYOUTS["folders"], [])[0]
