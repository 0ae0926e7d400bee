from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from instructseg.engine.trackers import open_trackers


def test_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorboard", "wandb"):
        monkeypatch.setitem(sys.modules, name, None)
        with (
            pytest.raises(ValueError, match=f"'{name}' needs an extra package: pip install {name}"),
            open_trackers((name,), tmp_path, 0, "project"),
        ):
            pass


def test_tensorboard_writes_the_values(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with open_trackers(("tensorboard",), tmp_path, 0, "project") as (write,):
        write(1, {"loss": 2.0, "res/mask": 1.0})
        write(2, {"loss": 1.0})
    read = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in read.Scalars("loss")] == [(1, 2.0), (2, 1.0)]
    assert len(read.Scalars("res/mask")) == 1


def test_run_of_weights_and_biases_is_one_over_resumptions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, logged = [], []
    run = SimpleNamespace(
        log=lambda values, step: logged.append((step, values)), finish=lambda: logged.append("end")
    )
    module = ModuleType("wandb")
    module.util = SimpleNamespace(generate_id=lambda: f"id{len(started)}")
    module.init = lambda **arguments: started.append(arguments) or run
    monkeypatch.setitem(sys.modules, "wandb", module)
    for step in (1, 2):
        with open_trackers(("wandb",), tmp_path, step, "project") as (write,):
            write(step, {"loss": 1.0})
    assert [(one["project"], one["id"], one["resume"]) for one in started] == [("project", "id0", "allow")] * 2
    assert logged == [(1, {"loss": 1.0}), "end", (2, {"loss": 1.0}), "end"]
