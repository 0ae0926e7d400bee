"""Prices of fewer tokens, and the frontier: the answers of the evaluation, and tables of what is measured."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from instructseg.inference.encoder import Encoder
from instructseg.inference.stream_options import SPEEDS
from instructseg.pretrained import load_pretrained
from perf import frontier, report, tokens
from perf.stages import FEW
from recipes.nano.config import load_config
from recipes.nano.evaluation.drawn import measure
from recipes.nano.evaluation.held_out import synthetic_dataset

CONFIG = Path(__file__).parents[2] / "configs/nano/test.yaml"


@torch.inference_mode()
@pytest.mark.parametrize("clips", [False, True])
def test_all_tokens_are_the_evaluation_of_the_model(clips: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        tokens, "SETTINGS", {name: tokens.SETTINGS[name] for name in (tokens.ALL, "coverage 0.2")}
    )
    model, processor = load_pretrained("nano")
    kind = "motion" if clips else "relation"
    scenes = synthetic_dataset(load_config(CONFIG).data, "test", clips, 2, {kind: 1.0})
    found: dict[str, list[float]] = {name: [] for name in tokens.SETTINGS}
    for index in range(2):
        for setting, one in tokens.on_scene(Encoder(model.eval(), processor), scenes.scene(index)):
            assert one.kind == kind
            found[setting].append(one.score)
    expected = [one.score for one in measure(model, processor, scenes)]
    assert found[tokens.ALL] == pytest.approx(expected, abs=1e-3)
    assert len(found["coverage 0.2"]) == len(expected)


def test_settings_are_named_by_what_they_keep() -> None:
    assert tokens.SETTINGS[tokens.ALL].keeps_all
    for name, choice in tokens.SETTINGS.items():
        if name != tokens.ALL:
            assert name.endswith(f" {min(choice.rate, choice.perceiver)}")
            assert choice.method in name or name.startswith(("both", "perceiver"))


def test_seconds_of_a_setting_are_those_of_its_stages() -> None:
    spent = {"siglip": 2.0, "swin": 3.0, "llm_video": 40.0, "llm_video_few": 8.0, "llm_video_official": 50.0}
    names = {"ovp", "masks", "masks_official"}
    names |= {f"{part}{way}" for part in ("pixel_decoder", "mask_decoder") for way in ("", "_official")}
    for kind in ("image", "video"):
        names |= {f"llm_{kind}{way}" for way in ("", "_official", *(f"_{few}" for few in FEW))}
        names.add(f"language_head_{kind}_official")
    full = {**dict.fromkeys(names, 0.0), **spent}
    stages = {"stages": {name: {"full_s": value} for name, value in full.items()}}
    official = 5 * 2.0 + 50 + 3
    assert frontier.seconds_of(stages, 8, "") == (2 + 3 + 5, official / 10)
    assert frontier.seconds_of(stages, 4, "few") == (2 + 3 + 2, official / 7)


def test_prices_of_tokens_in_tables() -> None:
    price = {"difference": -0.0012, "low": -0.003, "high": 0.0004}
    row = {"asked": "clip", "setting": "all", "ciou": 0.9, "instructions": 300, **price}
    image = {**row, "asked": "image", "ciou": 0.8}
    text = report.tokens({"rows": [row, {**row, "setting": "few"}, image, {**image, "setting": "few"}]})
    assert "| tokens read | clip (300) | image (300) |" in text
    assert "| all: cIoU, % | 90.00 | 80.00 |" in text
    assert "| few | -0.12 (-0.30 to +0.04) | -0.12 (-0.30 to +0.04) |" in text
    row = {"setting": "stride 8", "jf": 0.8123, **price, "full_s": 40.12, "ratio": 4.1}
    row |= dict(zip(("llm_stride", "keep_tokens"), SPEEDS["fast"], strict=True))
    text = report.frontier({"rows": [{**row, "setting": "stride 1", "llm_stride": 1, "keep_tokens": 0.1}, row]})
    assert "| stride 1 | 81.23 | – | 40.1 | 4.10 | – |" in text
    assert "| stride 8 | 81.23 | -0.12 (-0.30 to +0.04) | 40.1 | 4.10 | `fast` |" in text
