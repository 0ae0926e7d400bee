"""Saving predictions from Python."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from instructseg import FrameResult, Prediction, open_video, save_results

FRAME = np.zeros((16, 24, 3), np.uint8)


def prediction(text: str = "the cat", soft: bool = False) -> Prediction:
    mask = np.zeros(FRAME.shape[:2], bool)
    mask[4:8, 4:8] = True
    return Prediction(mask, 0.5, 0.9, text, mask.astype(np.float32) if soft else None)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_predictions_on_an_image(tmp_path: Path) -> None:
    found = [prediction(), prediction("a dog")]
    files = save_results(found, tmp_path, "overlay,masks,rle", image=FRAME, name="photo")
    assert files == [tmp_path / name for name in ("photo_overlay.png", "photo_masks", "photo.json")]
    assert names(tmp_path) == [
        ".instructseg.jsonl",
        "photo.json",
        "photo_masks/1-the-cat.png",
        "photo_masks/2-a-dog.png",
        "photo_overlay.png",
    ]
    assert json.loads((tmp_path / "photo.json").read_text())["instructions"] == ["the cat", "a dog"]
    with pytest.raises(ValueError, match=r"photo_overlay.png exists: .*overwrite=True"):
        save_results(found, tmp_path, image=FRAME, name="photo")
    save_results(found[:1], tmp_path, ["masks"], image=FRAME, name="photo", overwrite=True)
    assert not (tmp_path / "photo_masks/2-a-dog.png").exists()
    (tmp_path / "photo_masks/mine.txt").touch()
    with pytest.raises(ValueError, match=r"photo_masks holds mine.txt"):
        save_results(found, tmp_path, ["masks"], image=FRAME, name="photo", overwrite=True)


def test_results_of_a_video_are_written_while_they_come(tmp_path: Path) -> None:
    written: list[int] = []

    def results() -> object:
        for index in range(3):
            written.append(index)
            yield FrameResult(index, FRAME, [prediction()], index / 8)

    save_results(results(), tmp_path, fps=8)  # type: ignore[arg-type]
    assert written == [0, 1, 2]
    assert len(open_video(tmp_path / "result_overlay.mp4")) == 3
    assert len(list((tmp_path / "result_masks/1-the-cat").iterdir())) == 3


def test_mistakes_are_refused_before_a_file_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    for given, options, message in (
        ([], {}, "no predictions"),
        ([prediction()], {}, "predictions without their image need it"),
        ([prediction()], {"image": FRAME, "formats": "gif"}, "unknown format"),
        ([prediction()], {"image": FRAME, "soft": True}, "carry no probability"),
        ([prediction()], {"image": FRAME, "name": "../x"}, "is no file name"),
        ([prediction()], {"image": FRAME, "folder": tmp_path / "x.gif"}, "no .gif file is written"),
    ):
        with pytest.raises(ValueError, match=message):
            save_results(given, **{"folder": folder, **options})  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
    save_results([prediction(soft=True)], folder, "masks", image=FRAME, soft=True)
    assert names(folder) == [".instructseg.jsonl", "result_masks/1-the-cat.png"]


def test_an_interrupted_video_keeps_its_first_frames(tmp_path: Path) -> None:
    def results() -> object:
        yield FrameResult(0, FRAME, [prediction()], 0.0)
        yield FrameResult(1, FRAME, [prediction()], 0.5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"interrupted: the first 2 frames are in .*result_overlay.mp4"):
        save_results(results(), tmp_path, fps=2)  # type: ignore[arg-type]
    assert len(open_video(tmp_path / "result_overlay.mp4")) == 2
    with pytest.raises(ValueError, match="exists"):
        save_results([prediction()], tmp_path, "masks", image=FRAME)
    save_results([prediction()], tmp_path, "masks", image=FRAME, overwrite=True)
