"""Segmentation of images: expressions, questions and custom data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from instructseg.benchmarks.base import Benchmark, ResultTable, Runner, ScoreRecord
from instructseg.data.dataset import Dataset
from instructseg.evaluation.generalized import GeneralizedSums
from instructseg.evaluation.iou import IouSums, at_lavt_size, intersection_union
from instructseg.inference import ImagePredictor
from instructseg.prediction import Prediction
from instructseg.structures import Sample
from instructseg.visualization import contact_sheet, draw_masks

LAVT_THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
RELA_THRESHOLDS = (0.7, 0.8, 0.9)

MaskScores = Callable[[Sequence[ScoreRecord]], dict[str, float]]


class Segmentation(Benchmark):
    """Masks in images.

    Args:
        metrics: of records with ``intersection`` and ``union``, the same at LAVT's size with the suffix
            ``_480``, ``is_nothing`` (no target) and ``presence`` (of the prediction, 0..1).
        threshold: presence below which ``score`` and drawing are those of an empty mask; the counts are of the
            mask itself.
        explain: whether the model writes an explanation before it segments.
        union: whether the mask is that of all objects that fit, not of the best one.
    """

    def __init__(
        self,
        row: str,
        dataset: Dataset,
        metrics: MaskScores,
        threshold: float = 0.0,
        explain: bool = False,
        union: bool = False,
    ) -> None:
        self.row, self.dataset, self.metrics = row, dataset, metrics
        self.threshold, self.explain, self.union = threshold, explain, union

    def run(self, runner: Runner, indices: Sequence[int]) -> Iterator[ScoreRecord]:
        """See :meth:`Benchmark.run`."""
        samples = [self.dataset[index] for index in indices]
        for sample, found in zip(samples, self._predict(runner, samples), strict=True):
            record: ScoreRecord = {
                "name": sample.name,
                "instruction": sample.instruction,
                "presence": found.presence,
                **({} if found.text is None else {"answer": found.text}),
            }
            if sample.masks is not None:
                record |= compare(found.mask, sample.masks)
                if found.presence < self.threshold:
                    record["score"] = float(record["is_nothing"])
            yield record

    def results(self, records: Sequence[ScoreRecord]) -> ResultTable:
        """See :meth:`Benchmark.results`."""
        return {self.row: self.metrics(records)}

    def show(self, runner: Runner, index: int, record: ScoreRecord) -> np.ndarray:
        """See :meth:`Benchmark.show`."""
        sample = self.dataset[index]
        found = self._predict(runner, [sample])[0]
        assert sample.masks is not None
        mask = found.mask & (found.presence >= self.threshold)
        panels = [
            draw_masks(sample.key_frame, [mask], [sample.instruction], scores=[record["score"]]),
            draw_masks(sample.key_frame, [union_of(sample.masks) == 1], ["truth"]),
        ]
        return contact_sheet(panels, columns=2)

    def _predict(self, runner: Runner, samples: Sequence[Sample]) -> list[Prediction]:
        """One prediction per sample of the same image, encoded once."""
        predictor = ImagePredictor(runner.model, runner.processor)
        image = predictor.encode(samples[0].key_frame)
        found: dict[int, Prediction] = {}
        for task in dict.fromkeys(sample.task for sample in samples):
            places = [place for place, sample in enumerate(samples) if sample.task is task]
            asked = [samples[place].instruction for place in places]
            masks = predictor.predict(
                image,
                asked,
                task,
                explain=self.explain,
                batch_size=runner.batch_size,
                threshold=0,
                all_instances=self.union,
                union=self.union,
            )
            found.update(zip(places, masks, strict=True))
        return [found[place] for place in range(len(samples))]


def union_of(masks: np.ndarray) -> np.ndarray:
    """``uint8[N, H, W]`` to ``uint8[H, W]``: 1 on any target, else 255 where any mask is to be ignored."""
    return np.where((masks == 1).any(axis=0), 1, masks.max(axis=0, initial=0)).astype(np.uint8)


def compare(mask: np.ndarray, masks: np.ndarray) -> ScoreRecord:
    """Pixel counts of one sample, for the metrics.

    Args:
        mask: ``bool[H, W]``, the prediction.
        masks: ``uint8[N, H, W]``, the ground truth; none without a target.
    """
    truth = union_of(masks)
    intersection, union = intersection_union(mask, truth)
    small = intersection_union(at_lavt_size(mask), at_lavt_size(truth))
    return {
        "intersection": intersection,
        "union": union,
        "intersection_480": small[0],
        "union_480": small[1],
        "is_nothing": len(masks) == 0,
        "score": intersection / union if union else 1.0,
    }


def iou_metrics(records: Sequence[ScoreRecord], official_sums: bool = False) -> dict[str, float]:
    """cIoU and gIoU as LISA defines them, oIoU, mIoU and Pr@k as LAVT does, at its size."""
    lisa, lavt = IouSums(official=official_sums), IouSums.lavt()
    for record in records:
        lisa.add_counts(record["intersection"], record["union"])
        lavt.add_counts(record["intersection_480"], record["union_480"])
    precision = {f"Pr@{threshold}": lavt.precision(threshold) for threshold in LAVT_THRESHOLDS}
    return {"cIoU": lisa.ciou, "gIoU": lisa.giou, "oIoU": lavt.ciou, "mIoU": lavt.giou, **precision}


def generalized_metrics(
    records: Sequence[ScoreRecord], threshold: float = 0.5, official_size: bool = False
) -> dict[str, float]:
    """gRefCOCO's metrics.

    Args:
        threshold: presence below which the prediction is "no target".
        official_size: compare at 480 x 480, as ReLA does, instead of at the size of the image.
    """
    sums = _generalized_sums(records, threshold, official_size)
    precision = {f"Pr@{value}": sums.precision(value) for value in RELA_THRESHOLDS}
    return {"gIoU": sums.giou, "cIoU": sums.ciou, "N-acc": sums.n_acc, "T-acc": sums.t_acc, **precision}


def zero_one_many_metrics(
    records: Sequence[ScoreRecord], threshold: float = 0.5, official_size: bool = False
) -> dict[str, float]:
    """Ref-ZOM's metrics: IoU of the expressions with targets, and Acc, the part of the others without a mask.

    Args:
        threshold, official_size: as of :func:`generalized_metrics`.
    """
    none, some = (
        _generalized_sums([one for one in records if one["is_nothing"] == nothing], threshold, official_size)
        for nothing in (True, False)
    )
    precision = {f"Pr@{value}": some.precision(value) for value in LAVT_THRESHOLDS}
    return {"oIoU": some.ciou, "mIoU": some.giou, "Acc": none.n_acc, **precision}


def _generalized_sums(records: Sequence[ScoreRecord], threshold: float, official_size: bool) -> GeneralizedSums:
    """Sums of all records; arguments as of :func:`generalized_metrics`."""
    sums, suffix = GeneralizedSums(), "_480" if official_size else ""
    for record in records:
        counts = record[f"intersection{suffix}"], record[f"union{suffix}"]
        sums.add_counts(*counts, record["presence"] < threshold, record["is_nothing"])
    return sums


def custom_metrics(records: Sequence[ScoreRecord], threshold: float = 0.0) -> dict[str, float]:
    """RefCOCO's metrics; gRefCOCO's where some instructions have no target, or a threshold allows it."""
    if threshold or any(record["is_nothing"] for record in records):
        return generalized_metrics(records, threshold)
    return iou_metrics(records)
