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
from instructseg.config import RunConfig
from instructseg.criterion import SegCriterion
from instructseg.engine import Trainer
from instructseg.log import get_logger
from instructseg.model import InstructSeg
from instructseg.processing import InstructSegProcessor
from instructseg.structures import MaskTargets, ModelInputs, Sample, Task
from recipes.nano.evaluation.held_out import held_out, scene_batches
from recipes.nano.lessons.trainer import lesson_trainer
from recipes.nano.synthetic import SceneBatches

__all__ = ["Batches", "SyntheticSamples", "build_model", "build_trainer", "new_processor"]

logger = get_logger(__name__)


class Samples(Protocol):
    """Which samples stand in a batch, as a function of its number alone."""

    def samples(self, index: int) -> list[Sample]: ...

    def names(self, index: int) -> Sequence[str]: ...

    def task(self, index: int) -> str: ...


@dataclass(frozen=True)
class SyntheticSamples:
    """Batch ``i`` holds the ``i``-th scenes, each with several instructions."""

    batches: SceneBatches

    def samples(self, index: int) -> list[Sample]:
        """The rows of batch ``index``; every ``1 / clip_share``-th batch is made of clips."""
        return [sample for scene in self.batches.scenes(index) for sample in scene.samples()]

    def names(self, index: int) -> Sequence[str]:
        """Names of the samples of batch ``index``."""
        return [sample.name for sample in self.samples(index)]

    def task(self, index: int) -> str:
        """``clip`` or ``image``."""
        return "clip" if self.batches.are_clips(index) else "image"


@dataclass(frozen=True)
class Batches:
    """Samples, generated or of a mixture, as the model takes them (see ``engine.BatchSource``)."""

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
    """The trainer of one stage; a mixture is measured on ``data.val`` while it is trained on.

    Raises:
        FileNotFoundError, ValueError: data or settings are missing or do not fit.
    """
    said = InstructSegProcessor(processor.tokenizer, replace(processor.config, wording=run.data.wording))
    if run.lesson != "whole":
        return lesson_trainer(run, folder, said, model)
    source: Samples
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None
    if run.data.kind == "mixture":
        mixture = mixture_of(run)
        source = MixtureSamples(mixture, tuple(part.name for part in run.data.mixture))
        evaluate = validation(run.data, processor) if run.data.val else None
        logger.info("data: %s", mixture.describe())
    else:
        source, evaluate = SyntheticSamples(scene_batches(run.data)), held_out(run.data, processor)
    if run.data.text_tasks is not None:
        tasks = tuple(Task(task) for task in run.data.text_tasks)
        said.config = replace(said.config, text_tasks=tasks)
    criterion = SegCriterion(run.criterion)
    return Trainer(model, criterion, Batches(source, said), run.train, folder, evaluate=evaluate)
