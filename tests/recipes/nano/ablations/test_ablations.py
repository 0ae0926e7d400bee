"""Ablations change what they say they change, resume, and report what the files hold."""

from __future__ import annotations

import json
import os
import signal
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from instructseg.engine import Interrupted, Trainer
from instructseg.hub import DRAWN_MODEL
from instructseg.pretrained import load_pretrained
from instructseg.structures import Role, Task
from recipes.nano.ablations import report as ablation_report
from recipes.nano.ablations import run as ablation_run
from recipes.nano.ablations import sweep as ablations
from recipes.nano.ablations.run import NEW, Settings, VariantBatches, build, trainer
from recipes.nano.ablations.variants import MEASURES, TABLES, VARIANTS
from recipes.nano.config import NanoRunConfig, load_config
from recipes.nano.evaluation.held_out import synthetic_dataset
from tests.inference.conftest import read_once

SEED = 1


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read_once(monkeypatch)


@pytest.fixture(scope="module")
def stage() -> NanoRunConfig:
    return load_config("configs/nano.yaml").stages["whole"]


@pytest.fixture(scope="module")
def settings(stage: NanoRunConfig) -> Settings:
    """Two steps of two rows each."""
    data = replace(stage.data, images_per_batch=1, clips_per_batch=1, expressions_per_scene=2, photos="")
    small = {"backgrounds": {"white": 1}, "height": [64, 64], "width": [64, 64]}
    data = replace(data, scene={**data.scene, **small})
    return Settings(DRAWN_MODEL, "digest", replace(stage, data=data), data, steps=2, instructions=1)


def state(name: str) -> dict[str, torch.Tensor]:
    return build(VARIANTS[name], DRAWN_MODEL, SEED)[0].state_dict()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], parts: tuple[str, ...]) -> bool:
    names = {name for name in {**one, **other} if name.startswith(parts)}
    return bool(names) and all(torch.equal(one[name], other[name]) for name in names)


def test_only_vmtf_is_new_and_alike_in_all_variants() -> None:
    trained = load_pretrained(DRAWN_MODEL, "cpu", torch.float32)[0].state_dict()
    others = tuple(sorted({name.split(".")[0] for name in trained} - {"ovp", "vmtf"}))
    full, bare = state("full"), state("neither")
    assert same(full, trained, (*others, "ovp.")) and same(bare, trained, others)
    assert not any(same(full, trained, (part,)) for part in NEW)
    assert not any(name.startswith("ovp.") for name in bare)
    assert same(state("ovp"), full, ("ovp.",)) and same(state("vmtf"), full, ("vmtf.",))
    assert all(same(state(name), full, NEW) for name in ("global", "detailed"))
    assert not same(build(VARIANTS["full"], DRAWN_MODEL, SEED + 1)[0].state_dict(), full, NEW)


def test_a_video_without_references_has_no_tokens_for_them(settings: Settings) -> None:
    for name, images, clips in (("full", 1, 4), ("references-0", 1, 0), ("references-8", 1, 8), ("vmtf", 0, 0)):
        variant = VARIANTS[name]
        model, readers = build(variant, DRAWN_MODEL, SEED)
        for is_clip, frames in ((False, images), (True, clips)):
            options = {"references": variant.references} if is_clip else {}
            samples = synthetic_dataset(settings.held_out, "test", is_clip, 1, {"attribute": 1.0}, **options)[0]
            inputs = (readers.clips if is_clip else readers.images)(samples)
            places = (inputs.roles == Role.TEMPORAL).sum(1)
            assert set(places.tolist()) == {frames * model.config.ovp_queries}, name
        assert torch.isfinite(model.eval()(inputs).seg_logits).all()


def test_training_uses_the_wording_of_the_stage(settings: Settings, tmp_path: Path) -> None:
    stage = replace(settings.stage, data=replace(settings.stage.data, text_tasks=("res", "vqa")))
    for name, clips in (("full", 4), ("references-0", 0), ("neither", 0)):
        model, readers = build(VARIANTS[name], DRAWN_MODEL, SEED)
        loader = trainer(replace(settings, stage=stage), VARIANTS[name], SEED, tmp_path, model, readers).loader
        assert isinstance(loader, VariantBatches)
        assert {one.config.text_tasks for one in (loader.processor, loader.clips)} == {(Task.RES, Task.VQA)}
        assert readers.images.config.text_tasks == (Task.VQA,)
        for index, frames in ((0, 1), (1, clips)):
            inputs, _ = loader.batch(index)
            assert loader.task(index) == ("clip" if index else "image")
            with_masks = (inputs.roles == Role.MASK).any(1)
            places = (inputs.roles == Role.TEMPORAL).sum(1)[with_masks]
            queries = model.config.ovp_queries if model.config.use_ovp else 0
            assert set(places.tolist()) <= {frames * queries}


def test_training_kinds_of_a_variant(stage: NanoRunConfig) -> None:
    data = {name: variant.data(stage.data) for name, variant in VARIANTS.items()}
    assert data["full"] == {
        "clip_share": stage.data.clip_share,
        "kinds": stage.data.kinds,
        "clip_kinds": stage.data.clip_kinds,
    }
    assert (data["image"]["clip_share"], data["video"]["clip_share"]) == (0, 1)
    for kinds in ("kinds", "clip_kinds"):
        referring, reasoning = set(data["referring"][kinds]), set(data["reasoning"][kinds])
        assert referring and reasoning and not referring & reasoning
        assert referring | reasoning == set(data["full"][kinds]) - {"question"}


def test_every_run_stands_in_a_table() -> None:
    assert {name for rows in TABLES.values() for name in rows} == set(VARIANTS)
    assert all("full" in rows for rows in TABLES.values())


def test_a_stopped_run_resumes(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def measured(*arguments: Any) -> tuple[dict[str, Any], int]:
        asked.append(1)
        return {}, 0

    monkeypatch.setattr(ablation_run, "evaluate", measured)
    work, results = tmp_path / "work", tmp_path / "results"
    whole, half = work / "whole", work / "references-0-1"
    ablation_run.run(settings, "references-0", 1, whole)
    losses = Trainer._losses

    def interrupted(self: Trainer, *batch: Any) -> Any:
        found = losses(self, *batch)
        if self.step == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return found

    monkeypatch.setattr(Trainer, "_losses", interrupted)
    with pytest.raises(Interrupted):
        ablations.run_all(settings, ["references-0"], 1, results, work)
    assert not list(results.glob("*")) and (half / "checkpoint-1").is_dir()
    assert ablations.run_all(settings, ["references-0"], 1, results, work) == 0
    kept = [(folder / "final" / "model.safetensors").read_bytes() for folder in (whole, half)]
    assert kept[0] == kept[1] and not list(half.glob("checkpoint-*")) and len(asked) == 2
    result = json.loads((results / "references-0-1.json").read_text())
    assert (result["variant"], result["seed"], result["settings"]) == ("references-0", 1, settings.noted)


def test_runs_that_are_done_or_in_other_hands_are_left(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, int]] = []

    def run(settings: Settings, name: str, seed: int, folder: Path) -> dict[str, Any]:
        ran.append((name, seed))
        with ablations.claimed(folder) as is_ours:
            assert not is_ours  # as another process sees it
        return {"settings": settings.noted}

    monkeypatch.setattr(ablations, "run", run)
    work, results = tmp_path / "work", tmp_path / "results"
    with ablations.claimed(work / "ovp-2") as is_ours:
        assert is_ours
        assert ablations.run_all(settings, ["full", "ovp"], 2, results, work) == 1
    assert ran == [("full", 1), ("ovp", 1), ("full", 2)]
    assert ablations.run_all(settings, ["full", "ovp"], 2, results, work) == 0
    assert ran[3:] == [("ovp", 2)]
    longer = replace(settings, steps=3)
    with pytest.raises(ValueError, match=r"full-1\.json is of .*'steps': 2.* not of .*'steps': 3"):
        ablations.run_all(longer, ["full"], 1, results, work)
    with pytest.raises(ValueError, match=r"settings\.json is of .* choose another folder"):
        ablations.run_all(longer, ["full"], 1, tmp_path / "new", work)


def made_up(folder: Path, means: dict[str, float], seeds: int = 3, **noted: int) -> None:
    for name, mean in means.items():
        for seed in range(1, seeds + 1):
            row = {"value": mean + seed / 100, "metric": "gIoU", "low": 0, "high": 1, "chance": 0.25, "n": 10}
            settings = {"weights": "abc", "steps": 5, "instructions": 10, **noted}
            result = {
                "variant": name,
                "seed": seed,
                "settings": settings,
                "figures": dict.fromkeys(MEASURES, row),
            }
            (folder / f"{name}-{seed}.json").write_text(json.dumps(result))


def test_tables_match_the_results(tmp_path: Path) -> None:
    made_up(tmp_path, {"full": 0.5, "ovp": 0.4})
    made_up(tmp_path, {"neither": 0.5}, seeds=1)
    runs = ablation_report.read(tmp_path)
    page = ablation_report.filled(ablation_report.PAGE.read_text(), runs)
    assert "| OVP | 42.0 (41.0 to 43.0) |" in page and "| OVP and VMTF | 52.0 (51.0 to 53.0) |" in page
    assert "| OVP | **-10.0 (-10.0 to -10.0)** |" in page
    assert "| neither | 51.0 |" in page and "| neither | +0.0 |" in page
    assert "| VMTF | not yet run |" in page and "| a guess | 25.0 |" in page
    assert "7 runs, 0 to 3 seeds of each variant, 5 steps" in page
    assert ablation_report.filled(page, runs) == page
    drawn = ElementTree.fromstring(ablation_report.chart(runs))
    circles = drawn.findall("{http://www.w3.org/2000/svg}circle")
    assert len(circles) == len(MEASURES) * (2 + sum("full" in rows for rows in TABLES.values()))


def test_a_sign_is_bold_only_where_all_seeds_agree() -> None:
    assert ablation_report.spread([1.0, 2.0, 3.0], "+") == "**+2.0 (+1.0 to +3.0)**"
    assert ablation_report.spread([-1.0, 2.0], "+") == "+0.5 (-1.0 to +2.0)"
    assert ablation_report.spread([1.0, 2.0, 3.0]) == "2.0 (1.0 to 3.0)"
    assert ablation_report.spread([], "+") == "not yet run"


def test_different_studies_are_not_mixed(tmp_path: Path) -> None:
    made_up(tmp_path, {"full": 0.5})
    made_up(tmp_path, {"ovp": 0.5}, steps=6)
    with pytest.raises(ValueError, match=r"full-1\.json is of .* but ovp-1\.json of .*: run one again"):
        ablation_report.read(tmp_path)


def test_a_page_has_every_table_once(tmp_path: Path) -> None:
    page = ablation_report.PAGE.read_text()
    with pytest.raises(ValueError, match=r"no place for .*data"):
        ablation_report.filled(page.replace("results:data", "other:data"), {})
    with pytest.raises(ValueError, match="no table 'modules', or twice"):
        ablation_report.filled(page.replace("results:data", "results:modules"), {})


def test_the_page_matches_the_committed_results() -> None:
    runs = ablation_report.read(ablation_report.RESULTS)
    page = ablation_report.PAGE.read_text()
    assert ablation_report.filled(page, runs) == page
    if runs:
        assert ablation_report.CHART.read_text() == ablation_report.chart(runs)
