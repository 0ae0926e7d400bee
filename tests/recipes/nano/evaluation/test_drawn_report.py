"""The table on drawn scenes: its whole clips beside one forward per frame, its figures beside sums by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from instructseg.config import ModelSource
from instructseg.evaluation.jf import region_and_boundary
from instructseg.inference.postprocess import postprocess
from instructseg.structures import Sample
from instructseg.training import build_model
from recipes.nano.config import DrawnConfig, NanoDataConfig
from recipes.nano.evaluation.drawn import Outcome, measure
from recipes.nano.evaluation.drawn_report import RES_KINDS, TABLES, Answers, evaluate, figure, markdown, part
from recipes.nano.evaluation.held_out import synthetic_dataset

DATA = NanoDataConfig(scene={"objects": [2, 3]}, expressions_per_scene=2)


@pytest.mark.parametrize("copies", [False, True])
def test_a_whole_video_is_one_forward_per_frame(copies: bool) -> None:
    model, processor = build_model(ModelSource("preset:nano"), 0)
    model.eval()
    dataset = synthetic_dataset(DATA, "test", True, 1, {"motion": 1.0})
    outcomes = list(measure(model, processor, dataset, whole_clips=True, copies=copies))
    drawn = dataset.scene(0)
    assert len(outcomes) == len(drawn.expressions)
    frames = list(drawn.scene.frames)
    for said, outcome in zip(drawn.expressions, outcomes, strict=True):
        values = []
        for t, frame in enumerate(frames):
            others = tuple([frame] * 4 if copies else [other for u, other in enumerate(frames) if u != t])
            inputs = processor([Sample(frame, said.text, said.task, others)])
            with torch.inference_mode():
                mask = postprocess(model(inputs), inputs)[0].mask
            values.append(region_and_boundary(mask, drawn.scene.mask(said.targets[0], t).astype(bool)))
        assert outcome.score == pytest.approx(np.mean(values), abs=1e-6)


def outcome(scene: str, **values: object) -> Outcome:
    return replace(Outcome(scene, "attribute", "shape", True), **values)  # type: ignore[arg-type]


def test_figures_are_sums_by_hand() -> None:
    one = outcome(
        "a", score=0.5, chance=0.25, intersection=5, union=10, chance_intersection=2.0, chance_union=8.0
    )
    other = outcome("b", score=1.0, chance=0.75, intersection=30, union=30, chance_union=12.0, form="colour")
    giou, ciou = figure([one, other], "gIoU"), figure([one, other], "cIoU")
    assert (giou.value, giou.chance, giou.n, giou.scenes) == (0.75, 0.5, 2, 2)
    assert (giou.low, giou.high) == (0.5, 1.0)
    assert (ciou.value, ciou.chance) == (35 / 40, 2 / 20)
    assert giou.forms == {"colour": {"value": 1.0, "n": 1}, "shape": {"value": 0.5, "n": 1}}
    replies = [outcome("a", answer=word) for word in ("yes", "yes", "no")]
    assert figure(replies, "accuracy").chance == pytest.approx(2 / 3)
    refused = part(
        [outcome("a", presence=p) for p in (0.1, 0.6)], "N-acc", lambda one: one.presence < 0.5, 0.05
    )
    assert (refused.value, refused.chance) == (0.5, 0.05)
    assert "| all | gIoU | 75.0 | 50.0 to 100.0 | 50.0 | 2 |" in markdown({"all": giou})


def test_the_table_is_written_and_handed_back(tmp_path: Path) -> None:
    model, processor = build_model(ModelSource("preset:nano"), 0)
    config = DrawnConfig(instructions=2, tables=("res", "rvos", "question", "no_target"))
    values = evaluate(model.eval(), processor, DATA, config, tmp_path)
    left = json.loads((tmp_path / "drawn.json").read_text())
    assert left["split"] == "test"
    rows = left["rows"]
    assert {"res", *(f"res/{kind}" for kind in RES_KINDS), "rvos/twins", "no_target/clip"} <= set(rows)
    assert rows["res"]["n"] == sum(rows[f"res/{kind}"]["n"] for kind in RES_KINDS) >= 8
    gain = rows["rvos/twins"]["value"] - rows["rvos/twins, references replaced"]["value"]
    assert rows["rvos/twins, gain by references"]["value"] == pytest.approx(gain)
    for name, row in rows.items():
        assert values[f"{name}/{row['metric']}"] == row["value"]
        assert row["low"] <= row["value"] + 1e-9 and row["value"] <= row["high"] + 1e-9
    assert (tmp_path / "drawn.md").read_text().count("\n") == len(rows) + 2


@pytest.mark.slow
def test_every_part_of_the_table_can_be_measured() -> None:
    model, processor = build_model(ModelSource("preset:nano"), 0)
    values = evaluate(model.eval(), processor, DATA, DrawnConfig(instructions=1))
    assert {key.partition("/")[0].partition(",")[0] for key in values} == set(TABLES)


def test_an_unknown_part_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown table 'rves'"):
        evaluate(None, None, DATA, DrawnConfig(tables=("rves",)))  # type: ignore[arg-type]


@pytest.mark.parametrize("clips", [False, True])
def test_a_threshold_empties_masks_of_low_presence(clips: bool) -> None:
    model, processor = build_model(ModelSource("preset:nano"), 0)
    dataset = synthetic_dataset(DATA, "test", clips, 1, {"attribute": 1.0})
    plain = list(measure(model.eval(), processor, dataset, whole_clips=clips))
    empty = list(measure(model, processor, dataset, whole_clips=clips, threshold=1.0))
    assert any(one.intersection for one in plain) and not any(one.intersection for one in empty)
    assert [one.presence for one in plain] == [one.presence for one in empty]
    config = replace(processor.config, presence_threshold=0.25)
    own = type(processor)(processor.tokenizer, config)
    chosen = [Answers(model, own, DATA, given).threshold for given in (None, 0.0, 0.5)]
    assert chosen == [0.25, 0.0, 0.5] and Answers(model, processor, DATA).threshold == 0.0
