"""Joins the rooms: from a configuration to a model, its processor, its batches and its trainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from torch import nn

from instructseg.cli.mixture import MixtureSamples, mixture_of
from instructseg.cli.sources import build_model, new_processor
from instructseg.cli.validation import validation
from instructseg.config import DataConfig, RunConfig
from instructseg.criterion import SegCriterion
from instructseg.engine import Trainer
from instructseg.log import get_logger
from instructseg.model import InstructSeg
from instructseg.processing import InstructSegProcessor
from instructseg.structures import MaskTargets, ModelInputs, Sample, Task

__all__ = ["Batches", "Samples", "build_model", "build_trainer", "joint_trainer", "new_processor", "worded"]

logger = get_logger(__name__)


class Samples(Protocol):
    """Which samples stand in a batch, as a function of its number alone."""

    def samples(self, index: int) -> list[Sample]:
        """The samples of batch ``index``."""

    def names(self, index: int) -> Sequence[str]:
        """Their names."""

    def task(self, index: int) -> str:
        """What the losses of batch ``index`` are logged by."""


@dataclass(frozen=True)
class Batches:
    """Samples, drawn or of a mixture, as the model takes them (see ``engine.BatchSource``)."""

    source: Samples
    processor: InstructSegProcessor

    def batch(self, index: int) -> tuple[ModelInputs, list[MaskTargets]]:
        """Inputs and targets of batch ``index``."""
        samples = self.source.samples(index)
        return self.processor(samples, training=True), self.processor.targets(samples)

    def names(self, index: int) -> Sequence[str]:
        """Names of the samples of batch ``index``."""
        return self.source.names(index)

    def task(self, index: int) -> str:
        """What the losses of batch ``index`` are logged by."""
        return self.source.task(index)


def build_trainer(run: RunConfig, folder: Path, processor: InstructSegProcessor, model: InstructSeg) -> Trainer:
    """The trainer of one stage on a mixture, measured on ``data.val`` while it is trained on.

    Raises:
        FileNotFoundError, ValueError: data or settings are missing or do not fit.
    """
    mixture = mixture_of(run)
    source = MixtureSamples(mixture, tuple(part.name for part in run.data.mixture))
    evaluate = validation(run.data, processor) if run.data.val else None
    logger.info("data: %s", mixture.describe())
    return joint_trainer(run, folder, processor, model, source, evaluate)


def joint_trainer(
    run: RunConfig,
    folder: Path,
    processor: InstructSegProcessor,
    model: InstructSeg,
    source: Samples,
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None,
) -> Trainer:
    """Trains all of a model by the losses of ``run.criterion``, on any samples.

    Args:
        run: the stage.
        folder: of the stage.
        processor: of the model; samples are worded as ``run.data`` says.
        model: to train.
        source: of the samples.
        evaluate: measures the model while it trains; ``None`` to measure nothing.

    Raises:
        ValueError: settings do not fit.
    """
    said = worded(processor, run.data)
    if run.data.text_tasks is not None:
        tasks = tuple(Task(task) for task in run.data.text_tasks)
        said.config = replace(said.config, text_tasks=tasks)
    criterion = SegCriterion(run.criterion)
    return Trainer(model, criterion, Batches(source, said), run.train, folder, evaluate=evaluate)


def worded(processor: InstructSegProcessor, data: DataConfig) -> InstructSegProcessor:
    """A processor that says around instructions what ``data.wording`` asks for."""
    return InstructSegProcessor(processor.tokenizer, replace(processor.config, wording=data.wording))
