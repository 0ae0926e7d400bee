"""One stage of a run: its samples as batches, its losses, its trainer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from instructseg.config import DataConfig, RunConfig
from instructseg.criterion import SegCriterion
from instructseg.engine import Trainer, Validation
from instructseg.log import get_logger
from instructseg.model import InstructSeg
from instructseg.processing import InstructSegProcessor
from instructseg.structures import MaskTargets, ModelInputs, Sample, Task
from instructseg.training.mixture_samples import open_mixture
from instructseg.training.validation import validation

logger = get_logger(__name__)


class SampleSource(Protocol):
    """Samples of each batch, a function of its number alone."""

    def samples(self, index: int) -> list[Sample]:
        """Samples of batch ``index``."""

    def names(self, index: int) -> Sequence[str]:
        """Names of the samples of batch ``index``, for error messages."""

    def task(self, index: int) -> str:
        """Name under which the losses of batch ``index`` are logged."""


@dataclass(frozen=True)
class SampleBatches:
    """Samples as model inputs and targets (an :class:`~instructseg.engine.BatchSource`).

    Attributes:
        source: the samples.
        processor: of the model.
        keep_tokens: least share of the key frame's tokens; each batch draws its own between this and 1.
        seed: of that draw.
    """

    source: SampleSource
    processor: InstructSegProcessor
    keep_tokens: float = field(default=1.0, kw_only=True)
    seed: int = field(default=0, kw_only=True)

    def batch(self, index: int) -> tuple[ModelInputs, list[MaskTargets]]:
        """Inputs and targets of batch ``index``."""
        samples = self.source.samples(index)
        inputs, least = self.processor(samples, training=True), self.keep_tokens
        if least < 1:
            share = float(np.random.default_rng([self.seed, index]).uniform(least, 1.0))
            inputs = replace(inputs, keep_tokens=share)
        return inputs, self.processor.targets(samples)

    def names(self, index: int) -> Sequence[str]:
        """Names of the samples of batch ``index``."""
        return self.source.names(index)

    def task(self, index: int) -> str:
        """Name under which the losses of batch ``index`` are logged."""
        return self.source.task(index)


def build_trainer(
    stage: RunConfig, folder: Path, processor: InstructSegProcessor, model: InstructSeg
) -> Trainer:
    """Builds the trainer of one stage on a mixture, evaluated on ``data.val`` during training.

    Raises:
        FileNotFoundError, ValueError: data or settings are missing or do not fit.
    """
    mixture = open_mixture(stage.data, stage.train.accumulate)
    evaluate = validation(stage.data, processor) if stage.data.val else None
    logger.info("data: %s", mixture.describe())
    return joint_trainer(stage, folder, processor, model, mixture, evaluate)


def joint_trainer(
    stage: RunConfig,
    folder: Path,
    processor: InstructSegProcessor,
    model: InstructSeg,
    source: SampleSource,
    evaluate: Validation | None,
) -> Trainer:
    """Trains the whole model with the losses of ``stage.criterion``, on any samples.

    Args:
        processor: of the model; training texts follow ``stage.data``.

    Raises:
        ValueError: settings do not fit.
    """
    processor = worded(processor, stage.data)
    if stage.data.text_tasks is not None:
        tasks = tuple(Task(task) for task in stage.data.text_tasks)
        processor.config = replace(processor.config, text_tasks=tasks)
    batches = SampleBatches(source, processor, keep_tokens=stage.data.keep_tokens, seed=stage.data.seed)
    return Trainer(model, SegCriterion(stage.criterion), batches, stage.train, folder, evaluate=evaluate)


def worded(processor: InstructSegProcessor, data: DataConfig) -> InstructSegProcessor:
    """Returns a processor that words instructions as ``data.wording`` selects."""
    return InstructSegProcessor(processor.tokenizer, replace(processor.config, wording=data.wording))
