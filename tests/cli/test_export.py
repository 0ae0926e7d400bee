"""``instructseg export``, and the options that make a model smaller."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from instructseg.cli import app
from instructseg.export import DESCRIPTION


@pytest.mark.slow
def test_export_writes_the_parts(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    arguments = ["export", "onnx", "--output", str(tmp_path / "parts")]
    odd = CliRunner().invoke(app, [*arguments, "--size", "65", "96"])
    assert odd.exit_code == 2 and "multiples of 32, not 65x96" in odd.output
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    described = json.loads((tmp_path / "parts" / DESCRIPTION).read_text())
    for part in described["parts"]:
        assert (tmp_path / "parts" / part["file"]).stat().st_size > 0
        assert str(tmp_path / "parts" / part["file"]) in result.output
    assert described["parts"][1]["inputs"][0]["shape"] == [1, 3, 64, 64]
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 2 and "exists: choose another folder, or add --overwrite" in again.output


def test_without_the_extra_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    result = CliRunner().invoke(app, ["export", "onnx", "--output", str(tmp_path / "parts")])
    assert result.exit_code == 2 and "pip install onnx onnxscript" in result.output
    assert not (tmp_path / "parts").exists()


def test_smaller_weights_and_a_limit(workspace: Path) -> None:
    words = ["image", "photo.png", "the red square", "--output"]
    result = CliRunner().invoke(app, [*words, "small", "--quantize", "int8", "--max-memory", "64GB"])
    assert result.exit_code == 0, result.output
    assert any((workspace / "small").iterdir())
    result = CliRunner().invoke(app, [*words, "none", "--max-memory", "1MB"])
    assert result.exit_code == 2 and "of memory are not enough: the smallest settings are" in result.output
    result = CliRunner().invoke(app, [*words, "none", "--quantize", "int2"])
    assert result.exit_code == 2 and "unknown quantization 'int2'" in result.output
