"""The trainer of a lesson: a stage that teaches a part of a model, see :mod:`recipes.nano.lessons`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from instructseg.engine import Trainer
from instructseg.model import InstructSeg
from instructseg.processing import InstructSegProcessor
from recipes.lesson import own_losses
from recipes.nano.config import NanoRunConfig
from recipes.nano.evaluation.held_out import scene_batches
from recipes.nano.lessons.frames import FrameSource
from recipes.nano.lessons.pages import PageSource
from recipes.nano.lessons.reading import ReadingLesson
from recipes.nano.lessons.seeing import MaskLesson, PatchLesson


def lesson_trainer(
    run: NanoRunConfig, folder: Path, processor: InstructSegProcessor, model: InstructSeg
) -> Trainer:
    """The trainer of a stage whose ``lesson`` is not ``whole``; what it hands on is the model without heads.

    Raises:
        ValueError: the model is too narrow for the codes, or settings do not fit.
    """
    data = run.data
    batches = scene_batches(data)
    module: nn.Module
    source: Any = FrameSource(processor, batches.images.scene_config, data.images_per_batch, data.seed)
    if run.lesson == "patches":
        module = PatchLesson(model)
    elif run.lesson == "reading":
        module = ReadingLesson(model, data.patches, data.guided)
        source = PageSource(processor, batches, data.seen)
    else:
        module = MaskLesson(model, propose=run.lesson == "masks")
    train = replace(run.train, best=None, patience=0, final="last", eval_every=0)
    said: Any = own_losses
    return Trainer(module, said, source, train, folder, exported=model)
