"""Validation on samples of data sets during training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from instructseg import distributed
from instructseg.config import DataConfig
from instructseg.data.dataset import Dataset
from instructseg.engine import Validation
from instructseg.evaluation import IouSums
from instructseg.evaluation.sums import merged
from instructseg.inference.postprocess import postprocess
from instructseg.processing import InstructSegProcessor
from instructseg.training.mixture_samples import open_dataset


def validation(config: DataConfig, processor: InstructSegProcessor) -> Validation:
    """Builds the evaluation on ``config.val``.

    Returns:
        Evaluation of a model, with the names of its values: ``<data set>/<ciou|giou|n>``, and
        ``mean/<ciou|giou>`` over the data sets, 0..1 but for the counts. A video counts with the key frame of
        its sample.

    Raises:
        FileNotFoundError, ValueError: as :func:`open_dataset`; a data set is listed twice.
    """
    datasets: dict[str, Dataset] = {}
    for part in config.val:
        key = f"{part.name}:{part.split}" if sum(o.name == part.name for o in config.val) > 1 else part.name
        if key in datasets:
            raise ValueError(f"data.val: {key} is listed twice")
        datasets[key] = open_dataset(part)

    def run(model: nn.Module) -> dict[str, float]:
        values: dict[str, float] = {}
        for name, dataset in datasets.items():
            chosen = spread(len(dataset), config.val_samples)
            sums = measure(model, processor, dataset, chosen, config.batch_size)
            values |= {f"{name}/ciou": sums.ciou, f"{name}/giou": sums.giou, f"{name}/n": sums.count}
        return {**values, **_means(values, list(datasets))}

    keys = [f"{name}/{key}" for name in datasets for key in ("ciou", "giou", "n")]
    return Validation(run, frozenset([*keys, "mean/ciou", "mean/giou"]))


def spread(length: int, count: int) -> list[int]:
    """At most ``count`` indices, spread evenly over ``range(length)``."""
    count = min(length, count)
    return [number * length // count for number in range(count)]


@torch.no_grad()
def measure(
    model: nn.Module, processor: InstructSegProcessor, dataset: Dataset, chosen: Sequence[int], rows: int
) -> IouSums:
    """IoU of the best mask of each chosen sample, at the original frame size; processes share the samples.

    Every process runs the same number of batches, as sharded weights require: one with fewer samples repeats
    its last one, which is counted once. Samples without ground truth are skipped.

    Args:
        rows: of a batch.
    """
    world, rank = distributed.world_size(), distributed.rank()
    mine = list(chosen[rank::world])
    counted = len(mine)
    longest = -(-len(chosen) // world)
    mine += [mine[-1] if mine else chosen[0]] * (longest - counted)
    sums, device = IouSums(), next(model.parameters()).device
    for first in range(0, longest, rows):
        samples = [dataset[index] for index in mine[first : first + rows]]
        inputs = processor(samples).to(device)
        for place, (sample, found) in enumerate(
            zip(samples, postprocess(model(inputs), inputs), strict=True), start=first
        ):
            if place < counted and sample.masks is not None:
                truth = sample.masks.max(0) if len(sample.masks) else sample.key_frame[..., 0] * 0
                sums.add(found.mask, truth)
    return merged(sums)


def _means(values: Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
    return {
        f"mean/{key}": sum(values[f"{name}/{key}"] for name in names) / len(names) for key in ("ciou", "giou")
    }
