"""A trimmed folder of golden tensors of the official code: stages, losses, matches, gradients, scores."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests import golden_check

FOLDER = Path(__file__).parent / "data" / "golden" / "fixture_a"


def test_every_recorded_stage_agrees(capsys: pytest.CaptureFixture[str]) -> None:
    code = golden_check.check(FOLDER)
    printed = capsys.readouterr().out
    assert code == 0, printed[-2000:]
    assert "train_reason_grid/grad.seg_query" in printed
    assert "train_reason_grid/match.04.b1.query" in printed
    assert "video_eval/final.scores" in printed
    assert "mmconv/loss.loss_llm" in printed


@pytest.mark.parametrize("name", ["ovp_layers.layers.2.1.3.weight", "predictor.decoder_norm.bias"])
def test_a_changed_weight_is_noticed(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in ("config.json", "hf_config.json", "inputs.npz", "outputs_video_eval.npz"):
        shutil.copyfile(FOLDER / file, tmp_path / file)
    tensors = load_file(FOLDER / "weights.safetensors")
    tensors[name] = tensors[name] * 1.05
    save_file(tensors, tmp_path / "weights.safetensors")
    assert golden_check.check(tmp_path) == 1
    assert "FAILED" in capsys.readouterr().out


def test_an_unknown_stage_and_not_a_number_fail(capsys: pytest.CaptureFixture[str]) -> None:
    report = golden_check.Report()
    report.add("new.stage", None, 1.0)
    report.add("broken", (torch.tensor([np.nan]), torch.zeros(1)), 1.0)
    report.add("off", (torch.zeros(2), torch.zeros(3)), 1.0)
    report.add("left out", "for a reason", 1.0)
    assert report.close() == 1
    assert report.failed == ["new.stage", "broken", "off"]
    assert "not computed (for a reason)" in capsys.readouterr().out
