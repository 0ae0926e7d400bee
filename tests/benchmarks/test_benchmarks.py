"""The benchmarks compare like with like: same answers, right counts, tables that say what the files say."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import report, stages
from benchmarks.official_procedure import OfficialProcedure, plain_sampling
from benchmarks.speed import agreement
from benchmarks.workload import Clock, build, configuration, pictures
from instructseg.inference import ImagePredictor, VideoPredictor
from instructseg.model import InstructSeg, preset
from instructseg.model.pixel_decoder import DeformableAttention
from instructseg.processing import InstructSegProcessor

TEXTS = ("the red circle", "the blue square moving to the left")


@pytest.fixture(scope="module")
def nano() -> tuple[InstructSeg, InstructSegProcessor]:
    return build(configuration("nano"))


def test_the_official_procedure_gives_the_same_answers(nano: tuple[InstructSeg, InstructSegProcessor]) -> None:
    frames = pictures(3, 40, 56)
    official = OfficialProcedure(*nano)
    image = agreement(ImagePredictor(*nano).segment(frames[0], TEXTS), official.image(frames[0], TEXTS))
    assert image["score_difference"] < 1e-5
    assert image["equal_pixels"] > 0.999
    assert official.clock.calls["siglip"] == official.clock.calls["llm"] == len(TEXTS)
    ours = list(VideoPredictor(*nano).predict(frames, TEXTS))
    theirs = official.video(frames, TEXTS, only=[0, 2])
    for t, answers in zip((0, 2), theirs, strict=True):
        found = agreement(ours[t].predictions, answers)
        assert found["score_difference"] < 1e-5
        assert found["equal_pixels"] > 0.999


def test_plain_sampling_ends_with_its_block(nano: tuple[InstructSeg, InstructSegProcessor]) -> None:
    attention = next(part for part in nano[0].modules() if isinstance(part, DeformableAttention))
    with plain_sampling(nano[0]):
        assert not attention.by_rows
    assert attention.by_rows


def test_full_width_keeps_every_width() -> None:
    few, full = configuration("width"), preset("instructseg-3b")
    for part, names in (
        ("text_config", ("hidden_size", "intermediate_size", "num_attention_heads")),
        (
            "vision_config",
            ("hidden_size", "intermediate_size", "num_attention_heads", "image_size", "patch_size"),
        ),
        ("backbone_config", ("embed_dim", "num_heads", "window_size")),
    ):
        for name in names:
            assert getattr(getattr(few, part), name) == getattr(getattr(full, part), name), name
    assert few.image_size == full.image_size
    assert few.backbone_config.depths == [1, 1, 1, 1]
    assert few.lm_head_size == 6400


def test_products_of_linear_layers_and_convolutions_are_counted() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Flatten(2), nn.Linear(20, 7))
    with stages.products(model) as found:
        model(torch.zeros(2, 3, 4, 5))
    assert found == {(2 * 4 * 5, 3 * 9, 8): 1, (2 * 8, 20, 7): 1}


def test_composition_counts_calls() -> None:
    names = ("siglip", "ovp", "swin", "pixel_decoder", "pixel_decoder_official", "mask_decoder",
             "mask_decoder_official", "masks", "masks_official")  # fmt: skip
    full = dict.fromkeys(names, 0.0)
    for kind in ("image", "video"):
        full |= {f"llm_{kind}": 8.0, f"llm_{kind}_official": 10.0, f"language_head_{kind}_official": 1.0}
    full |= {"siglip": 3.0, "swin": 2.0}
    found = {
        (row["case"], row["instructions"], row["llm_stride"]): (row["official_s"], row["ours_s"])
        for row in stages.composed(full)
    }
    assert found["image", 10, None] == (10 * (2 * 3 + 11 + 2), 3 + 2 + 80)
    assert found["video", 3, 1] == (3 * (5 * 3 + 11 + 2), 3 + 2 + 24)
    assert found["video", 3, 4] == (3 * (5 * 3 + 11 + 2), 3 + 2 + 6)


def test_a_clock_adds_up() -> None:
    clock = Clock()
    for _ in range(2):
        with clock("stage"):
            torch.randn(64, 64).mm(torch.randn(64, 64))
    assert clock.calls["stage"] == 2
    assert clock.seconds["stage"] >= 0


def test_tables_come_from_the_results(tmp_path: Path) -> None:
    page = "before\n<!-- results:int8 -->\nold\n<!-- end -->\n<!-- results:memory -->\nkept\n<!-- end -->\n"
    (tmp_path / "stages.json").write_text(json.dumps({"int8": {"float32_s": 3.0, "int8_s": 1.5, "ratio": 2.0}}))
    written = report.filled(page, tmp_path)
    assert "| 3.00 | 1.50 | **2.00** | 1.5 |" in written
    assert "old" not in written
    assert "kept" in written
    assert report.filled(written, tmp_path) == written
    with pytest.raises(ValueError, match="no table 'speed'"):
        report.filled("<!-- results:speed --><!-- end -->", tmp_path)


def test_the_page_is_what_the_committed_results_give() -> None:
    page = report.PAGE.read_text()
    assert report.filled(page, report.RESULTS) == page
    file = report.RESULTS / "stages.json"
    assert report.CHART.read_text() == report.chart(json.loads(file.read_text())["composed"])
