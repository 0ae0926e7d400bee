"""What ``zoom`` gains on names: what is asked, and the command on a tiny model."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instructseg.files import read_json
from instructseg.inference import ImagePredictor
from instructseg.prediction import Prediction
from recipes.mini import closer
from recipes.mini.photographs import read_photographs
from tests.recipes.mini.test_names import small

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # of pycocotools


class Marking:
    """Marks everything, and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], dict[str, Any]]] = []

    def predict(self, image: np.ndarray, texts: list[str], **options: Any) -> list[Prediction]:
        self.asked.append((texts, options))
        everything = np.ones(image.shape[:2], bool)
        return [Prediction(everything, 0.9, 0.9, text, instruction_id=n) for n, text in enumerate(texts)]


def test_every_category_is_asked_for_as_a_whole(root: Path) -> None:
    marking = Marking()
    results, seconds = closer.named(marking, read_photographs(root, "train"), 2)  # type: ignore[arg-type]
    assert all(options == {"threshold": 0.0, "zoom": 2, "union": True} for _, options in marking.asked)
    assert sorted(one.case.text for one in results) == sorted(t for texts, _ in marking.asked for t in texts)
    assert {one.case.kind for one in results} == {"category"} and seconds >= 0
    for one in results:
        shared, total = one.overlap
        assert 0 < shared < total and one.iou == shared / total


def test_the_command_writes_the_figures(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(root, tmp_path / "photos")
    file = tmp_path / "photos" / "annotations.json"
    content = read_json(file)
    content["images"][0] |= {"source": "coco", "split": "val"}
    file.write_text(json.dumps(content))
    ImagePredictor(*small()).save_pretrained(tmp_path / "tiny")
    monkeypatch.setattr(
        sys, "argv", ["closer", "--photos", "photos", "--model", "tiny", "--output", "found.json"]
    )
    monkeypatch.chdir(tmp_path)
    closer.main()
    found = read_json(Path("found.json"))["found"]
    assert [one["zoom"] for one in found] == list(closer.ZOOMS)
    assert all([row["row"] for row in one["rows"]] == list(closer.ROWS) for one in found)
    assert all(
        [row["photographs"] for row in one["rows"]] == [0, 0, 0] for one in found
    )  # no category of its own
    printed = capsys.readouterr().out
    assert all(f"{one['seconds']:.2f} s a photograph" in printed for one in found)
