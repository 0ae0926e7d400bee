"""Trains ``mini``: ``python -m recipes.mini.train --photos FOLDER --output FOLDER``; run again, it resumes."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from instructseg.engine import Trainer
from instructseg.engine.optim import OptimConfig
from instructseg.engine.settings import TrainConfig
from instructseg.log import setup_logging
from instructseg.processing import InstructSegProcessor
from recipes.lesson import own_losses
from recipes.mini.build import start_model, start_processor
from recipes.mini.names import NamedSource, NamesLesson, all_phrases, phrase_states
from recipes.mini.photographs import read_photographs

WEIGHTS = {"coco": 4.0, "ccp": 2.0, "msrc": 1.5, "ecssd": 1.0, "people": 0.4, "horses": 0.3, "grabcut": 0.2}
"""How often each source is drawn; ``balloon`` is kept out, for the page on tuning."""
KEPT_OUT = ("balloon",)
EARLY = ("model.backbone.stem", "model.backbone.stages.0", "model.backbone.stages.1")
"""Of the trunk, what stays as ImageNet taught it."""


def names_trainer(photos: Path, output: Path, steps: int, minutes: float | None, seed: int = 0) -> Trainer:
    """The lesson of names, see :mod:`recipes.mini.names`."""
    model = start_model(seed)
    processor = start_processor(model)
    phrases = tuple(all_phrases())
    lesson = NamesLesson(model, phrase_states(model.eval(), processor, [phrase.text for phrase in phrases]))
    # four ninths of the pixels of the later stages: twice as many views in the same time
    smaller = InstructSegProcessor(processor.tokenizer, replace(processor.config, image_size=320))
    source: Any = NamedSource(
        photographs=read_photographs(photos, "train", KEPT_OUT),
        processor=smaller,
        weights=WEIGHTS,
        count=8,
        seed=seed,
        phrases=phrases,
    )
    config = TrainConfig(
        max_steps=steps,
        max_minutes=minutes,
        workers=1,
        log_every=20,
        save_every=100,
        ema_decay=0.998,
        seed=seed,
        optim=OptimConfig(
            lr=6e-4,
            weight_decay=0.03,
            warmup_steps=100,
            min_lr_ratio=0.05,
            clip_norm=5.0,
            trainable=("model.backbone", "model.pixel_decoder", "model.mask_decoder", "model.vmtf"),
            frozen=EARLY,
            lr_scale={"model.backbone": 0.25},
        ),
    )
    said: Any = own_losses
    return Trainer(lesson, said, source, config, output / "names", exported=model)


def main() -> None:
    """Reads the command line and trains."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of annotations.json and images/")
    parser.add_argument("--output", type=Path, default=Path("runs/mini"))
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--minutes", type=float, help="end after so many minutes, annealed")
    arguments = parser.parse_args()
    setup_logging()
    torch.set_num_threads(1)
    names_trainer(arguments.photos, arguments.output, arguments.steps, arguments.minutes).train()


if __name__ == "__main__":
    main()
