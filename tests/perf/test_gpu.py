"""The GPU program runs whole at tiny size on a CPU; it stops in time and says what it left out."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from instructseg.model.tokens import TokenChoice
from perf import gpu, gpu_sections
from perf.device import Device, process_seconds
from perf.workload import build, configuration


@pytest.fixture(scope="module")
def bench() -> gpu_sections.Bench:
    return gpu.bench("cpu", tiny=True)


def test_a_trial_run_writes_every_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "gpu.json"
    sections = ["rates", "images", "stages", "parity"]
    monkeypatch.setattr(
        sys, "argv", ["gpu", "--tiny", "--minutes", "600", "--output", str(output), "--sections", *sections]
    )
    gpu.main()
    found = json.loads(output.read_text())
    assert list(found["sections"]) == sections
    assert not any({"error", "stopped", "left_out"} & set(entry) for entry in found["sections"].values())
    rows = {row["case"]: row for entry in found["sections"].values() for row in entry["rows"] if "case" in row}
    assert rows["image K=10"]["ratio"] > rows["image K=1"]["ratio"] > 0
    stage, rate = rows["llm_video"], found["sections"]["rates"]["rows"][0]["bfloat16"]
    assert stage["share"] == pytest.approx(1e3 * stage["tflop"] / stage["ms"] / rate)
    assert rows["llm_video"]["tflop"] > rows["llm_image"]["tflop"] > 0
    few = rows["llm_video_few"]["tflop"]
    assert rows["llm_video"]["tflop"] > few > rows["llm_video_few_both"]["tflop"] > 0
    assert rows["image K=10 few"]["ratio"] > 0
    assert rows["golden: float32, device against CPU"]["relative"] == 0
    assert rows["golden: bfloat16 against float32"]["same_sign"] > 0.98
    assert "image K=10" in capsys.readouterr().out


def test_videos_are_measured_beside_the_official_procedure(bench: gpu_sections.Bench) -> None:
    first = next(iter(gpu_sections.videos(bench)))
    assert first["case"] == "video K=1 stride 1"
    assert first["fps"] == pytest.approx(1e3 / first["ms"])
    assert first["ratio"] == pytest.approx(first["official_ms"] / first["ms"])


def test_videos_are_measured_with_few_tokens(
    bench: gpu_sections.Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_sections, "_pair", lambda bench, ours, *_: ours() or {})
    asked: list[object] = []
    monkeypatch.setattr(gpu_sections, "_video", lambda *_, **options: asked.append(options.get("keep_tokens")))
    cases = [row["case"] for row in gpu_sections.videos(bench)]
    assert asked == [None] * 4 + [TokenChoice(0.5), TokenChoice(0.2), TokenChoice(0.2, 0.2)] * 3
    assert cases[5:7] == ["video K=1 stride 1 few", "video K=1 stride 1 few_both"]


@pytest.mark.parametrize("section", ["profile", "variants", "training", "graphs"])
def test_later_sections_run(section: str, bench: gpu_sections.Bench) -> None:
    rows = list(gpu_sections.SECTIONS[section][0](bench))
    assert rows
    assert all(row["ms"] > 0 for row in rows)


def test_a_section_that_fails_or_takes_too_long_leaves_the_others(
    bench: gpu_sections.Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Any) -> Iterator[dict[str, Any]]:
        yield {"case": "first", "ms": 1.0}
        raise RuntimeError("no memory")

    def slow(_: Any) -> Iterator[dict[str, Any]]:
        yield {"case": "second", "ms": 2.0}
        time.sleep(30)

    sections = {"broken": (broken, 0.0), "slow": (slow, 0.0), "large": (slow, 1e9)}
    monkeypatch.setattr(gpu, "SECTIONS", sections)
    result: dict[str, Any] = {"sections": {}}
    gpu.run(bench, list(sections), process_seconds() + 1, result, tmp_path / "gpu.json")
    found = json.loads((tmp_path / "gpu.json").read_text())["sections"]
    assert found["broken"]["error"] == "RuntimeError: no memory"
    assert found["broken"]["rows"] == [{"case": "first", "ms": 1.0}]
    assert found["slow"]["stopped"]
    assert found["slow"]["rows"] == [{"case": "second", "ms": 2.0}]
    assert result["sections"]["large"]["left_out"]
    assert "second" in gpu.table(result)


def test_weights_in_bfloat16_leave_the_pixel_decoder_and_buffers_alone() -> None:
    plain, _ = build(configuration("nano"))
    model, _ = build(configuration("nano"), dtype=torch.bfloat16)
    types = {name: one.dtype for name, one in model.named_parameters()}
    assert all(dtype == torch.float32 for name, dtype in types.items() if name.startswith("pixel_decoder"))
    assert all(dtype == torch.bfloat16 for name, dtype in types.items() if not name.startswith("pixel_decoder"))
    for (name, one), (_, other) in zip(model.named_buffers(), plain.named_buffers(), strict=True):
        assert torch.equal(one, other), name


def test_a_device_counts_arithmetic_and_time() -> None:
    device = Device("cpu", repeats=3)
    a, b = torch.randn(64, 32), torch.randn(32, 16)
    found = device.measured(lambda: torch.mm(a, b), count=2)
    assert found["tflop"] == pytest.approx(2 * 64 * 32 * 16 / 2 / 1e12)
    assert device.seconds(lambda: time.sleep(0.01), 1) >= 0.01
    assert device.measure_rates(64)["bfloat16"] == device.rate > 0
    assert process_seconds() > 0


def test_every_weight_and_buffer_is_made_on_the_device() -> None:
    model, _ = build(configuration("nano"), device="meta")
    assert {tensor.device.type for tensor in (*model.parameters(), *model.buffers())} == {"meta"}
