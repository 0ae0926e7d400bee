"""Metrics by name, and the benchmark that an evaluation of the catalog describes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

from instructseg.benchmarks import segmentation, text, videos
from instructseg.benchmarks.base import Benchmark, ResultTable
from instructseg.benchmarks.submission import LAYOUTS
from instructseg.config import EvalConfig
from instructseg.data.catalog import ALIASES, evaluations
from instructseg.data.catalog_row import Evaluation, Options, complete_options
from instructseg.inference.frame_window import REFERENCES


@dataclass(frozen=True)
class Metric:
    """A way to score a data set.

    Attributes:
        make: takes the name of the results, the open data set, all options and the key of the submission.
        options: -> default value, beside those of the data set.
    """

    make: Callable[[str, Any, Options, str], Benchmark]
    options: Options


def completed(config: EvalConfig) -> EvalConfig:
    """The configuration with default split and options where they are not given.

    Raises:
        ValueError: there is no such benchmark, split or option, or an option has another type.
    """
    name = ALIASES.get(config.benchmark, config.benchmark)
    known = evaluations()
    if name not in known:
        raise ValueError(f"eval.benchmark: no benchmark '{config.benchmark}': use {', '.join(known)}")
    splits = splits_of(name)
    split = config.split or (splits[0] if splits else "")
    if splits and split not in splits:
        there = ", ".join(splits).strip() or "none"
        raise ValueError(f"eval.split: {name} has no split '{split}': there are {there}")
    options = complete_options(name, options_of(name), config.options, "eval.options")
    return replace(config, benchmark=name, split=split, options=options)


def splits_of(name: str) -> tuple[str, ...]:
    """The splits of a benchmark, the usual one first; empty where the data decide."""
    row, evaluation = evaluations()[name]
    return row.splits if evaluation.splits is None else evaluation.splits


def options_of(name: str) -> dict[str, Any]:
    """The options of a benchmark with their defaults: those of its data set and of its metric."""
    row, evaluation = evaluations()[name]
    of_data = row.options if evaluation.options is None else evaluation.options
    return {**of_data, **METRICS[evaluation.metric].options}


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
    row, evaluation = evaluations()[config.benchmark]
    opener = evaluation.open or row.open
    dataset = opener(config.root, config.split, config.options)
    name = result_name(evaluation, config.split, config.options)
    return METRICS[evaluation.metric].make(name, dataset, config.options, evaluation.submission)


def result_name(evaluation: Evaluation, split: str, options: Options) -> str:
    """The name of the results, below which they are stored."""
    return (f"{evaluation.name}_{split}" if split else evaluation.name) + evaluation.suffix(options)


def _masks(metrics: Callable[..., dict[str, float]], taken: tuple[str, ...], options: Options) -> Metric:
    """A metric of masks in images; ``taken`` are the options that ``metrics`` takes."""

    def make(row: str, dataset: Any, given: Options, submission: str) -> Benchmark:
        scores = partial(metrics, **{name: given[name] for name in taken})
        threshold, explain = given.get("threshold", 0.0), given.get("explain", False)
        return segmentation.Segmentation(row, dataset, scores, threshold, explain, given.get("union", False))

    return Metric(make, options)


def _expressions(
    metrics: Callable[..., ResultTable], row: str, dataset: Any, options: Options, submission: str
) -> Benchmark:
    layout, threshold = LAYOUTS[submission], options["threshold"]
    return videos.Expressions(row, dataset, partial(metrics, row), layout, threshold, options["references"])


def _scored(metrics: Callable[..., ResultTable], threshold: float = 0.0) -> Metric:
    return Metric(partial(_expressions, metrics), {"references": REFERENCES, "threshold": threshold})


def _revos(row: str, dataset: Any, options: Options, submission: str) -> Benchmark:
    metrics = partial(videos.revos_metrics, row.removesuffix("_valid"), not options["corrected"])
    layout = LAYOUTS[submission]
    return videos.Expressions(row, dataset, metrics, layout, options["threshold"], options["references"])


def _davis(row: str, dataset: Any, options: Options, submission: str) -> Benchmark:
    soft, decay = options["soft"], options["official_decay"]
    return videos.Davis(row, dataset, LAYOUTS[submission], soft, decay, options["references"])


def _answers(score: Any, metrics: Any) -> Metric:
    def make(row: str, dataset: Any, options: Options, submission: str) -> Benchmark:
        return text.Answering(
            row, dataset, score, metrics, text.SUBMISSIONS.get(submission), options["max_new_tokens"]
        )

    return Metric(make, {"max_new_tokens": text.MAX_NEW_TOKENS})


_RELA: Options = {"threshold": 0.5, "official_size": False, "union": False}
METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "iou": _masks(segmentation.iou_metrics, ("official_sums",), {"official_sums": False}),
        "reasoning": _masks(
            segmentation.iou_metrics, ("official_sums",), {"official_sums": False, "explain": False}
        ),
        "generalized": _masks(segmentation.generalized_metrics, ("threshold", "official_size"), _RELA),
        "zero_one_many": _masks(segmentation.zero_one_many_metrics, ("threshold", "official_size"), _RELA),
        "custom_masks": _masks(segmentation.custom_metrics, ("threshold",), {"threshold": 0.0, "union": False}),
        "expressions": _scored(videos.expression_metrics),
        "typed_expressions": _scored(partial(videos.typed_metrics, ("J", "F"))),
        "long_term": _scored(partial(videos.typed_metrics, ("J", "F", "tIoU", "vIoU"))),
        "no_target": _scored(videos.no_target_metrics, threshold=0.5),
        "revos": Metric(_revos, {"references": REFERENCES, "threshold": 0.0, "corrected": False}),
        "davis": Metric(_davis, {"soft": True, "official_decay": False, "references": REFERENCES}),
        "vqa_accuracy": _answers(text.score_vqav2, text.mean_accuracy),
        "gqa": _answers(text.score_gqa, text.mean_accuracy),
        "pope": _answers(text.score_pope, text.pope_metrics),
        "img_accuracy": _answers(text.score_choice, text.img_accuracy),
        "circular_accuracy": _answers(text.score_choice, text.circular_accuracy),
    }
)
"""Name -> metric; see :class:`~instructseg.data.catalog.Evaluation`."""
