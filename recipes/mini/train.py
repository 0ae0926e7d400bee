"""Trains ``mini``: ``python -m recipes.mini.train --photos FOLDER --output FOLDER``; run again, it resumes.

Two lessons, one after the other: names (:mod:`recipes.mini.names`), then instructions
(:mod:`recipes.mini.whole`). Each ends with its ``final/`` weights, from which the next one starts. On a GPU
batches are larger, and the forward is in bfloat16.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from instructseg.engine import Trainer
from instructseg.engine.checkpoint import load_weights
from instructseg.engine.optim import OptimConfig
from instructseg.engine.settings import TrainConfig
from instructseg.log import setup_logging
from instructseg.model import InstructSeg
from instructseg.processing import InstructSegProcessor
from recipes.lesson import own_losses
from recipes.mini.build import start_model, start_processor
from recipes.mini.names import NamedSource, NamesLesson, all_phrases, phrase_states
from recipes.mini.photographs import read_photographs
from recipes.mini.samples import InstructedSource
from recipes.mini.whole import InstructionsLesson
from recipes.mini.words import SYNONYMS

WEIGHTS = {"coco": 4.0, "ccp": 2.0, "msrc": 1.5, "ecssd": 1.0, "people": 0.4, "horses": 0.3, "grabcut": 0.2}
"""How often each source is drawn; ``balloon`` is kept out, for the page on tuning."""
KEPT_OUT = ("balloon",)
EARLY = ("model.backbone.stem", "model.backbone.stages.0", "model.backbone.stages.1")
"""Of the trunk, what stays as ImageNet taught it."""
TABLE = "model.language.model.embeddings.word_embeddings"
"""Words that no instruction of the training has must keep their meaning beside those that have."""
LESSONS = ("names", "instructions")


@dataclass(frozen=True)
class Run:
    """Where a lesson reads and writes, and for how long.

    Attributes:
        photos: a folder as :mod:`recipes.mini.photographs` describes.
        output: receives a folder for each lesson.
        start: a folder of model and processor; ``None`` builds them from the public weights.
        steps, minutes: limits of a lesson, whichever comes first.
        seed: of everything random.
    """

    photos: Path
    output: Path
    start: Path | None = None
    steps: int = 4000
    minutes: float | None = None
    seed: int = 0

    @property
    def gpu(self) -> bool:
        """Whether there is one."""
        return torch.cuda.is_available()

    def begin(self, earlier: str | None = None) -> tuple[InstructSeg, InstructSegProcessor]:
        """The model with the weights of ``start`` or, if that has been, of an ``earlier`` lesson."""
        if self.start is None:
            model = start_model(self.seed)
            processor = start_processor(model)
        else:
            model = InstructSeg.from_pretrained(self.start).float()
            processor = InstructSegProcessor.from_pretrained(self.start)
        if earlier is not None and (self.output / earlier / "final").is_dir():
            load_weights(model, self.output / earlier / "final")
        return model, processor

    def config(self, lr: float, trainable: Sequence[str], lr_scale: dict[str, float]) -> TrainConfig:
        """Settings of the trainer."""
        return TrainConfig(
            max_steps=self.steps,
            max_minutes=self.minutes,
            precision="bfloat16" if self.gpu else "float32",
            workers=max(1, (os.cpu_count() or 2) - 1) if self.gpu else 1,
            log_every=20,
            save_every=100 if not self.gpu else 0,
            ema_decay=0.998,
            seed=self.seed,
            optim=OptimConfig(
                lr=lr,
                weight_decay=0.03,
                warmup_steps=100,
                min_lr_ratio=0.02,
                clip_norm=5.0,
                trainable=tuple(trainable),
                frozen=(*EARLY, TABLE),
                lr_scale=lr_scale,
            ),
        )


def names_trainer(run: Run, views: int | None = None) -> Trainer:
    """The lesson of names, with so many ``views`` a step."""
    model, processor = run.begin()
    phrases = tuple(all_phrases())
    model = model.eval()
    states = phrase_states(model, processor, [phrase.text for phrase in phrases])
    source: Any = NamedSource(
        photographs=read_photographs(run.photos, "train", KEPT_OUT),
        processor=processor,
        weights=WEIGHTS,
        count=views or (96 if run.gpu else 8),
        seed=run.seed,
        phrases=phrases,
    )
    parts = ("model.backbone", "model.pixel_decoder", "model.mask_decoder", "model.vmtf")
    config = run.config(8e-4 if run.gpu else 6e-4, parts, {"model.backbone": 0.25})
    said: Any = own_losses
    return Trainer(NamesLesson(model, states), said, source, config, run.output / "names", exported=model)


def instructions_trainer(run: Run, views: int | None = None) -> Trainer:
    """The lesson of instructions, with so many ``views`` a step, each with up to six."""
    model, processor = run.begin("names")
    source: Any = InstructedSource(
        photographs=read_photographs(run.photos, "train", KEPT_OUT),
        processor=processor,
        weights=WEIGHTS,
        views=views or (80 if run.gpu else 4),
        asked=6 if run.gpu else 4,
        seed=run.seed + 1,
    )
    scales = {"model.backbone": 0.2, "model.language": 0.3}
    config = run.config(5e-4 if run.gpu else 3e-4, ("model", "asking", "place", "level", "naming"), scales)
    said: Any = own_losses
    lesson = InstructionsLesson(model, len(SYNONYMS))
    return Trainer(lesson, said, source, config, run.output / "instructions", exported=model)


def main() -> None:
    """Reads the command line and trains."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of annotations.json and images/")
    parser.add_argument("--output", type=Path, default=Path("runs/mini"))
    parser.add_argument(
        "--start", type=Path, help="folder of model and processor instead of the public weights"
    )
    parser.add_argument("--lessons", nargs="+", choices=LESSONS, default=LESSONS)
    parser.add_argument("--steps", type=int, default=4000, help="of each lesson")
    parser.add_argument("--minutes", type=float, help="each lesson ends after so many minutes, annealed")
    parser.add_argument("--views", type=int, help="of a step")
    arguments = parser.parse_args()
    setup_logging()
    run = Run(arguments.photos, arguments.output, arguments.start, arguments.steps, arguments.minutes)
    if run.gpu:
        torch.backends.cuda.enable_cudnn_sdp(False)  # it plans anew for each shape, and every batch has its own
    else:
        torch.set_num_threads(1)
    for lesson in arguments.lessons:
        trainer = names_trainer if lesson == "names" else instructions_trainer
        trainer(run, arguments.views).train()


if __name__ == "__main__":
    main()
