"""How well a model does on generated scenes that are never trained on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from instructseg.config import DataConfig
from instructseg.data.scenes import SceneConfig
from instructseg.data.synthetic import SyntheticDataset
from instructseg.evaluation import IouSums
from instructseg.inference.postprocess import postprocess
from instructseg.structures import Sample, Task

if TYPE_CHECKING:
    from torch import nn

    from instructseg.processing import InstructSegProcessor

BATCH_ROWS = 32
"""Rows of one batch."""


def synthetic_dataset(
    config: DataConfig, split: str, clips: bool, length: int | None = None
) -> SyntheticDataset:
    """Generated images or five-frame clips, as ``config`` describes them."""
    return SyntheticDataset(
        length or config.length,
        seed=config.seed,
        config=SceneConfig(**{**config.scene, "frames": 5 if clips else 1}),
        tasks=(Task.RVOS,) if clips else (Task.RES,),
        expressions_per_scene=config.expressions_per_scene,
        split=split,
    )


def held_out(
    config: DataConfig,
    processor: InstructSegProcessor,
    split: str = "val",
    scenes: int = 100,
    forms: bool = False,
) -> Callable[[nn.Module], dict[str, float]]:
    """An evaluation on ``scenes`` images and as many clips of a split.

    Args:
        config: what the scenes look like.
        processor: of the model.
        split: ``val``, or ``test`` for figures to be quoted.
        scenes: how many of each, with ``config.expressions_per_scene`` instructions on each.
        forms: whether there is a line for every form of description (``colour shape`` ..) too.

    Returns:
        A function of the model; its values are ``<image|clip>/<all|chance|form>/<ciou|giou|n>``, 0..1 but for
        the counts. ``chance`` takes the true mask of any thing that is seen. On clips gIoU is the J of DAVIS.
    """

    def run(model: nn.Module) -> dict[str, float]:
        values: dict[str, float] = {}
        for name, clips in (("image", False), ("clip", True)):
            sums = evaluate(model, processor, synthetic_dataset(config, split, clips, scenes))
            for key, one in sums.items():
                if forms or key in ("all", "chance"):
                    values |= {f"{name}/{key}/ciou": one.ciou, f"{name}/{key}/giou": one.giou}
                    values |= {f"{name}/{key}/n": one.count}
        return values

    return run


@torch.inference_mode()
def evaluate(
    model: nn.Module, processor: InstructSegProcessor, dataset: SyntheticDataset
) -> dict[str, IouSums]:
    """IoU of the best mask of each sample at the frame's own size: of all, by form, and by chance."""
    sums: defaultdict[str, IouSums] = defaultdict(IouSums)
    rng = np.random.default_rng(0)
    samples = [sample for scene in range(len(dataset)) for sample in dataset[scene]]
    for first in range(0, len(samples), BATCH_ROWS):
        rows = samples[first : first + BATCH_ROWS]
        inputs = processor(rows).to(next(model.parameters()).device)
        for sample, prediction in zip(rows, postprocess(model(inputs), inputs), strict=True):
            truth, others = _masks(sample)
            for key in ("all", sample.meta["form"]):
                sums[key].add(prediction.mask, truth)
            guess = rng.choice(np.concatenate((truth[None], others)))
            sums["chance"].add(guess.astype(bool), truth)
    return dict(sums)


def _masks(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """``uint8[H, W]`` of what is meant, and ``uint8[M, H, W]`` of the other things."""
    assert sample.masks is not None and sample.distractors is not None
    return sample.masks[0], sample.distractors
