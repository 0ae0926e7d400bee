"""The benchmark compares equal results; its plain side is one more oracle, at full size."""

import importlib.util
import json
from pathlib import Path

import pytest


def test_both_sides_of_the_benchmark_agree(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Path(__file__).parents[2] / "perf" / "metrics.py"
    spec = importlib.util.spec_from_file_location("benchmark_metrics", script)
    assert spec and spec.loader
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    monkeypatch.setattr("sys.argv", ["metrics.py", "--json", "--frames", "3"])
    benchmark.main()
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 3
    assert all(row["difference"] < 1e-9 for row in rows)
