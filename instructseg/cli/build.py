"""Joins the rooms: from a configuration to a model, its processor, its batches and its trainer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True)
class SyntheticBatches:
    """Batch ``i`` holds the ``i``-th scenes, each with several instructions (see ``engine.BatchSource``)."""

    images: SyntheticDataset
    clips: SyntheticDataset
    processor: InstructSegProcessor
    config: DataConfig

    def samples(self, index: int) -> list[Sample]:
        """The rows of batch ``index``; every ``1 / clip_share``-th batch is made of clips."""
        share = self.config.clip_share
        is_clip = int((index + 1) * share) > int(index * share)
        scenes = self.clips if is_clip else self.images
        first = index * self.config.images_per_batch
        chosen = (scenes[(first + i) % len(scenes)] for i in range(self.config.images_per_batch))
        return [sample for scene in chosen for sample in scene]

    def batch(self, index: int) -> tuple[ModelInputs, list[MaskTargets]]:
        """Inputs and targets of batch ``index``."""
        samples = self.samples(index)
        return self.processor(samples, training=True), self.processor.targets(samples)

    def names(self, index: int) -> Sequence[str]:
        """Names of the samples of batch ``index``."""
        return [sample.name for sample in self.samples(index)]


@dataclass(frozen=True)
class MixedBatches:
    """Batch ``i`` holds samples of one data set of a mixture (see ``engine.BatchSource``)."""

    mixture: Mixture
    processor: InstructSegProcessor

    def batch(self, index: int) -> tuple[ModelInputs, list[MaskTargets]]:
        """Inputs and targets of batch ``index``."""
        samples = self.mixture.samples(index)
        return self.processor(samples, training=True), self.processor.targets(samples)

    def names(self, index: int) -> Sequence[str]:
        """Names of the samples of batch ``index``."""
        return self.mixture.names(index)


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
    if run.data.kind == "mixture":
        batches = MixedBatches(mixture_of(run), processor)
        logger.info("data: %s", batches.mixture.describe())
        return Trainer(model, SegCriterion(run.criterion), batches, run.train, folder)
    source = SyntheticBatches(
        synthetic_dataset(run.data, "train", clips=False),
        synthetic_dataset(run.data, "train", clips=True),
        processor,
        run.data,
    )
    return Trainer(
        model, SegCriterion(run.criterion), source, run.train, folder, evaluate=held_out(run.data, processor)
    )
