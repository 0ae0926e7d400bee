"""Joins the rooms: from a configuration to a model, its processor, its batches and its trainer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from instructseg.cli.held_out import held_out, synthetic_dataset
from instructseg.config import DataConfig, ModelSource, RunConfig
from instructseg.criterion import SegCriterion
from instructseg.data.catalogue import find, open_split
from instructseg.data.mixture import Mixture
from instructseg.data.synthetic import SyntheticDataset
from instructseg.data.vocabulary import vocabulary_corpus
from instructseg.distributed import world_size
from instructseg.engine import Trainer
from instructseg.inference import load
from instructseg.inference.loading import processor_config
from instructseg.log import get_logger
from instructseg.model import PRESETS, InstructSeg, InstructSegConfig, preset
from instructseg.processing import InstructSegProcessor
from instructseg.processing.word_tokenizer import build_tokenizer
from instructseg.structures import MaskTargets, ModelInputs, Sample

logger = get_logger(__name__)


def new_processor(config: InstructSegConfig) -> InstructSegProcessor:
    """A processor for a model trained from random weights: its own small tokenizer, no system sentence."""
    tokenizer = build_tokenizer(vocabulary_corpus(), config.text_config.vocab_size)
    return InstructSegProcessor(tokenizer, processor_config(config, system=""))


def build_model(source: ModelSource, seed: int) -> tuple[InstructSeg, InstructSegProcessor]:
    """A preset with random weights, or a trained model from a folder or the hub."""
    if source.name in PRESETS:
        torch.manual_seed(seed)
        config = preset(source.name, **source.overrides)
        return InstructSeg(config), new_processor(config)
    return load(source.name)


class Samples(Protocol):
    """Which samples stand in a batch, as a function of its number alone."""

    def samples(self, index: int) -> list[Sample]: ...  # noqa: D102

    def names(self, index: int) -> Sequence[str]: ...  # noqa: D102


@dataclass(frozen=True)
class SyntheticSamples:
    """Batch ``i`` holds the ``i``-th scenes, each with several instructions."""

    images: SyntheticDataset
    clips: SyntheticDataset
    config: DataConfig

    def samples(self, index: int) -> list[Sample]:
        """The rows of batch ``index``; every ``1 / clip_share``-th batch is made of clips."""
        share = self.config.clip_share
        is_clip = int((index + 1) * share) > int(index * share)
        scenes = self.clips if is_clip else self.images
        first = index * self.config.images_per_batch
        chosen = (scenes[(first + i) % len(scenes)] for i in range(self.config.images_per_batch))
        return [sample for scene in chosen for sample in scene]

    def names(self, index: int) -> Sequence[str]:
        """Names of the samples of batch ``index``."""
        return [sample.name for sample in self.samples(index)]


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


def mixture_of(run: RunConfig) -> Mixture:
    """The data sets of a configuration, opened; ranks and accumulated batches of a step see the same one.

    Raises:
        FileNotFoundError, ValueError: as ``data.catalogue.open_split``; a split is missing; the shares do not
            fit together.
    """
    parts = run.data.mixture
    for part in parts:
        splits = find(part.name).splits
        if splits and part.split is None:
            raise ValueError(f"data.mixture: say which split of {part.name} to train on: {', '.join(splits)}")
    return Mixture(
        [open_split(part.name, part.root, part.split, part.images) for part in parts],
        [part.ratio for part in parts],
        run.data.batch_size,
        run.data.switch_bs,
        step_batches=world_size() * run.train.accumulate,
        seed=run.data.seed,
    )


def build_trainer(run: RunConfig, folder: Path, processor: InstructSegProcessor, model: InstructSeg) -> Trainer:
    """The trainer of one stage; a mixture is not evaluated while it is trained on."""
    source: Samples
    if run.data.kind == "mixture":
        source, evaluate = mixture_of(run), None
        logger.info("data: %s", source.describe())
    else:
        images, clips = (synthetic_dataset(run.data, "train", clips) for clips in (False, True))
        source, evaluate = SyntheticSamples(images, clips, run.data), held_out(run.data, processor)
    criterion = SegCriterion(run.criterion)
    return Trainer(model, criterion, Batches(source, processor), run.train, folder, evaluate=evaluate)
