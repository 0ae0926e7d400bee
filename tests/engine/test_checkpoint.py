from __future__ import annotations

import errno
import io
import logging
import os
import pickle
import random
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from instructseg.engine import checkpoint
from instructseg.engine.checkpoint import (
    latest,
    load_checkpoint,
    load_weights,
    restore,
    save_checkpoint,
    save_weights,
)
from instructseg.engine.disk import check_writable, clear_temporaries
from instructseg.files import temporary_path
from tests.engine.fakes import TinyModel


def save(folder: Path, step: int, model: nn.Module | None = None, keep: int = 2) -> Path:
    return save_checkpoint(folder, step, model or TinyModel(), {}, {"step": step}, keep)


class Evil:
    def __reduce__(self) -> object:
        return os.system, ("exit 1",)


def greedy(path: Path) -> None:
    """A state that asks for 20 GB by forty bytes."""
    archive = io.BytesIO()
    torch.save({}, archive)
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            pickled = b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\x00\xc8\x17\xa8\x04\x85R."
            is_pickle = entry.filename.endswith("data.pkl")
            new.writestr(entry.filename, pickled if is_pickle else old.read(entry))


DAMAGES = {
    "weights cut": lambda folder: os.truncate(folder / "model.safetensors", 100),
    "weights empty": lambda folder: os.truncate(folder / "model.safetensors", 0),
    "weights missing": lambda folder: (folder / "model.safetensors").unlink(),
    "weights of whole numbers": lambda folder: save_file(
        {name: tensor.int() for name, tensor in TinyModel().state_dict().items()}, folder / "model.safetensors"
    ),
    "averages cut": lambda folder: os.truncate(folder / "ema.safetensors", 4),
    "averages of another model": lambda folder: save_file({"x": torch.ones(1)}, folder / "ema.safetensors"),
    "state cut": lambda folder: os.truncate(folder / "state.pt", 300),
    "state missing": lambda folder: (folder / "state.pt").unlink(),
    "state is a list": lambda folder: torch.save([1], folder / "state.pt"),
    "state of wrong types": lambda folder: torch.save({"step": "x"}, folder / "state.pt"),
    "state runs code": lambda folder: torch.save({"step": Evil()}, folder / "state.pt"),
    "state is a pickle": lambda folder: (folder / "state.pt").write_bytes(pickle.dumps({"step": 1})),
    "state is greedy": lambda folder: greedy(folder / "state.pt"),
    "empty": lambda folder: [shutil.rmtree(folder), folder.mkdir()],
}


def test_a_checkpoint_is_read_back(tmp_path: Path) -> None:
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


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = TinyModel()
    save(tmp_path, 1, first)
    for step, (name, damage) in enumerate(DAMAGES.items(), start=2):
        save(tmp_path, step, keep=9)
        damage(tmp_path / f"checkpoint-{step}")
        model = TinyModel()
        with caplog.at_level(logging.WARNING):
            found = restore(tmp_path, model)
        assert found is not None and found[0].name == "checkpoint-1", name
        assert torch.equal(model.head.weight, first.head.weight)
        assert "resuming from checkpoint-1 instead" in caplog.records[-1].getMessage(), name
        assert "\n" not in caplog.records[-1].getMessage()
        assert (tmp_path / f"damaged-checkpoint-{step}").is_dir()
    assert latest(tmp_path) == tmp_path / "checkpoint-1"


@pytest.mark.parametrize("name", sorted(DAMAGES))
def test_without_a_readable_checkpoint_the_error_is_one_line(tmp_path: Path, name: str) -> None:
    DAMAGES[name](save(tmp_path, 1))
    with pytest.raises(
        ValueError, match=r"cannot resume: .*checkpoint-1.*output_dir to start a new run"
    ) as caught:
        restore(tmp_path, TinyModel())
    assert "\n" not in str(caught.value)
    assert (tmp_path / "checkpoint-1").is_dir()


@pytest.mark.parametrize("seed", range(3))
def test_damaged_bytes_are_an_error_of_one_line(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    model = TinyModel()
    optimizer = torch.optim.AdamW(model.parameters())
    model.head(torch.ones(4)).sum().backward()
    optimizer.step()
    state = {"step": 3, "optimizer": optimizer.state_dict()}
    averages = {"head.weight": torch.randn(4, 4)}
    folder = save_checkpoint(tmp_path, 3, model, averages, state, 1)
    whole = {file: file.read_bytes() for file in sorted(folder.iterdir())}
    for _ in range(40):
        file = rng.choice(sorted(whole))
        content = bytearray(whole[file])
        for _ in range(rng.choice([1, 4, 32])):
            place = rng.randrange(min(len(content), rng.choice([64, 1024, len(content)])))
            content[place] = rng.randrange(256)
        file.write_bytes(content[: rng.choice([len(content), rng.randrange(len(content))])])
        try:
            load_checkpoint(folder, TinyModel())
        except ValueError as error:
            assert "\n" not in str(error) and str(folder) in str(error)
        file.write_bytes(whole[file])


def test_files_have_the_usual_modes(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    folder = save(tmp_path, 1)
    assert {file.stat().st_mode for file in folder.iterdir()} == {(tmp_path / "plain").stat().st_mode}


def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = save(tmp_path, 1)
    for name, error in (
        ("save_model", SafetensorError("I/O error: No space left on device (os error 28)")),
        ("save_file", OSError(errno.ENOSPC, "No space left on device")),
    ):

        def full(*_: object, error: Exception = error) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, name, full)
            with pytest.raises(
                OSError, match=r"cannot write .*checkpoint-2 \(no space left .* --resume"
            ) as caught:
                save(tmp_path, 2)
        assert caught.value.errno == errno.ENOSPC
        assert [path.name for path in tmp_path.iterdir()] == [first.name]


def test_leftovers_of_killed_processes_are_cleared(tmp_path: Path) -> None:
    for name in (".tmp-checkpoint-3", ".tmp-old-checkpoint-1", ".tmp-final", ".zero", "checkpoint-2"):
        (tmp_path / name).mkdir()
    for name in (".hidden", "metrics.jsonl"):
        (tmp_path / name).touch()
    temporary_path(tmp_path / "best.json").touch()
    clear_temporaries(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-2", ".hidden", "metrics.jsonl"}


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write to the folder .*run \(.*\): choose another output_dir"):
        check_writable(tmp_path / "file" / "run")
