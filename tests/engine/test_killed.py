"""Killed with SIGKILL at any moment, a run resumes and its loss curve is the same to the bit."""

from __future__ import annotations

import json
import multiprocessing
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.engine.dying import main

MOMENTS = ("step", "weights", "averages", "state", "rename", "delete")
TIMED = ("samples_per_second", "minutes", "minutes_left")


def start(folder: Path, moment: str) -> int | None:
    """Runs in a process of its own; returns the negative number of the signal that ended it."""
    process = multiprocessing.get_context("fork").Process(target=main, args=(str(folder), moment))
    process.start()
    process.join()
    return process.exitcode


def curve(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMED} for line in lines]


pytestmark = pytest.mark.usefixtures("on_cpu")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "true")
        main(str(folder), "never")
    return folder


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_resumes_to_the_same_curve(whole: Path, tmp_path: Path, moment: str) -> None:
    assert start(tmp_path, moment) == -signal.SIGKILL
    left = {path.name for path in tmp_path.glob("checkpoint-*")}
    assert left == ({"checkpoint-4"} if moment in ("step", "delete") else {"checkpoint-2"})
    main(str(tmp_path), "never")
    assert curve(tmp_path) == curve(whole)
    for file in ("final/model.safetensors", "checkpoint-9/model.safetensors", "checkpoint-9/ema.safetensors"):
        ours, theirs = load_file(tmp_path / file), load_file(whole / file)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-9", "final", "metrics.jsonl"}
