"""A conversion replaces a checkpoint and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from instructseg.cli import app
from instructseg.cli.convert import check_target
from instructseg.inference import DRAWN_MODEL


def test_only_checkpoints_are_replaced(tmp_path: Path) -> None:
    check_target(tmp_path / "new", overwrite=True)
    target = tmp_path / "target"
    target.mkdir()
    for path in DRAWN_MODEL.iterdir():
        if path.is_file():
            (target / path.name).touch()
    for name in ("model.safetensors.index.json", "model-00001-of-00002.safetensors", "merges.txt"):
        (target / name).touch()
    check_target(target, overwrite=True)
    for name in ("notes.txt", "photo.jpg", "deep"):
        (target / name).mkdir() if name == "deep" else (target / name).touch()
        with pytest.raises(ValueError, match=f"target holds {name}, which no conversion wrote"):
            check_target(target, overwrite=True)
        (target / name).rmdir() if name == "deep" else (target / name).unlink()
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(ValueError, match="is no folder"):
        check_target(tmp_path / "link", overwrite=True)


@pytest.mark.parametrize(
    "words",
    [["official", "none"], ["export", "none"], ["start", "none", "none.pkl"]],
)
def test_what_is_no_checkpoint_stays(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    result = CliRunner().invoke(app, ["convert", *words, str(tmp_path), "--overwrite"])
    assert result.exit_code == 2 and "holds notes.txt" in result.stderr
    assert (tmp_path / "notes.txt").read_text() == "mine"
