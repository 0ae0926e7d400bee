"""An option of the command line is one field of ``Job``, with its help."""

from __future__ import annotations

from dataclasses import fields

import pytest
import typer

from instructseg.cli.app import app
from instructseg.jobs.job import Job


@pytest.mark.parametrize("command", ["image", "video", "demo"])
def test_commands_have_the_options_of_the_job(command: str) -> None:
    shown = typer.main.get_command(app).commands[command].params  # type: ignore[attr-defined]
    found = {one.name: one for one in shown if one.name not in ("words", "prompt", "prompts_file")}
    wanted = {one.name: one.metadata for one in fields(Job) if command in one.metadata["commands"]}
    assert set(found) == set(wanted)
    for name, metadata in wanted.items():
        assert found[name].help == metadata["option"].help and len(found[name].help) > 10
