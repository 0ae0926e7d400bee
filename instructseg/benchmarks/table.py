"""The benchmarks by name: how their files are opened, what is measured, and which options there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from instructseg.benchmarks.base import Benchmark
from instructseg.benchmarks.images import (
    Segmentation,
    generalized_metrics,
    iou_metrics,
    own_metrics,
)
from instructseg.benchmarks.submission import MEVIS, REF_YOUTUBE_VOS, REVOS
from instructseg.benchmarks.text import (
    MAX_NEW_TOKENS,
    Answering,
    hand_in_mmbench,
    hand_in_vqav2,
    img_accuracy,
    mean_accuracy,
    mmbench_metrics,
    pope_metrics,
    score_choice,
    score_gqa,
    score_pope,
    score_vqav2,
)
from instructseg.benchmarks.videos import Davis, Expressions, expression_metrics, revos_metrics
from instructseg.config import EvalConfig
from instructseg.data.clips import Clip
from instructseg.data.custom.custom_images import CustomImages
from instructseg.data.custom.custom_videos import CustomVideos
from instructseg.data.dataset import DataError, Fault
from instructseg.data.datasets import mmbench, vqa
from instructseg.data.datasets.grefcoco import GRefCoco
from instructseg.data.datasets.mevis import MeVis
from instructseg.data.datasets.reasonseg import ReasonSeg
from instructseg.data.datasets.refcoco import RefCoco
from instructseg.data.datasets.refdavis import SETS, RefDavis
from instructseg.data.datasets.refytvos import RefYtVos
from instructseg.data.datasets.revos import ReVos
from instructseg.inference.video import REFERENCES
from instructseg.structures import Task

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """A benchmark of the table.

    Attributes:
        open: takes the root, the split and all options.
        splits: the usual one first; empty where the data decide.
        options: name -> value unless said; a given one is of the same type.
    """

    open: Callable[[Path, str, Options], Benchmark]
    splits: tuple[str, ...]
    options: Options = field(default_factory=dict)


def completed(config: EvalConfig) -> EvalConfig:
    """The configuration with the usual split and all options where they are not given.

    Raises:
        ValueError: there is no such benchmark, split or option, or an option is of another type.
    """
    if config.benchmark not in BENCHMARKS:
        raise ValueError(f"eval.benchmark: no benchmark '{config.benchmark}': use {', '.join(BENCHMARKS)}")
    entry = BENCHMARKS[config.benchmark]
    split = config.split or (entry.splits[0] if entry.splits else "")
    if entry.splits and split not in entry.splits:
        known = ", ".join(entry.splits).strip() or "none"
        raise ValueError(f"eval.split: {config.benchmark} has no split '{split}': there are {known}")
    return replace(config, split=split, options=_options(config.benchmark, entry.options, config.options))


def open_benchmark(config: EvalConfig) -> Benchmark:
    """Opens the files of a benchmark.

    Args:
        config: that is :func:`completed`.

    Raises:
        FileNotFoundError: the root or a file is missing; names it.
        ValueError: an option has no such value, or a file is damaged.
    """
    if not config.root.exists():
        raise FileNotFoundError(f"{config.root} is missing: set eval.root to the files of {config.benchmark}")
    return BENCHMARKS[config.benchmark].open(config.root, config.split, config.options)


def _options(benchmark: str, known: Options, given: Options) -> dict[str, Any]:
    for name, value in given.items():
        if name not in known:
            closest = get_close_matches(name, known, n=1, cutoff=0.0)
            hint = f"; the closest is '{closest[0]}'" if closest else ""
            raise ValueError(f"eval.options.{name}: {benchmark} has no such option{hint}")
        wanted = type(known[name])
        fits = type(value) is wanted or (wanted is float and type(value) is int) or known[name] is None
        if not fits:
            raise ValueError(f"eval.options.{name}: expected {wanted.__name__}, got {value!r}")
    return {**known, **given}


def _refcoco(name: str, root: Path, split: str, options: Options) -> Benchmark:
    sentences, polygons = options["sentences"], options["official_polygons"]
    if options["converted"]:
        images = options["images"] or root / "images"
        dataset = RefCoco.open_converted(root, name, split, images, sentences, polygons)
    else:
        split_by, images = options["split_by"] or None, options["images"] or None
        dataset = RefCoco.open(root, name, split, split_by, sentences, images, polygons)
    by = f"_{options['split_by']}" if options["split_by"] else ""
    # the paper's figure is of all sentences of an object together
    row = f"{name}_{split}{by}" + ("_each" if sentences == "each" else "")
    return Segmentation(row, dataset, partial(iou_metrics, official_sums=options["official_sums"]))


def _grefcoco(root: Path, split: str, options: Options) -> Benchmark:
    dataset = GRefCoco.open(root, split, options["sentences"], options["images"] or None)
    metrics = partial(
        generalized_metrics, threshold=options["threshold"], official_size=options["official_size"]
    )
    return Segmentation(f"grefcoco_{split}", dataset, metrics, options["threshold"])


def _reasonseg(root: Path, split: str, options: Options) -> Benchmark:
    dataset = ReasonSeg(root, split, options["official_ignore_as_background"])
    metrics = partial(iou_metrics, official_sums=options["official_sums"])
    return Segmentation(f"reasonseg_{split}", dataset, metrics, explain=options["explain"])


def _own_images(root: Path, split: str, options: Options) -> Benchmark:
    dataset = CustomImages(root, split or None)
    if any(row.task is Task.VQA for row in dataset.rows):
        message = "some rows ask for words (task vqa), whose answers are not measured: give them another split"
        raise DataError(Fault.RECORD, dataset.source, message)
    metrics = partial(own_metrics, threshold=options["threshold"])
    return Segmentation(_row("own_images", split), dataset, metrics, options["threshold"])


def _refytvos(root: Path, split: str, options: Options) -> Benchmark:
    if options["converted"]:
        dataset = RefYtVos.open_converted(root, split, exclude=options["exclude"])
    else:
        count = options["official_count"]
        dataset = RefYtVos.open(root, split, official_count=count, exclude=options["exclude"])
    return _expressions(f"refytvos_{split}", dataset, options, REF_YOUTUBE_VOS)


def _mevis(root: Path, split: str, options: Options) -> Benchmark:
    return _expressions(f"mevis_{split}", MeVis.open(root, split, exclude=options["exclude"]), options, MEVIS)


def _own_videos(root: Path, split: str, options: Options) -> Benchmark:
    dataset = CustomVideos.open(root, split or None, Task(options["task"]), exclude=options["exclude"])
    return _expressions(_row("own_videos", split), dataset, options, REVOS)


def _expressions(row: str, dataset: Any, options: Options, layout: Any) -> Benchmark:
    metrics = partial(expression_metrics, row)
    return Expressions(row, dataset, metrics, layout, options["threshold"], options["references"])


def _revos(root: Path, split: str, options: Options) -> Benchmark:
    dataset = ReVos.open(root, split, foreground=True, exclude=options["exclude"])
    row = "revos" if split == "valid" else f"revos_{split}"
    metrics = partial(revos_metrics, row, not options["corrected"])
    return Expressions(f"revos_{split}", dataset, metrics, REVOS, options["threshold"], options["references"])


def _refdavis(root: Path, split: str, options: Options) -> Benchmark:
    annotation = options["annotation"]
    row, sets = f"refdavis_{split}", len(SETS) if annotation is None else 1
    if options["converted"]:
        if annotation is not None or split != "val":
            raise ValueError(
                "eval.options.converted: the converted file is one set of val; drop the other option"
            )
        opened, sets = partial(RefDavis.open_converted, root), 1
    else:
        folder = "valid" if split == "val" else split
        opened = partial(RefDavis.open, root, folder, annotation)
        row += "" if annotation is None else f"_anno{annotation}"
    dataset = opened(exclude=options["exclude"])
    if options["exclude"]:
        _check_whole(opened().clips, dataset.clips)
    return Davis(row, dataset, sets, options["soft"], options["official_decay"], options["references"])


def _check_whole(clips: Sequence[Clip], kept: Sequence[Clip]) -> None:
    """The objects of a DAVIS clip are scored together: a clip is left out as a whole or not at all."""
    counts = {clip.name: len(clip.expressions) for clip in clips}
    for clip in kept:
        if len(clip.expressions) != counts[clip.name]:
            message = f"eval.options.exclude: it leaves out a part of {clip.name}, whose objects are scored"
            raise ValueError(f"{message} together: leave out {clip.name}/* or none of it")


def _vqav2(root: Path, split: str, options: Options) -> Benchmark:
    dataset = vqa.vqav2(root) if split == "test-dev" else vqa.vqav2_val(root)
    hand_in = partial(hand_in_vqav2, root) if split == "test-dev" else None
    return Answering(f"vqav2_{split}", dataset, score_vqav2, mean_accuracy, hand_in, options["max_new_tokens"])


def _mmbench(root: Path, split: str, options: Options) -> Benchmark:
    dataset = mmbench.MMBench(root, options["file"])
    hand_in = partial(hand_in_mmbench, dataset.file)
    file = Path(options["file"])
    row = "mmbench" if file.name == mmbench.FILE else f"mmbench_{file.stem.removeprefix('mmbench_')}"
    return Answering(row, dataset, score_choice, mmbench_metrics, hand_in, options["max_new_tokens"])


def _questions(opener: Any, score: Any, metrics: Any, root: Path, split: str, options: Options) -> Benchmark:
    benchmark = opener.__name__
    return Answering(
        _row(benchmark, split), opener(root), score, metrics, max_new_tokens=options["max_new_tokens"]
    )


def _row(benchmark: str, split: str) -> str:
    return f"{benchmark}_{split}" if split else benchmark


_REFCOCO: Options = {
    "sentences": "joined",
    "split_by": "",
    "converted": False,
    "images": "",
    "official_polygons": False,
    "official_sums": False,
}
_VIDEO: Options = {"references": REFERENCES, "exclude": [], "threshold": 0.0}
_DAVIS: Options = {
    "soft": True,
    "annotation": None,
    "converted": False,
    "official_decay": False,
    "references": REFERENCES,
    "exclude": [],
}
_TEXT: Options = {"max_new_tokens": MAX_NEW_TOKENS}
_EACH: Options = {"sentences": "each", "images": "", "threshold": 0.5, "official_size": False}
_REASON: Options = {"official_ignore_as_background": False, "official_sums": False, "explain": False}

BENCHMARKS: Mapping[str, Entry] = MappingProxyType(
    {
        "refcoco": Entry(partial(_refcoco, "refcoco"), ("val", "testA", "testB", "test", "train"), _REFCOCO),
        "refcoco+": Entry(partial(_refcoco, "refcoco+"), ("val", "testA", "testB", "train"), _REFCOCO),
        "refcocog": Entry(partial(_refcoco, "refcocog"), ("val", "test", "train"), _REFCOCO),
        "grefcoco": Entry(_grefcoco, ("val", "testA", "testB", "train"), _EACH),
        "reasonseg": Entry(_reasonseg, ("val", "test", "train"), _REASON),
        "own_images": Entry(_own_images, (), {"threshold": 0.0}),
        "refytvos": Entry(
            _refytvos, ("valid", "train"), {**_VIDEO, "converted": False, "official_count": True}
        ),
        "refdavis": Entry(_refdavis, ("val", "train"), _DAVIS),
        "revos": Entry(_revos, ("valid", "train"), {**_VIDEO, "corrected": False}),
        "mevis": Entry(_mevis, ("valid_u", "valid", "train"), _VIDEO),
        "own_videos": Entry(_own_videos, (), {**_VIDEO, "task": Task.RVOS.value}),
        "vqav2": Entry(_vqav2, ("test-dev", "val"), _TEXT),
        "gqa": Entry(partial(_questions, vqa.gqa, score_gqa, mean_accuracy), ("testdev",), _TEXT),
        "pope": Entry(partial(_questions, vqa.pope, score_pope, pope_metrics), ("",), _TEXT),
        "scienceqa": Entry(partial(_questions, vqa.scienceqa, score_choice, img_accuracy), ("test",), _TEXT),
        "mmbench": Entry(_mmbench, ("",), {**_TEXT, "file": mmbench.FILE}),
    }
)
"""Name, as in ``eval.benchmark``, to what there is of it."""
