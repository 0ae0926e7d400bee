"""Every object of a kind on photographs: what is asked and counted, and the command on a tiny model."""

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
from recipes.mini import all_objects
from recipes.mini.photographs import read_photographs
from recipes.mini.table import table
from recipes.nano.evaluation.all_objects import figures
from tests.pages import ROOT
from tests.recipes.mini.conftest import BOXES, rectangle
from tests.recipes.mini.test_names import small

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # of pycocotools
TRUE = {name: [rectangle(box) for one, box, *_ in BOXES["yard"] if one == name] for name in ("dog", "cat")}


class Knowing:
    """Gives the true masks of the first ``dogs`` dogs, and of the cats."""

    def __init__(self, dogs: int) -> None:
        self.dogs = dogs
        self.asked: list[list[str]] = []

    def predict(self, image: np.ndarray, texts: list[str], **options: Any) -> list[Prediction]:
        assert image.shape[:2] == TRUE["dog"][0].shape and options == {
            "threshold": 0,
            "all_instances": True,
            "zoom": 1,
        }
        self.asked.append(texts)
        given = {"dog": TRUE["dog"][: self.dogs], "cat": TRUE["cat"]}
        return [
            Prediction(mask, 0.9 - 0.1 * place, 0.9, text, instruction_id=number)
            for number, text in enumerate(texts)
            for place, mask in enumerate(given[text[-4:-1]])
        ]


@pytest.mark.parametrize(("dogs", "recall"), [(3, 1.0), (2, 0.75)])
def test_kinds_are_asked_where_each_object_is_annotated(root: Path, dogs: int, recall: float) -> None:
    knowing = Knowing(dogs)
    found = list(all_objects.answered(knowing, read_photographs(root, "train")))  # type: ignore[arg-type]
    assert knowing.asked == [
        ["all the cats", "every one of the cats", "all the dogs", "every one of the dogs"]
    ]  # grass is a region, and "thing" not complete
    assert [name for name, _ in found] == ["yard"] * 4
    assert [len(answer.truth) for _, answer in found] == [1, 1, 3, 3]
    row = figures([answer for _, answer in found], 0.5)
    assert row["recall"] == recall and row["precision"] == 1
    assert (row["AP50"] == pytest.approx(1)) == (dogs == 3)


def test_the_command_writes_the_figures(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(root, tmp_path / "photos")
    file = tmp_path / "photos" / "annotations.json"
    file.write_text(json.dumps(read_json(file)).replace('"train"', '"val"'))
    ImagePredictor(*small()).save_pretrained(tmp_path / "tiny")
    monkeypatch.setattr(all_objects, "DRAWS", 3)
    words = ["--photos", "photos", "--model", "tiny", "--output", "found.json"]
    monkeypatch.setattr(sys, "argv", ["all_objects", *words])
    monkeypatch.chdir(tmp_path)
    all_objects.main()
    found = read_json(Path("found.json"))
    assert (found["n"], found["objects"], found["photographs"]) == (4, 4, 1)
    names = [row["row"].removeprefix("all of a kind, ") for row in found["rows"]]
    assert names == ["precision", "recall", "F1", "exact", "gIoU", "AP50"]
    assert all(0 <= row["low"] <= row["value"] <= row["high"] <= 1 for row in found["rows"])
    printed = capsys.readouterr().out
    assert all(f"| {row['row']} | {row['value']:.3f} |" in printed for row in found["rows"])


def test_the_model_card_has_the_rows_of_the_figures() -> None:
    card = (ROOT / "instructseg" / "weights" / "mini" / "README.md").read_text(encoding="utf-8").splitlines()
    results = ROOT / "recipes" / "mini" / "results"
    assert set(table(read_json(results / "table.json")["rows"]).splitlines()) <= set(card)
    for row in read_json(results / "all_objects.json")["rows"]:
        assert f"| {row['row']} | {row['value']:.3f} | {row['low']:.2f} to {row['high']:.2f} |" in card
