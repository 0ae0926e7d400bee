"""``instructseg config`` lists what ships and prints it so that the copy is the same run."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from instructseg.cli import app
from instructseg.config import load_config
from instructseg.shipped import config_names


def said(*words: str) -> str:
    result = CliRunner().invoke(app, ["config", *words])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_list_has_a_line_for_each() -> None:
    lines = said("list").splitlines()
    assert [line.split()[0] for line in lines] == list(config_names())
    assert all(len(line.split()) > 2 for line in lines)


@pytest.mark.parametrize("name", ["nano-tune-video", "eval-refcoco", "instructseg-3b"])
def test_a_copy_is_the_same_run(name: str, tmp_path: Path) -> None:
    for number, words in enumerate((["show", name, "--merged"], ["show", name])):
        copy = tmp_path / f"{number}.yaml"
        copy.write_text(said(*words))
        assert load_config(copy) == load_config(name)


def test_overrides_are_merged_and_mistakes_take_a_line() -> None:
    assert "max_steps: 7" in said("show", "nano-tune", "train.max_steps=7", "--merged")
    for words in (["show", "tume"], ["show", "nano-tune", "train.max_steps=7"]):
        result = CliRunner().invoke(app, ["config", *words])
        assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1
