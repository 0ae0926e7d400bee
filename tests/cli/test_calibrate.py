"""The command that fits presence, on records with a known answer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from instructseg.cli import app
from instructseg.hub import DRAWN_MODEL
from instructseg.inference import ImagePredictor
from instructseg.inference.selection import AnswerOptions
from instructseg.media import load_image
from instructseg.visualization.reliability import EDGE, SIDE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the bundled weights' folder, and samples of an evaluation that is too sure by a factor of 2."""
    copy = Path(shutil.copytree(DRAWN_MODEL, tmp_path / "weights"))
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 4000)
    present = rng.random(4000) < 1 / (1 + np.exp(-logits))
    presence = 1 / (1 + np.exp(-2 * logits))
    lines = [
        json.dumps({"name": str(i), "presence": float(value), "is_nothing": not bool(there)})
        for i, (value, there) in enumerate(zip(presence, present, strict=True))
    ]
    (tmp_path / "samples.jsonl").write_text("\n".join([*lines, ""]))
    return copy


def run(*words: object, code: int = 0) -> str:
    ran = CliRunner().invoke(app, ["calibrate", *map(str, words)])
    assert ran.exit_code == code, ran.output
    return ran.output


def test_threshold_and_temperature_are_stored_with_the_weights(folder: Path, tmp_path: Path) -> None:
    file, samples = folder / "processor_config.json", tmp_path / "samples.jsonl"
    before = file.read_text()
    said = run(samples, "--model", folder, "--answered", "0.9")
    assert file.read_text() == before and "4000 instructions" in said and "T-acc 0.9" in said
    run(samples, "--model", folder, "--answered", "0.9", "--write")
    values = json.loads(file.read_text())
    assert values["presence_temperature"] == pytest.approx(2, rel=0.1)
    assert values["instance_threshold"] == json.loads(before)["instance_threshold"]
    rule = ImagePredictor.from_pretrained(folder, "cpu").rule(AnswerOptions())
    assert (rule.threshold, rule.temperature) == (values["presence_threshold"], values["presence_temperature"])
    again = run(samples, "--model", folder, "--answered", "0.9")  # on top of the temperature that is there
    found = float(again.split("temperature ")[1].split(":")[0])
    assert found == pytest.approx(values["presence_temperature"] ** 2, rel=1e-3)


def test_bundled_weights_are_named_and_not_written(folder: Path, tmp_path: Path) -> None:
    assert "4000 instructions" in run(tmp_path / "samples.jsonl", "--model", "nano")
    assert "--write needs a copy" in run(tmp_path / "samples.jsonl", "--model", "nano", "--write", code=2)


def test_the_diagram_has_a_disc_where_presence_and_share_meet(folder: Path, tmp_path: Path) -> None:
    lines = [
        json.dumps({"name": f"{presence}-{i}", "presence": presence, "is_nothing": i >= there})
        for presence, there in ((0.25, 75), (0.75, 25))  # the wrong way round
        for i in range(100)
    ]
    (tmp_path / "two.jsonl").write_text("\n".join([*lines, ""]))
    said = run(tmp_path / "two.jsonl", "-m", folder, "--diagram", tmp_path / "two.png")
    assert f"wrote {tmp_path / 'two.png'}" in said and "calibration error 0.500" in said
    drawn = load_image(tmp_path / "two.png")

    def colour(x: float, y: float) -> tuple[int, ...]:
        return tuple(drawn[round(EDGE + (1 - y) * SIDE), round(EDGE + x * SIDE)].tolist())

    assert colour(0.25, 0.75) == colour(0.75, 0.25) == (31, 119, 180)
    assert colour(0.4, 0.4) == (60, 60, 60) and colour(0.1, 0.4) == (255, 255, 255)
    assert "is a .png file" in run(tmp_path / "two.jsonl", "-m", folder, "--diagram", "a.svg", code=2)


def test_files_of_other_kinds_are_refused(folder: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text('{"name": "a", "score": 1}\n')
    assert "sample 'a' has no presence" in run(wrong, "-m", folder, code=2)
    wrong.write_text('{"name": "a", "presence": 0.5, "is_nothing": false}\n')
    assert "all 1 instructions are with a target" in run(wrong, "-m", folder, code=2)
    wrong.write_text("")
    assert "holds no sample" in run(wrong, "-m", folder, code=2)
    assert "is no folder of weights" in run(tmp_path / "samples.jsonl", "-m", tmp_path, code=2)
    assert "none.jsonl" in run(tmp_path / "none.jsonl", "-m", folder, code=2)
