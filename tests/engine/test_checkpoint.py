from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from instructseg.engine import checkpoint
from instructseg.engine.checkpoint import (
    latest,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
)
from tests.engine.fakes import TinyModel


def save(folder: Path, step: int, model: nn.Module | None = None, keep: int = 2) -> Path:
    return save_checkpoint(folder, step, model or TinyModel(), {}, {"step": step}, keep)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    model, other = TinyModel(), TinyModel()
    optimizer = torch.optim.AdamW(model.parameters())
    model.head(torch.ones(4)).sum().backward()
    optimizer.step()
    averages = {"head.weight": torch.randn(4, 4)}
    folder = save_checkpoint(tmp_path, 3, model, averages, {"step": 3, "optimizer": optimizer.state_dict()}, 1)
    found, state = load_checkpoint(folder, other)
    assert torch.equal(found["head.weight"], averages["head.weight"])
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    moments = state["optimizer"]["state"]
    assert state["step"] == 3 and all(
        torch.equal(moments[key]["exp_avg"], value["exp_avg"])
        for key, value in optimizer.state_dict()["state"].items()
    )


def test_last_ones_are_kept_and_the_latest_is_by_number(tmp_path: Path) -> None:
    for step in (8, 9, 10, 100):
        save(tmp_path, step)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-10", "checkpoint-100"}
    assert latest(tmp_path) == tmp_path / "checkpoint-100"
    assert latest(tmp_path / "nowhere") is None


@pytest.mark.parametrize("moment", ["save_model", "save_file"])
def test_half_written_is_never_picked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    first = save(tmp_path, 1)

    def die(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, moment, die)
        with pytest.raises(OSError, match="disk full"):
            save(tmp_path, 2)
    assert latest(tmp_path) == first
    assert save(tmp_path, 2) == latest(tmp_path)
    assert not list(tmp_path.glob(".tmp-*"))


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    model, other = TinyModel(), TinyModel()
    save(tmp_path, 1)
    load_checkpoint(save(tmp_path, 1, model), other)
    assert torch.equal(model.head.weight, other.head.weight)


def test_tied_weights(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(5, 3)
            self.head = nn.Linear(3, 5, bias=False)
            self.head.weight = self.words.weight

    model, other = Tied(), Tied()
    save_weights(model, tmp_path / "final")
    load_weights(other, tmp_path / "final")
    assert torch.equal(other.head.weight, model.words.weight)


def test_other_model_is_refused(tmp_path: Path) -> None:
    save_weights(nn.Linear(2, 2, bias=False), tmp_path)
    with pytest.raises(ValueError, match=r"model.safetensors is of another model: lacks \['bias'\]"):
        load_weights(nn.Linear(2, 2), tmp_path)


def test_another_size_is_refused(tmp_path: Path) -> None:
    save_weights(nn.Linear(2, 3), tmp_path)
    with pytest.raises(ValueError, match=r"model.safetensors is of another model: size mismatch for"):
        load_weights(nn.Linear(2, 2), tmp_path)


def test_missing_weights(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no weights at"):
        load_weights(TinyModel(), tmp_path / "nowhere")
