"""Every benchmark on its generated layout, with random weights: the numbers are small, the way is whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from instructseg.benchmarks import runner
from instructseg.benchmarks.base import Benchmark, Runner, ScoreRecord
from instructseg.benchmarks.folders import evaluate_davis
from instructseg.benchmarks.report import read_samples
from instructseg.benchmarks.segmentation import Segmentation
from instructseg.benchmarks.submission import LAYOUTS, ExpectedVideo, validate
from instructseg.benchmarks.submission_text import validate_mmbench, validate_vqav2
from instructseg.benchmarks.table import completed, options_of
from instructseg.benchmarks.text import answers
from instructseg.benchmarks.videos import Expressions
from instructseg.cli.app import app
from instructseg.cli.arguments import evaluate as evaluate_file
from instructseg.config import load_config
from instructseg.data.catalog import evaluations
from instructseg.data.datasets.refcoco import RefCoco
from instructseg.data.datasets.refdavis import RefDavis
from instructseg.data.datasets.refytvos import RefYtVos
from instructseg.data.datasets.revos import ReVos
from instructseg.evaluation import IouSums
from instructseg.evaluation.davis import mean_results
from instructseg.evaluation.jf import region_and_boundary
from instructseg.inference import ImagePredictor, VideoPredictor
from instructseg.inference.encoder import CachedFrame
from instructseg.model import InstructSeg
from instructseg.structures import Task
from recipes.nano.layouts.image_copies import write_image_layouts
from recipes.nano.layouts.video_copies import write_video_layouts
from tests.forked import run_in_two

REPOSITORY = Path(__file__).parents[2]
CONFIGS = REPOSITORY / "configs" / "eval"

RUNS = [
    # benchmark, folder of the layout, words, samples, of which are scored
    ("refcoco", "refer_seg", ["eval.split=testA", "eval.options.sentences=each"], 3, 3),
    ("refcoco", "refer_seg/RES", ["eval.options.converted=true"], 3, 3),
    ("refcoco+", "refer_seg", [], 3, 3),
    ("refcocog", "refer_seg", ["eval.options.split_by=google"], 3, 3),
    ("grefcoco", "grefer_seg", ["eval.options.official_size=true"], 3, 3),
    ("reasonseg", "ReasonSeg", ["eval.options.official_sums=true"], 2, 2),
    ("custom_images", "custom-images", [], 3, 3),
    ("refytvos", "ref-youtube-vos", [], 2, 2),
    ("refytvos", "rvos/YouTube", ["eval.options.converted=true"], 2, 0),
    ("refdavis", "ref-davis-referformer", ["eval.options.annotation=2", "eval.options.soft=false"], 1, 1),
    ("refdavis", "rvos/DAVIS", ["eval.options.converted=true"], 1, 1),
    ("revos", "ReVOS", ["eval.options.corrected=true", "eval.options.threshold=0.5"], 2, 2),
    ("mevis", "mevis", [], 2, 2),
    ("mevis", "mevis", ["eval.split=valid"], 2, 0),
    ("mevis_v2", "mevis_v2", [], 2, 2),
    ("reasonvos", "reasonvos", [], 2, 2),
    ("long_rvos", "long_rvos", [], 2, 2),
    ("long_rvos", "long_rvos", ["eval.split=test"], 2, 0),
    ("groundmore", "groundmore", [], 2, 2),
    ("ref_sav", "ref_sav", [], 2, 2),
    ("ref_zom", "ref_zom", ["eval.options.official_size=true"], 3, 3),
    ("muse", "muse", [], 2, 2),
    ("mmr", "mmr", ["eval.split=test_part_only"], 2, 2),
    ("custom_videos", "custom-videos", [], 2, 2),
    ("vqav2", "eval", [], 2, 0),
    ("vqav2", "eval", ["eval.split=val"], 2, 2),
    ("gqa", "eval", [], 2, 2),
    ("pope", "eval", [], 2, 2),
    ("scienceqa", "eval", [], 2, 2),
    ("mmbench", "eval", [], 2, 2),
]

Run = Callable[..., dict[str, float]]


@pytest.fixture(scope="session")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("layouts")
    write_image_layouts(root, 2)
    write_video_layouts(root)
    return root


@pytest.fixture
def run(layouts: Path, checkpoint: Path, tmp_path: Path) -> Run:
    """Runs a benchmark; its results go below ``tmp_path``."""

    def call(benchmark: str, place: str, *words: str, out: str = "out") -> dict[str, float]:
        return evaluate_file(
            CONFIGS / f"{benchmark}.yaml",
            [*basics(checkpoint, layouts / place, tmp_path / out, benchmark), *words],
        )

    return call


def basics(checkpoint: Path, root: Path, out: Path, benchmark: str) -> list[str]:
    words = [f"model.name={checkpoint}", f"eval.root={root}", f"output_dir={out}", "eval.device=cpu"]
    if "max_new_tokens" in options_of(benchmark):
        words.append("eval.options.max_new_tokens=3")
    if place := {"RES": "../images/mscoco/images/train2014"}.get(root.name):
        words.append(f"eval.options.images={root / place}")
    return words


def only(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


def test_every_benchmark_has_a_configuration_and_every_configuration_a_benchmark() -> None:
    names = set()
    for path in CONFIGS.glob("*.yaml"):
        config = load_config(path)
        assert config.eval is not None and config.model.name
        assert completed(config.eval).benchmark == path.stem
        names.add(path.stem)
    assert names == set(evaluations())


@pytest.mark.parametrize(
    ("benchmark", "place", "words", "samples", "scored"), RUNS, ids=lambda value: str(value)
)
def test_benchmark(
    run: Run, tmp_path: Path, benchmark: str, place: str, words: list[str], samples: int, scored: int
) -> None:
    values = run(benchmark, place, *words, f"eval.limit={samples}", "eval.pictures=1")
    folder = only(tmp_path / "out")
    content = json.loads((folder / "results.json").read_text())
    assert (content["samples"], content["scored"]) == (samples, scored)
    table = {f"{row}/{name}": value for row, r in content["results"].items() for name, value in r.items()}
    assert values == table and bool(values) == (scored > 0)
    assert all(0 <= value <= 1 for name, value in values.items() if "Decay" not in name)
    records = read_samples(folder / "samples.jsonl")
    assert [record["index"] for record in records.values()] == list(range(samples))
    assert sum("score" in record for record in records.values()) == scored
    assert (folder / "results.md").read_text().count(f", first {samples} |") == len(values)
    assert len(list(folder.glob("cases/*.png"))) == 2 * bool(scored)
    assert not list(folder.glob("samples.rank*"))


def test_refcoco_equals_a_plain_loop(run: Run, layouts: Path, nano: Any) -> None:
    values = run("refcoco", "refer_seg")
    sums = IouSums()
    predictor = ImagePredictor(*nano)
    dataset = RefCoco.open(layouts / "refer_seg", "refcoco", "val", sentences="joined")
    for index in range(len(dataset)):
        sample = dataset[index]
        assert sample.masks is not None
        sums.add(predictor.predict(sample.key_frame, sample.instruction)[0].mask, sample.masks[0])
    assert sums.intersection > 0
    assert values["refcoco_val/cIoU"] == pytest.approx(sums.ciou, abs=1e-6)
    assert values["refcoco_val/gIoU"] == pytest.approx(sums.giou, abs=1e-6)


def test_revos_equals_a_plain_loop(run: Run, layouts: Path, nano: Any) -> None:
    values = run("revos", "ReVOS", "eval.options.corrected=true")
    rows: dict[str, list[tuple[float, float]]] = {}
    predictor = VideoPredictor(*nano)
    for clip in ReVos.open(layouts / "ReVOS").clips:
        for expression in clip.expressions:
            found = predictor.predict(clip.frames, expression.text, Task.REASON_VOS)
            masks = np.stack([frame.predictions[0].mask for frame in found])
            truth = [clip.mask(expression, t) for t in range(len(clip))]
            region, boundary = region_and_boundary(masks, np.stack([t for t in truth if t is not None]))
            rows.setdefault(expression.type, []).append((region.mean(), boundary.mean()))
    for group in ("referring", "reasoning"):
        region, boundary = np.mean(rows[group], axis=0)
        assert region > 0
        assert values[f"revos_{group}/J"] == pytest.approx(region, abs=1e-6)
        assert values[f"revos_{group}/F"] == pytest.approx(boundary, abs=1e-6)


def test_refdavis_equals_the_davis_benchmark_on_the_written_images(
    run: Run, layouts: Path, tmp_path: Path
) -> None:
    values = run("refdavis", "ref-davis")
    pictures = only(tmp_path / "out") / "predictions"
    root = layouts / "ref-davis" / "DAVIS"
    tables = [evaluate_davis(root, pictures / f"anno_{number}").results() for number in range(4)]
    mean = mean_results(tables)
    assert len({table["J-Mean"] for table in tables}) > 1
    assert values["refdavis_val/J&F"] == mean["J&F-Mean"]
    assert values["refdavis_val/F-Recall"] == mean["F-Recall"]
    assert values["refdavis_val_anno3/J"] == tables[3]["J-Mean"]
    clips = RefDavis.open(layouts / "ref-davis").clips
    assert sorted(path.name for path in (pictures / "anno_0").iterdir()) == sorted(c.name for c in clips)


def test_sentences_of_an_image_share_its_features(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures: list[int] = []
    encode = ImagePredictor.encode

    def counted(self: ImagePredictor, image: Any) -> CachedFrame:
        pictures.append(1)
        return encode(self, image)

    monkeypatch.setattr(ImagePredictor, "encode", counted)
    run("refcoco", "refer_seg", "eval.options.sentences=each")
    assert len(pictures) == 2


def test_expressions_of_a_video_share_its_features(
    run: Run, layouts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames: list[int] = []
    encode = InstructSeg.encode_frame

    def counted(self: InstructSeg, clip_pixels: Any = None, seg_pixels: Any = None) -> Any:
        frames.append(0 if clip_pixels is None else len(clip_pixels))
        return encode(self, clip_pixels, seg_pixels)

    monkeypatch.setattr(InstructSeg, "encode_frame", counted)
    run("refdavis", "ref-davis")  # four sets of expressions
    assert sum(frames) == sum(len(clip) for clip in RefDavis.open(layouts / "ref-davis").clips)


@pytest.mark.parametrize(
    ("kind", "benchmark", "place", "stop"),
    [(Segmentation, "refcoco", "refer_seg", 6), (Expressions, "refytvos", "ref-youtube-vos", 1)],
)
def test_an_interrupted_run_resumes_with_the_same_result(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[Benchmark],
    benchmark: str,
    place: str,
    stop: int,
) -> None:
    whole = run(benchmark, place, out="whole")
    original: Any = kind.run
    yielded: list[ScoreRecord] = []

    def failing(self: Benchmark, runner: Runner, indices: Sequence[int]) -> Iterator[ScoreRecord]:
        for record in original(self, runner, indices):
            if len(yielded) == stop:
                raise KeyboardInterrupt
            yielded.append(record)
            yield record

    with monkeypatch.context() as patch:
        patch.setattr(kind, "run", failing)
        with pytest.raises(KeyboardInterrupt):
            run(benchmark, place)
    log = only(tmp_path / "out") / "samples.rank0.jsonl"
    assert len(read_samples(log)) == stop
    with log.open("ab") as file:
        file.write(b'{"name": "cut o')
    assert run(benchmark, place) == whole
    for name in ("samples.jsonl", "results.json"):
        assert (only(tmp_path / "out") / name).read_bytes() == (only(tmp_path / "whole") / name).read_bytes()
    assert len(read_samples(only(tmp_path / "out") / "samples.jsonl")) > stop


def test_a_finished_run_does_nothing_again_and_a_higher_limit_adds(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("reasonseg", "ReasonSeg", "eval.limit=1")
    whole = run("reasonseg", "ReasonSeg")

    def never(*_: Any) -> None:
        raise AssertionError("ran again")

    monkeypatch.setattr(Segmentation, "run", never)
    assert run("reasonseg", "ReasonSeg") == whole


@pytest.mark.parametrize(
    ("benchmark", "place"),
    [("refcoco", "refer_seg"), pytest.param("refdavis", "ref-davis", marks=pytest.mark.slow)],
)
def test_two_processes_are_identical_to_one(
    run: Run, layouts: Path, checkpoint: Path, tmp_path: Path, benchmark: str, place: str
) -> None:
    run(benchmark, place, out="one")
    words = basics(checkpoint, layouts / place, tmp_path / "two", benchmark)
    program = [str(REPOSITORY / "train_net.py"), "--config-file", str(CONFIGS / f"{benchmark}.yaml")]
    ended = run_in_two(tmp_path, *program, "--eval-only", *words)
    assert [code for code, _, _ in ended] == [0, 0], ended
    assert json.loads("".join(out for _, out, _ in ended))["samples"] > 1  # printed once
    for name in ("results.json", "samples.jsonl", "results.md"):
        assert (only(tmp_path / "two") / name).read_bytes() == (only(tmp_path / "one") / name).read_bytes()


def test_submissions_are_accepted_by_the_validators(run: Run, layouts: Path, tmp_path: Path) -> None:
    run("refytvos", "ref-youtube-vos", out="a")
    clips = RefYtVos.open(layouts / "ref-youtube-vos").clips
    videos = [ExpectedVideo(c.name, c.frame_names, tuple(e.id for e in c.expressions), c.size) for c in clips]
    assert validate(only(tmp_path / "a") / "submission.zip", LAYOUTS["ref-youtube-vos"], videos) == []
    run("vqav2", "eval", out="b")
    texts = read_samples(only(tmp_path / "b") / "samples.jsonl").values()
    ids = [record["question_id"] for record in texts]
    assert validate_vqav2(only(tmp_path / "b") / "submission.json", ids) == []
    run("mmbench", "eval", out="c")
    asked = [record["question_id"] for record in read_samples(only(tmp_path / "c") / "samples.jsonl").values()]
    faults = validate_mmbench(only(tmp_path / "c") / "submission.xlsx", asked)
    assert all("no prediction" in fault for fault in faults)  # random weights may have nothing to say


def test_questions_that_share_an_image_are_answered_as_alone(nano: Any, tmp_path: Path) -> None:
    model, processor = nano
    frame = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    asked = ["what is red?", "which shape is left of the big blue square?"]
    predictor = ImagePredictor(model, processor)
    together = answers(Runner(model, processor, tmp_path), frame, asked, 5)
    assert together == [predictor.answer(frame, text, 5) for text in asked]


def test_below_the_threshold_a_sample_scores_as_nothing(run: Run, tmp_path: Path) -> None:
    run("grefcoco", "grefer_seg", "eval.options.threshold=1")
    records = read_samples(only(tmp_path / "out") / "samples.jsonl").values()
    assert {record["score"] for record in records} == {0.0, 1.0}
    assert all(record["score"] == record["is_nothing"] and record["union"] for record in records)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["eval.benchmark=refcocoo"], r"eval.benchmark: no benchmark 'refcocoo': use refcoco, refcoco\+"),
        (["eval.split=valid"], r"eval.split: refcoco has no split 'valid': there are val, testA"),
        (
            ["eval.options.sentence=each"],
            r"eval.options.sentence: .* no such option; the closest is 'sentences'",
        ),
        (["eval.options.converted=1"], r"eval.options.converted: expected bool, got 1"),
        (["eval.options.sentences=some"], r"sentences must be 'each' or 'joined', got 'some'"),
        (["eval.limit=0"], r"limit must be at least 1, got 0"),
        (["model.overrides.depth=2"], r"model.overrides: a model is measured as it is"),
    ],
)
def test_mistakes_are_named(run: Run, words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run("refcoco", "refer_seg", *words)


def test_other_weights_or_files_behind_the_same_names_are_refused(
    run: Run, layouts: Path, checkpoint: Path, tmp_path: Path
) -> None:
    data, model = tmp_path / "data", tmp_path / "model"
    shutil.copytree(layouts / "custom-images", data)
    shutil.copytree(checkpoint, model)
    words = [f"eval.root={data}", f"model.name={model}", "eval.limit=1"]
    with pytest.raises(FileNotFoundError):
        run("custom_images", "custom-images", *words, f"model.name={tmp_path / 'nowhere'}")
    run("custom_images", "custom-images", *words)  # what failed before left nothing that is in the way
    table = data / "instructions.csv"
    table.touch()
    (data / "notes.ipynb").write_text("{}")
    run("custom_images", "custom-images", *words)  # neither a date nor a file that is not read is a change
    before = table.read_bytes()
    table.write_bytes(before + b"\n")
    with pytest.raises(ValueError, match="holds an evaluation with files"):
        run("custom_images", "custom-images", *words)
    shutil.rmtree(tmp_path / "out")
    run("custom_images", "custom-images", *words)
    weights = load_file(model / "model.safetensors")
    weights["mask_decoder.query_proj.weight"] += 0.1
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="holds an evaluation with weights"):
        run("custom_images", "custom-images", *words)


def test_partial_results_have_no_paper_figures_beside_them(run: Run, tmp_path: Path) -> None:
    words = ["eval.split=train", "eval.options.exclude=['*/1']"]
    assert all(name.startswith("revos_train_") for name in run("revos", "ReVOS", *words))
    table = (only(tmp_path / "out") / "results.md").read_text()
    assert "| revos_train_overall, some left out |" in table and "54.5" not in table


def test_a_part_of_a_davis_video_is_not_left_out(run: Run) -> None:
    name = "bike-packing"
    with pytest.raises(ValueError, match=rf"leaves out a part of {name}, .* leave out {name}/\* or none"):
        run("refdavis", "ref-davis-referformer", f"eval.options.exclude=['{name}/0']")


def test_a_folder_of_other_settings_is_refused(run: Run) -> None:
    run("reasonseg", "ReasonSeg", "eval.limit=1")
    with pytest.raises(ValueError, match=r"reasonseg_val holds an evaluation with options .*False"):
        run("reasonseg", "ReasonSeg", "eval.options.official_ignore_as_background=false")


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (["eval.root={tmp}/no"], "{tmp}/no is missing"),
        (["eval.root={tmp}"], "{tmp}/val: the folder is missing"),
    ],
)
def test_missing_files_are_named_and_exit_2(tmp_path: Path, words: list[str], path: str) -> None:
    given = [word.format(tmp=tmp_path) for word in [*words, "output_dir={tmp}/out"]]
    done = CliRunner().invoke(app, ["eval", str(CONFIGS / "reasonseg.yaml"), *given])
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: {path.format(tmp=tmp_path)}") and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_progress_is_logged_where_there_is_no_terminal(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runner, "LOG_SECONDS", 0.0)
    with caplog.at_level("INFO", logger="instructseg"):
        run("reasonseg", "ReasonSeg")
    assert any("reasonseg_val: 2 of 2 images" in record.getMessage() for record in caplog.records)
