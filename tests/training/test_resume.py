"""What a run is told, and refuses, before it computes anything, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from instructseg.training import run as module
from instructseg.training.record import RECORD, compare_record, write_record
from recipes.nano.config import load_config
from recipes.nano.train import train
from tests.forked import Program

ROOT = Path(__file__).parents[2]
TEXT = """
recipe: nano
model: {name: "preset:nano"}
output_dir: OUT
data: {images_per_batch: 1, expressions_per_scene: 1, scene: {height: [64, 72], width: [64, 72]}}
criterion: {num_points: 64}
train: {max_steps: 1, log_every: 1, save_every: 1, ema_decay: 0.0}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(TEXT.replace("OUT", str(tmp_path / "run")))
    return path


def begun(file: Path, *words: str) -> None:
    config = load_config(file, words)
    (config.output_dir / "train" / "checkpoint-1").mkdir(parents=True)
    write_record(config)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("train.seed=3", "train.seed was 0 and is 3"),
        ("data.images_per_batch=2", "data.images_per_batch was 1 and is 2"),
        ("train.accumulate=2", "train.accumulate was 1 and is 2"),
        ("train.optim.lr=1e-3", "train.optim.lr was 0.0001 and is 0.001"),
        ("data.scene.overlap=0.2", "data.scene.overlap was None and is 0.2"),
        ("criterion.text_weight=2", "criterion.text_weight was 1.0 and is 2.0"),
        ("model.overrides.decoder_layers=2", "model.overrides.decoder_layers was None and is 2"),
    ],
)
def test_other_settings_are_refused_unless_allowed(file: Path, word: str, told: str) -> None:
    begun(file)
    with pytest.raises(ValueError, match=f"began with other settings: {told}.*allow_changes=true") as caught:
        train(file, [word], resume=True)
    assert "\n" not in str(caught.value)
    compare_record(load_config(file, [word, "allow_changes=true"]))


def test_harmless_changes_are_only_logged(file: Path) -> None:
    begun(file)
    words = ["train.max_steps=9", "train.workers=2", "train.save_every=3", "export_dtype=float16"]
    compare_record(load_config(file, words))


def test_stages_that_have_not_begun_may_be_others(file: Path, tmp_path: Path) -> None:
    file.write_text(TEXT.replace("OUT", str(tmp_path / "run")) + "stages: {one: {}, two: {}}\n")
    config = load_config(file)
    (config.output_dir / "one" / "checkpoint-1").mkdir(parents=True)
    write_record(config)
    compare_record(load_config(file, ["stages.two.train.seed=4"]))
    with pytest.raises(ValueError, match=r"stages.one.train.seed was 0 and is 4"):
        compare_record(load_config(file, ["stages.one.train.seed=4"]))
    file.write_text(file.read_text().replace("{one: {}, two: {}}", "{zero: {}, one: {}}"))
    with pytest.raises(ValueError, match=r"stages was one and is zero, one"):
        compare_record(load_config(file))


def test_a_damaged_record_is_reported(file: Path, tmp_path: Path) -> None:
    begun(file)
    (tmp_path / "run" / RECORD).write_text("[1]")
    with pytest.raises(ValueError, match=r"settings.json is no record of settings: delete it"):
        compare_record(load_config(file))


def test_a_wrong_best_and_wrong_folders_fail_before_training(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="best: the evaluation has no metric 'nope'; the closest is 'clip/"):
        train(file, ["train.best=nope", "train.eval_every=1"])
    assert not any((tmp_path / "run").iterdir())  # the next try needs no --resume
    (tmp_path / "full").touch()
    monkeypatch.setattr(module, "build_model", lambda *_: pytest.fail("built"))
    with pytest.raises(OSError, match=r"cannot write to the folder .*full"):
        train(file, [f"output_dir={tmp_path / 'full' / 'run'}"])


def test_sigterm_ends_a_run_like_ctrl_c(file: Path, tmp_path: Path) -> None:
    script = str(ROOT / "train_net.py")
    running = Program(tmp_path, script, "--config-file", str(file), "train.max_steps=100000")
    metrics = tmp_path / "run" / "train" / "metrics.jsonl"
    for _ in range(1200):
        if not running.process.is_alive() or (metrics.is_file() and metrics.read_text().count("\n") >= 2):
            break
        time.sleep(0.05)
    os.kill(running.process.pid, signal.SIGTERM)
    code, _, told = running.ended(60)
    assert code == 130, told
    last = told.strip().splitlines()[-1]
    assert last.startswith("stopped after step ") and "--resume" in last and "Traceback" not in told
    step = json.loads(metrics.read_text().splitlines()[-1])["step"]
    assert (tmp_path / "run" / "train" / f"checkpoint-{step}").is_dir()
