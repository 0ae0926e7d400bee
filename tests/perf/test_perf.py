"""The benchmarks compare like with like: same answers, right counts, tables that say what the files say."""

import argparse
import importlib
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from instructseg.inference import ImagePredictor, VideoPredictor
from instructseg.model import InstructSeg, preset
from instructseg.model.pixel_decoder import DeformableAttention
from instructseg.processing import InstructSegProcessor
from perf import edges, quantized, report, speed, stages, stride
from perf.official_procedure import OfficialProcedure, plain_sampling
from perf.speed import Contest, agreement
from perf.workload import Clock, build, configuration, pictures, weights_digest
from recipes.nano.evaluation.drawn import Outcome

TEXTS = ("the red circle", "the blue square moving to the left")


@pytest.fixture(scope="module")
def nano() -> tuple[InstructSeg, InstructSegProcessor]:
    return build(configuration("nano"))


def test_the_official_procedure_gives_the_same_answers(nano: tuple[InstructSeg, InstructSegProcessor]) -> None:
    frames = pictures(3, 40, 56)
    official = OfficialProcedure(*nano)
    image = agreement(ImagePredictor(*nano).predict(frames[0], TEXTS), official.image(frames[0], TEXTS))
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
        full |= {f"llm_{kind}_half": 5.0, f"llm_{kind}_few": 4.0, f"llm_{kind}_few_both": 2.0}
        full |= {f"llm_{kind}": 8.0, f"llm_{kind}_official": 10.0, f"language_head_{kind}_official": 1.0}
    full |= {"siglip": 3.0, "swin": 2.0}
    found = {
        (row["case"], row["instructions"], row["llm_stride"], row["tokens"]): (row["official_s"], row["ours_s"])
        for row in stages.composed(full)
    }
    assert found["image", 10, None, ""] == (10 * (2 * 3 + 11 + 2), 3 + 2 + 80)
    assert found["video", 3, 1, ""] == (3 * (5 * 3 + 11 + 2), 3 + 2 + 24)
    assert found["video", 3, 4, ""] == (3 * (5 * 3 + 11 + 2), 3 + 2 + 6)
    assert found["video", 3, 4, "few"] == (3 * (5 * 3 + 11 + 2), 3 + 2 + 3)
    assert found["image", 10, None, "few_both"] == (10 * (2 * 3 + 11 + 2), 3 + 2 + 20)


def test_a_clock_adds_up() -> None:
    clock = Clock()
    for _ in range(2):
        with clock("stage"):
            torch.randn(64, 64).mm(torch.randn(64, 64))
    assert clock.calls["stage"] == 2
    assert clock.seconds["stage"] >= 0


def test_a_contest_keeps_medians_and_ratios_of_turns(
    nano: tuple[InstructSeg, InstructSegProcessor], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = ImagePredictor(*nano).predict(pictures(1, 40, 56)[0], TEXTS[:1])
    clock = iter([9.0, 9.0, 9.0, 8.0, 6.0, 1.0, 12.0, 4.0, 2.0, 10.0, 5.0, 0.5])
    monkeypatch.setattr(speed, "seconds", lambda case: case() or next(clock))
    sides = {1: (lambda: answer, 2), 4: (lambda: answer, 1)}
    contest = Contest({"case": "video", "instructions": 1}, (lambda: answer, 1), sides)
    assert contest.rows() == []
    contest.turn(timed=False)
    for _ in range(3):
        contest.turn()
    assert contest.spent == 8 + 6 + 1 + 12 + 4 + 2 + 10 + 5 + 0.5
    exact, strided = contest.rows()
    assert (exact["llm_stride"], exact["official_s"], exact["ours_s"], exact["ratio"]) == (1, 10, 2.5, 4)
    assert (exact["repeats"], exact["lowest"], exact["highest"]) == (3, 8 / 3, 6)
    assert (strided["ours_s"], strided["ratio"], strided["lowest"], strided["highest"]) == (1, 10, 6, 20)
    assert (exact["score_difference"], exact["equal_pixels"]) == (0, 1)


def test_both_sides_of_a_clip_are_compared_on_the_same_frames(
    nano: tuple[InstructSeg, InstructSegProcessor],
) -> None:
    (contest,) = speed.videos(*nano, pictures(7, 40, 56), [2], exact_frames=5, official_frames=1)
    contest.turn()
    exact, strided = contest.rows()
    assert (exact["official_frames"], exact["frames"], strided["frames"]) == (1, 5, 7)
    assert exact["score_difference"] < 1e-5 and exact["equal_pixels"] > 0.999
    assert strided["llm_stride"] == 4


def test_cases_of_other_runs_stay_in_the_file(tmp_path: Path) -> None:
    def row(case: str, count: int, stride: int | None, value: float) -> dict[str, object]:
        return {"case": case, "instructions": count, "llm_stride": stride, "ratio": value}

    def run(size: str, *rows: dict[str, object]) -> list[dict[str, object]]:
        options = argparse.Namespace(size=size, dtype="float32", json=tmp_path / "speed.json")
        speed.keep(options, [SimpleNamespace(rows=lambda: list(rows))])  # type: ignore[list-item]
        return json.loads(options.json.read_text())["rows"]

    image, exact, strided = row("image", 10, None, 1.0), row("video", 1, 1, 2.0), row("video", 1, 4, 3.0)
    assert run("width", strided, exact) == [exact, strided]
    again = {**exact, "ratio": 5.0}
    assert run("width", image, again) == [image, again, strided]
    assert run("nano", image) == [image]


def outcome(scene: int, inside: int, union: int) -> Outcome:
    return Outcome(str(scene), "attribute", "", True, inside / union, intersection=inside, union=union)


def test_the_price_of_fewer_bits_against_drawing_scenes_again() -> None:
    rng = np.random.default_rng(0)
    unions = rng.integers(50, 100, (2, 120))
    inside = rng.integers(25, 50, 120)
    full = [outcome(i // 3, int(inside[i]), int(unions[0, i])) for i in range(120)]
    small = [outcome(i // 3, max(0, int(inside[i]) - i % 4), int(unions[1, i])) for i in range(120)]
    found = quantized.compared(small, full)
    cut = [max(0, int(inside[i]) - i % 4) for i in range(120)]
    assert found["ciou"] == pytest.approx(sum(cut) / unions[1].sum())
    assert found["difference"] == pytest.approx(sum(cut) / unions[1].sum() - inside.sum() / unions[0].sum())
    assert found["moved"] == np.mean([abs(a.score - b.score) > 0.01 for a, b in zip(small, full, strict=True)])
    drawn = [(rng.integers(0, 40, 40)[:, None] * 3 + np.arange(3)).ravel() for _ in range(4000)]
    cut_of = np.array(cut)
    again = [cut_of[i].sum() / unions[1, i].sum() - inside[i].sum() / unions[0, i].sum() for i in drawn]
    expected = np.quantile(again, [0.025, 0.975])
    assert np.allclose([found["low"], found["high"]], expected, atol=0.1 * float(expected[1] - expected[0]))
    same = quantized.compared(full, full)
    assert (same["difference"], same["low"], same["high"], same["moved"]) == (0, 0, 0, 0)


def test_the_price_of_a_stride_is_paired() -> None:
    clips = [0, 0, 1, 1]
    exact = stride.Outcome(np.array([[0.5, 0.7], [0.9, 0.9], [0.4, 0.2], [1.0, 1.0]]), clips, {})
    worse = stride.Outcome(exact.scores - np.array([[0.02, 0.0]]), clips, {"llm_per_row": 0.25})
    row = stride.compared("stride 4", worse, exact)
    assert (row["setting"], row["llm_per_row"]) == ("stride 4", 0.25)
    assert [row[name] for name in ("j", "f", "jf")] == pytest.approx([0.68, 0.7, 0.69])
    # all instructions lose the same, so scenes do not matter
    assert [row[name] for name in ("difference", "low", "high")] == pytest.approx([-0.01] * 3)


def test_results_of_other_weights_are_named(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    digest = weights_digest(tmp_path)
    assert len(digest) == 12 and digest != weights_digest()
    assert weights_digest("owner/name") == "owner/name"
    for name, values in (("stride", {"weights": digest}), ("quantized", {"weights": "other"}), ("stages", [])):
        (tmp_path / f"{name}.json").write_text(json.dumps(values))
    assert report.other_weights(tmp_path, digest) == ["quantized"]


def test_prices_in_tables() -> None:
    price = {"difference": -0.0012, "low": -0.003, "high": 0.0004}
    row = {"setting": "stride 4", "jf": 0.8123, "llm_per_row": 0.25, "siglip_per_frame": 0.9583, **price}
    text = report.stride({"rows": [{**row, "setting": "exact"}, row]})
    assert "| exact | 81.23 | – | – |" in text
    assert "| stride 4 | 81.23 | -0.12 (-0.30 to +0.04) | above -1.0 | 0.25 | 0.96 |" in text
    text = report.spacing({"rows": [{**row, "setting": "spacing 1"}, {**row, "setting": "spacing 4"}]})
    assert text.endswith("| spacing 1 | 81.23 | – |\n| spacing 4 | 81.23 | -0.12 (-0.30 to +0.04) |")
    bits = {"setting": "float32, int8", "pictures": {"ciou": 0.6, **price}, "clips": {"ciou": 0.5, **price}}
    text = report.quantized({"rows": [{**bits, "setting": "float32"}, bits]})
    assert "| float32 | 60.00 | – | 50.00 | – | – |" in text
    assert (
        "| float32, int8 | 60.00 | -0.12 (-0.30 to +0.04) | 50.00 | -0.12 (-0.30 to +0.04) | above -0.5 |"
        in text
    )


def test_edges_are_compared_on_the_same_masks() -> None:
    found = edges.measure(ImagePredictor.from_pretrained("nano", "cpu"), edges.drawings(3))
    assert found["masks"] > 2 and found["ms"] > 0
    for name in ("j", "f1", "f2"):
        assert 0 < found["off"][name] < found["on"][name] <= 1
    row = {"model": "nano", "images": "drawings", **found, "masks": 7, "ms": 5.4}
    row["off"], row["on"] = ({"f1": a, "f2": 0.5, "f4": 0.9, "j": 0.8} for a in (0.25, 0.75))
    text = report.edges({"rows": [row]})
    assert "| `nano`, drawings (7 masks) | 25.0 → 75.0 | 50.0 → 50.0 | 90.0 → 90.0 | 80.0 → 80.0 | 5 |" in text


def test_shown_commands_exist(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pages = [*(report.ROOT / "docs").glob("*.md"), *(report.ROOT / "perf").glob("*.py")]
    shown: dict[str, set[str]] = {}
    for page in pages:
        text = re.sub(r"\\+\n\s*", "", page.read_text())
        for name, words in re.findall(r"python -m perf\.(\w+)([^`\n]*)", text):
            shown.setdefault(name, set()).update(re.findall(r"--[\w-]+", words))
    assert {"speed", "stages", "stride", "quantized", "limits", "report"} <= set(shown)
    for name, options in shown.items():
        monkeypatch.setattr(sys, "argv", [name, "--help"])
        with pytest.raises(SystemExit, match="0"):
            importlib.import_module(f"perf.{name}").main()
        known = set(re.findall(r"--[\w-]+", capsys.readouterr().out))
        assert options <= known, f"{name} has no {', '.join(options - known)}"


def test_steps_on_images_and_on_clips_are_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = tmp_path / "training.json"
    monkeypatch.setattr(sys, "argv", ["training", "--steps", "2", "--json", str(found)])
    importlib.import_module("perf.training").main()
    result = json.loads(found.read_text())
    assert set(result["step_s"]) == {"image", "clip"} and all(took > 0 for took in result["step_s"].values())
    monkeypatch.setattr(sys, "argv", ["training", "--stage", "last"])
    with pytest.raises(SystemExit, match="has no stage last; it has patches"):
        importlib.import_module("perf.training").main()


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


def test_the_pages_are_what_the_committed_results_give() -> None:
    for file in report.PAGES:
        page = file.read_text()
        assert report.filled(page, report.RESULTS) == page
    file = report.RESULTS / "stages.json"
    assert report.CHART.read_text() == report.chart(json.loads(file.read_text())["composed"])
