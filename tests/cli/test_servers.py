"""``instructseg serve``: choices are checked before torch is imported; the rest is in ``tests/serve``."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import uvicorn
from typer.testing import CliRunner

from instructseg.cli import app
from instructseg.cli.servers import ModelChoice


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--device", "gpu"], "did you mean cuda?"),
        (["--dtype", "fp16"], "did you mean float16?"),
        (["--quantize", "8bit"], "did you mean int8?"),
        (["--token", " "], "the token is empty"),
        (["--token", "é"], "ASCII"),
    ],
)
def test_mistakes_take_a_line(words: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["serve", *words])
    assert result.exit_code == 2 and said in result.output and "Traceback" not in result.output


def test_without_its_packages_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = CliRunner().invoke(app, ["serve"])
    assert result.exit_code == 2 and "pip install fastapi uvicorn" in result.output


def test_options_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(uvicorn, "run", lambda service, **options: given.update(options, service=service))
    monkeypatch.setenv("INSTRUCTSEG_TOKEN", "secret")
    result = CliRunner().invoke(app, ["serve", "--port", "9", "--max-upload", "3"])
    assert result.exit_code == 0, result.output
    assert (given["host"], given["port"]) == ("127.0.0.1", 9)
    assert (given["service"].upload, given["service"].token) == (3_000_000, "secret")


def test_the_model_is_that_of_the_command(checkpoint: Any) -> None:
    images, videos = ModelChoice(str(checkpoint)).load()
    assert images.model is videos.model and ModelChoice(str(checkpoint)).shown == str(checkpoint)
    assert ModelChoice().shown == "mini"
