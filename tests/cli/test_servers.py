"""``instructseg serve``: choices are checked before torch is imported; the rest is in ``tests/serve``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from typer.testing import CliRunner

from instructseg.cli import app, servers
from instructseg.cli.servers import ModelChoice
from instructseg.serve import web_page
from tests.pages import ROOT

TINY = ROOT / "recipes" / "systems" / "package" / "instructseg_tiny"


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


def test_another_system_may_have_images_alone() -> None:
    images, videos = ModelChoice(str(TINY / "visionllm-tiny"), "cpu").load()
    assert videos is None and type(images).__name__ == "VisionLLMPredictor"
    with pytest.raises(ValueError, match="neither quantized"):
        ModelChoice(str(TINY / "visionllm-tiny"), quantize="int8").load()


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What would be served, by the service or by the page."""
    given: dict[str, Any] = {}
    monkeypatch.setattr(uvicorn, "run", lambda service, **options: given.update(service=service))
    monkeypatch.setattr(web_page, "launch_page", lambda loads, *where: given.update(loads=loads, where=where))
    find = servers.util.find_spec
    monkeypatch.setattr(
        servers.util, "find_spec", lambda name, *of: name if name == "gradio" else find(name, *of)
    )
    monkeypatch.setattr(servers.signal, "signal", lambda *_: None)
    return given


@pytest.mark.parametrize("command", ["serve", "app"])
@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("nope", "no folder 'nope', and that is no name of a hub repository"),
        ("no/folder/here", "no folder 'no/folder/here'"),
        ("empty", "empty is no checkpoint: it has no config.json"),
        ("bert", "holds a model of type 'bert'"),
    ],
)
def test_a_name_that_is_no_model_ends_the_start(
    command: str, model: str, said: str, launched: dict[str, Any], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("bert").mkdir()
    Path("bert/config.json").write_text('{"model_type": "bert"}')
    result = CliRunner().invoke(app, [command, "--model", model])
    assert result.exit_code == 2 and said in result.output and "Traceback" not in result.output
    assert len(result.output.splitlines()) == 1 and not launched


def test_a_page_has_a_list_of_models(launched: dict[str, Any]) -> None:
    other = str(TINY / "instructcv-tiny")
    result = CliRunner().invoke(app, ["app", "--model", other, "-m", "nano", "--device", "cpu"])
    assert result.exit_code == 0 and "http://127.0.0.1:7860" in result.output, result.output
    assert list(launched["loads"]) == [other, "nano"] and launched["where"] == ("127.0.0.1", 7860, 200 * 10**6)
    first = launched["loads"][other]
    assert first() is first() and first()[1] is None  # it is loaded at the start, the others when chosen
    result = CliRunner().invoke(app, ["app", "--model", "nano", "--model", "nope"])
    assert result.exit_code == 2 and "no folder 'nope'" in result.output
