"""Segmentation of videos: data sets of expressions on videos, and Ref-DAVIS17.

Masks are written frame by frame in the layout of the submission, and scored as written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple
from pathlib import Path

import numpy as np

from instructseg.benchmarks.base import Benchmark, ResultTable, Runner, ScoreRecord
from instructseg.benchmarks.folders import score_expression
from instructseg.benchmarks.submission import (
    ExpectedVideo,
    MaskLayout,
    mask_path,
    pack,
    validate,
    write_labels,
    write_mask,
)
from instructseg.data.clips import Clip, Expression
from instructseg.data.datasets.refdavis import RefDavis
from instructseg.data.referring_videos import ReferringVideos
from instructseg.data.video_masks import PaletteTruth, read_palette
from instructseg.evaluation.davis import DavisSums, mean_results, unsupervised
from instructseg.evaluation.expressions import ExpressionScores, ExpressionSums
from instructseg.evaluation.jf import Statistics, statistics
from instructseg.evaluation.sums import mean
from instructseg.inference import VideoPredictor
from instructseg.inference.frame_window import REFERENCES
from instructseg.log import get_logger
from instructseg.masks import load_index_png
from instructseg.prediction import Prediction
from instructseg.structures import IGNORE_PIXEL
from instructseg.visualization import contact_sheet, draw_masks

logger = get_logger(__name__)

SHOWN_FRAMES = 4
"""Frames of a video in the drawing of a case."""

ExpressionMetrics = Callable[[ExpressionSums], ResultTable]


class Expressions(Benchmark):
    """One sample per expression on a video, scored by J&F.

    Args:
        threshold: presence (0..1) below which a mask is empty; 0 always gives a mask.
    """

    unit = "videos"

    def __init__(
        self,
        row: str,
        dataset: ReferringVideos,
        metrics: ExpressionMetrics,
        layout: MaskLayout,
        threshold: float = 0.0,
        references: int = REFERENCES,
    ) -> None:
        self.row, self.layout = row, layout
        self.dataset: ReferringVideos = dataset
        self.threshold, self.references = threshold, references
        self._metrics = metrics
        self._items = [(clip, expression) for clip in dataset.clips for expression in clip.expressions]

    def __len__(self) -> int:
        return len(self._items)

    def image_key(self, index: int) -> str:
        """The name of the video."""
        return self._items[index][0].name

    def run(self, runner: Runner, indices: Sequence[int]) -> Iterator[ScoreRecord]:
        """See :meth:`Benchmark.run`."""
        clip = self._items[indices[0]][0]
        clip.check_size()  # before anything is written
        expressions = [self._items[index][1] for index in indices]
        predictor = VideoPredictor(runner.model, runner.processor, self.references)
        texts = [expression.text for expression in expressions]
        frames = predictor.predict(
            clip.frames,
            texts,
            self.dataset.task,
            batch_size=runner.batch_size,
            threshold=self.threshold,
            all_instances=False,
        )
        for name, result in zip(clip.frame_names, frames, strict=True):
            for expression, found in zip(expressions, result.predictions, strict=True):
                write_mask(runner.predictions, clip.name, expression.id, name, found.mask)
        for expression in expressions:
            record: ScoreRecord = {"name": f"{clip.name}/{expression.id}", "instruction": expression.text}
            yield record if clip.truth is None else record | self._score(runner, clip, expression)

    def results(self, records: Sequence[ScoreRecord]) -> ResultTable:
        """See :meth:`Benchmark.results`."""
        sums = ExpressionSums()
        for record in records:
            sums.add(ExpressionScores(record["name"], **record["scores"]))
        return self._metrics(sums)

    def submit(self, runner: Runner, records: Mapping[int, ScoreRecord]) -> None:
        """Packs the masks where the server takes a zip, and validates them."""
        asked: dict[str, list[int]] = {}
        for index in records:
            asked.setdefault(self.image_key(index), []).append(index)
        videos = []
        for name, indices in asked.items():
            frames = self._items[indices[0]][0].frame_names
            videos.append(ExpectedVideo(name, frames, tuple(self._items[index][1].id for index in indices)))
        target = runner.predictions
        if self.layout.zipped:
            target = runner.folder / "submission.zip"
            pack(runner.predictions, target, self.layout)
        warn_of_faults(target, self.layout, videos)

    def show(self, runner: Runner, index: int, record: ScoreRecord) -> np.ndarray:
        """Some frames: predictions above, ground truth below."""
        clip, expression = self._items[index]
        predicted, right = [], []
        for t in shown_frames(len(clip)):
            truth = clip.mask(expression, t)
            assert truth is not None
            found = load_index_png(_path(runner, clip, expression, t)) != 0
            predicted.append(draw_masks(clip.frames[t], [found], [expression.text], scores=[record["score"]]))
            right.append(draw_masks(clip.frames[t], [truth == 1], ["truth"]))
        return contact_sheet([*predicted, *right], columns=len(predicted))

    def _score(self, runner: Runner, clip: Clip, expression: Expression) -> ScoreRecord:
        frames = range(len(clip))
        prediction = np.stack([load_index_png(_path(runner, clip, expression, t)) for t in frames])
        scores = asdict(score_expression(clip, expression, prediction))
        del scores["name"]
        return {"score": (scores["region"] + scores["boundary"]) / 2, "scores": scores}


def _path(runner: Runner, clip: Clip, expression: Expression, t: int) -> Path:
    return mask_path(runner.predictions, clip.name, expression.id, clip.frame_names[t])


def expression_metrics(row: str, sums: ExpressionSums) -> ResultTable:
    """``J&F``, ``J`` and ``F`` of all expressions."""
    return {row: sums.results()}


def typed_metrics(columns: Sequence[str], row: str, sums: ExpressionSums) -> ResultTable:
    """Some columns of all expressions and of each type."""
    return {f"{row}_{name}" if name else row: values for name, values in sums.by_type(columns).items()}


def no_target_metrics(row: str, sums: ExpressionSums) -> ResultTable:
    """As :func:`expression_metrics`, with the accuracies of MeViS v2."""
    return {row: sums.no_target_results()}


def revos_metrics(row: str, official: bool, sums: ExpressionSums) -> ResultTable:
    """ReVOS's three groups; see :meth:`ExpressionSums.revos_results`."""
    return {f"{row}_{group}": values for group, values in sums.revos_results(official).items()}


def warn_of_faults(path: Path, layout: MaskLayout, videos: Sequence[ExpectedVideo]) -> None:
    """Validates a submission; logs the number of faults and the first."""
    faults = validate(path, layout, videos)
    if faults:
        logger.warning("%s cannot be submitted: %s (of %d faults)", path, faults[0], len(faults))


def shown_frames(count: int) -> list[int]:
    """Some of ``count`` frames, including the first and the last."""
    return sorted({round(t) for t in np.linspace(0, count - 1, SHOWN_FRAMES)})


class Davis(Benchmark):
    """Ref-DAVIS17: one sample per video; all objects of an expression set share its label maps.

    Args:
        soft: where objects overlap, the most probable one wins, and the background where none is probable
            (as released); otherwise the later object.
        official_decay: see :func:`~instructseg.evaluation.jf.statistics`.
    """

    unit = "videos"

    def __init__(
        self,
        row: str,
        dataset: RefDavis,
        layout: MaskLayout,
        soft: bool = True,
        official_decay: bool = False,
        references: int = REFERENCES,
    ) -> None:
        self.row, self.sets, self.layout = row, dataset.sets, layout
        self.dataset: RefDavis = dataset
        self.soft, self.official_decay, self.references = soft, official_decay, references

    def __len__(self) -> int:
        return len(self.dataset.clips)

    def image_key(self, index: int) -> str:
        """The name of the video."""
        return self.dataset.clips[index].name

    def run(self, runner: Runner, indices: Sequence[int]) -> Iterator[ScoreRecord]:
        """See :meth:`Benchmark.run`."""
        for index in indices:
            clip = self.dataset.clips[index]
            clip.check_size()
            groups = self._groups(clip)
            self._predict(runner, clip, groups)
            scores = [] if clip.truth is None else [self._score(runner, clip, number) for number in groups]
            record: ScoreRecord = {"name": clip.name}
            if scores:
                means = [(pair[0][0] + pair[1][0]) / 2 for objects in scores for pair in objects]
                record |= {"score": mean(means), "objects": scores}
            yield record

    def results(self, records: Sequence[ScoreRecord]) -> ResultTable:
        """The mean of the sets, and each of them."""
        tables = []
        for number in range(self.sets):
            sums = DavisSums(self.official_decay)
            for record in records:
                for place, (region, boundary) in enumerate(record["objects"][number], 1):
                    sums.objects[f"{record['name']}_{place}"] = (Statistics(*region), Statistics(*boundary))
            tables.append({key.removesuffix("-Mean"): value for key, value in sums.results().items()})
        each = {f"{self.row}_anno{number}": table for number, table in enumerate(tables)}
        return {self.row: mean_results(tables), **(each if self.sets > 1 else {})}

    def submit(self, runner: Runner, records: Mapping[int, ScoreRecord]) -> None:
        """Validates the label maps of each set; DAVIS takes the folders."""
        clips = [self.dataset.clips[index] for index in records]
        videos = [ExpectedVideo(clip.name, clip.frame_names) for clip in clips]
        for number in range(self.sets):
            warn_of_faults(self._folder(runner, number), self.layout, videos)

    def show(self, runner: Runner, index: int, record: ScoreRecord) -> np.ndarray:
        """Some frames of the first set: predictions above, ground truth below."""
        clip = self.dataset.clips[index]
        expressions = self._groups(clip)[0]
        labels = [label_of(expression) for expression in expressions]
        texts = [expression.text for expression in expressions]
        panels: list[list[np.ndarray]] = [[], []]
        for t in shown_frames(len(clip)):
            found = load_index_png(self._folder(runner, 0) / clip.name / f"{clip.frame_names[t]}.png")
            for row, numbers in zip(panels, (found, _labels(clip, t)), strict=True):
                masks = [numbers == label for label in labels]
                row.append(draw_masks(clip.frames[t], masks, texts if row is panels[0] else None))
        return contact_sheet([*panels[0], *panels[1]], columns=len(panels[0]))

    def _groups(self, clip: Clip) -> dict[int, list[Expression]]:
        """The expressions of each set."""
        groups: dict[int, list[Expression]] = {number: [] for number in range(self.sets)}
        for expression in clip.expressions:
            groups[int(expression.id) % self.sets].append(expression)
        return groups

    def _folder(self, runner: Runner, number: int) -> Path:
        return runner.predictions / f"anno_{number}" if self.sets > 1 else runner.predictions

    def _predict(self, runner: Runner, clip: Clip, groups: Mapping[int, list[Expression]]) -> None:
        """Writes the label maps of all sets; frames are encoded once."""
        predictor = VideoPredictor(runner.model, runner.processor, self.references)
        asked = [expression for group in groups.values() for expression in group]
        texts = [expression.text for expression in asked]
        frames = predictor.predict(
            clip.frames,
            texts,
            self.dataset.task,
            soft=self.soft,
            batch_size=runner.batch_size,
            threshold=0,
            all_instances=False,
        )
        merge = merge_soft if self.soft else merge_hard
        for name, result in zip(clip.frame_names, frames, strict=True):
            found = iter(result.predictions)
            for number, group in groups.items():
                labels = [label_of(expression) for expression in group]
                maps = merge([next(found) for _ in group], labels)
                write_labels(self._folder(runner, number), clip.name, name, maps)

    def _score(self, runner: Runner, clip: Clip, number: int) -> list[list[tuple[float, ...]]]:
        """Mean, recall and decay of J and of F, by object, by the unsupervised protocol."""
        folder = self._folder(runner, number) / clip.name
        prediction = np.stack([load_index_png(folder / f"{name}.png") for name in clip.frame_names])
        truth = np.stack([_labels(clip, t) for t in range(len(clip))])
        objects = int(np.where(truth[0] == IGNORE_PIXEL, 0, truth[0]).max())
        scores = unsupervised(prediction, truth, objects, clip.name)
        return [
            [
                astuple(statistics(values[place], self.official_decay))
                for values in (scores.region, scores.boundary)
            ]
            for place in scores.official_order
        ]


def label_of(expression: Expression) -> int:
    """The label of the target object of an expression of Ref-DAVIS17."""
    return int(expression.objects[0])


def _labels(clip: Clip, t: int) -> np.ndarray:
    """Object numbers ``uint8[H, W]``, 255 to ignore."""
    assert isinstance(clip.truth, PaletteTruth)
    return read_palette(clip.truth.folder / f"{clip.truth.names[t]}.png")


def merge_soft(predictions: Sequence[Prediction], labels: Sequence[int]) -> np.ndarray:
    """One label map of several soft masks: the most probable of objects and background.

    Args:
        predictions: with ``probability``, one per object.

    Returns:
        ``uint8[H, W]``, 0 on the background, with the probability of no object at all.
    """
    chances = np.stack([found.probability for found in predictions if found.probability is not None])
    best = np.concatenate([np.prod(1 - chances, axis=0, keepdims=True), chances]).argmax(axis=0)
    return np.array([0, *labels], np.uint8)[best]


def merge_hard(predictions: Sequence[Prediction], labels: Sequence[int]) -> np.ndarray:
    """One label map ``uint8[H, W]`` of several masks, later ones over earlier ones."""
    maps = np.zeros(predictions[0].mask.shape, np.uint8)
    for found, label in zip(predictions, labels, strict=True):
        maps[found.mask] = label
    return maps
