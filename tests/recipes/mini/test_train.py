"""The recipe by its configurations: what they say, and both lessons from start to figures at tiny size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from instructseg.inference import ImagePredictor
from instructseg.loading import load
from recipes.mini.table import told
from recipes.mini.train import WEIGHTS, evaluate, read_run, train
from tests.recipes.mini.test_names import small


def test_the_configurations_say_where_and_how_long() -> None:
    run = read_run("configs/mini.yaml", ["photos=elsewhere", "minutes=9", "lessons=[instructions]"])
    assert (run.photos, run.minutes, run.lessons) == (Path("elsewhere"), 9, ("instructions",))
    coco = read_run("configs/mini_coco.yaml")
    assert coco.images == Path("data/coco/train2017") and coco.expressions[0].name == "refs(unc).p"
    assert coco.minutes is None and coco.output_dir == Path("runs/mini_coco")
    with pytest.raises(ValueError, match="lessons"):
        read_run("configs/mini.yaml", ["lessons=[words]"])


def test_both_lessons_and_their_figures(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipes.mini.train.TABLE", "model.language.model.embed_tokens")  # that of `small`
    content = json.loads((root / "annotations.json").read_text())
    for entry in content["images"]:  # of both splits, and of one source without a weight
        entry.pop("split")
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    ImagePredictor(*small()).save_pretrained(tmp_path / "start")
    words = [
        f"annotations={tmp_path / 'annotations.json'}", f"images={root / 'images'}", "steps=2", "views=2",
        f"start={tmp_path / 'start'}", f"output_dir={tmp_path / 'run'}", f"photos={tmp_path}", "minutes=null",
    ]  # fmt: skip
    run = read_run("configs/mini.yaml", words)
    assert run.weights == {"yard": 1.0, "thing": 1.0} and not WEIGHTS.keys() & run.weights.keys()
    folder = train("configs/mini.yaml", words)
    assert load(folder, device="cpu").predict(root / "images/yard.png", "the dog", threshold=0)
    with pytest.raises(ValueError, match="add --resume"):
        train("configs/mini.yaml", words)
    assert train("configs/mini.yaml", words, resume=True) == folder
    values = evaluate("configs/mini.yaml", words)
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == values
    assert "presence threshold for a T-acc of 90%: 0." in told(values)
    asked = {row["row"]: row["n"] for row in values["rows"]}
    assert asked["main object (ecssd)"] == 0 and asked["all references, cIoU"] > 5
    assert len(values["rows"]) == 16  # there are no videos
