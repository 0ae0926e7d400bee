from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch

from instructseg.engine.metrics import Means, MetricsFile, Progress


def test_means_count_each_name_on_its_own() -> None:
    means = Means()
    means.add({"loss": torch.tensor(1.0, requires_grad=True), "text": 4.0})
    means.add({"loss": torch.tensor(2.0)})
    assert means.take() == {"loss": 1.5, "text": 4.0}
    assert means.take() == {}


def test_file_is_cut_back_to_the_resumed_step(tmp_path: Path) -> None:
    path = tmp_path / "run" / "metrics.jsonl"
    first = MetricsFile(path, 0)
    for step in (1, 2, 3):
        first.write(step, {"loss": step / 2})
    with path.open("a") as file:
        file.write('{"step": 4, "lo')  # the process was killed here
    second = MetricsFile(path, 2)
    second.write(3, {"loss": 9.0})
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert found == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 1.0}, {"step": 3, "loss": 9.0}]


def test_progress_is_logged_where_there_is_no_terminal(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "instructseg")
    with Progress(200) as progress:
        progress.show(50, {"loss": 0.123456, "lr": 1e-3}, 0.25, 3725.0)
    assert caplog.messages == ["step 50/200  loss 0.1235  lr 0.001  left 1:02:05"]


def test_other_processes_are_silent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "instructseg")
    with Progress(200, enabled=False) as progress:
        progress.show(50, {"loss": 1.0}, 0.25, 1.0)
    assert not caplog.messages
