"""Trains or measures ``mini``, on photographs with masks.

    python train_net.py --config-file configs/mini.yaml photos=FOLDER [--resume] [--eval-only] [KEY=VALUE]

Two lessons, one after the other: names (:mod:`recipes.mini.names`), then instructions
(:mod:`recipes.mini.whole`). Each ends with its ``final/`` weights, from which the next one starts. On a GPU
batches are larger, and the forward is in bfloat16.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
import typer

from instructseg.engine import Trainer
from instructseg.engine.checkpoint import load_weights
from instructseg.engine.optim import OptimConfig
from instructseg.engine.settings import TrainConfig
from instructseg.engine.trainer import FINAL
from instructseg.files import write_json_atomic
from instructseg.inference import ImagePredictor
from instructseg.log import setup_logging
from instructseg.model import InstructSeg
from instructseg.processing import InstructSegProcessor
from recipes.lesson import own_losses
from recipes.mini.build import start_model, start_processor
from recipes.mini.names import NamedSource, NamesLesson, all_phrases, phrase_states
from recipes.mini.photographs import PhotographFiles, Photographs, read_photographs
from recipes.mini.samples import InstructedSource
from recipes.mini.whole import InstructionsLesson
from recipes.mini.words import SYNONYMS
from recipes.run_file import check_unused, read_run_file

WEIGHTS = {"coco": 4.0, "ccp": 2.0, "msrc": 1.5, "ecssd": 1.0, "people": 0.4, "horses": 0.3, "grabcut": 0.2}
"""How often each source is drawn; ``balloon`` is kept out, for the page on tuning."""
KEPT_OUT = ("balloon",)
EARLY = ("model.backbone.stem", "model.backbone.stages.0", "model.backbone.stages.1")
"""Of the trunk, what stays as ImageNet taught it."""
TABLE = "model.language.model.embeddings.word_embeddings"
"""Words that no instruction of the training has must keep their meaning beside those that have."""
MODEL_FOLDER = "model"
LessonName = Literal["names", "instructions"]


@dataclass(frozen=True)
class MiniRun:
    """A run of this recipe.

    Attributes:
        output_dir: receives a folder for each lesson.
        recipe: ``mini``.
        photos: a folder as :mod:`recipes.mini.photographs` describes.
        annotations, images: in place of those of ``photos``, any COCO-shaped file and the folder of its images.
        expressions: files ``refs(*).p`` of RefCOCO on the same images.
        start: a folder of model and processor; ``None`` builds them from the public weights.
        lessons: in their order.
        steps, minutes: limits of a lesson, whichever comes first.
        views: of a step; ``None`` for what suits the machine.
        seed: of everything random.
        model: weights to measure, a name or folder; ``None`` for those of ``output_dir``.
        results: file that the evaluation writes; ``None`` for one in ``output_dir``.
    """

    output_dir: Path
    recipe: Literal["mini"] = "mini"
    photos: Path = Path("photos")
    annotations: Path | None = None
    images: Path | None = None
    expressions: tuple[Path, ...] = ()
    start: Path | None = None
    lessons: tuple[LessonName, ...] = ("names", "instructions")
    steps: int = 4000
    minutes: float | None = None
    views: int | None = None
    seed: int = 0
    model: str | None = None
    results: Path | None = None

    def read(self, split: str) -> Photographs:
        """The photographs of a split, without those that are kept out."""
        usual = PhotographFiles.of(self.photos)
        files = PhotographFiles(
            self.annotations or usual.annotations, self.images or usual.images, self.expressions
        )
        return read_photographs(files, split, KEPT_OUT)

    @cached_property
    def photographs(self) -> Photographs:
        """Those to train on."""
        return self.read("train")

    @property
    def weights(self) -> dict[str, float]:
        """By source, how often it is drawn; 1 for one that is not known here."""
        there = self.photographs.by_source
        known = {source: weight for source, weight in WEIGHTS.items() if source in there}
        return known | {source: 1.0 for source in there if source not in known}

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
        if earlier is not None and (self.output_dir / earlier / FINAL).is_dir():
            load_weights(model, self.output_dir / earlier / FINAL)
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


def names_trainer(run: MiniRun) -> Trainer:
    """The lesson of names."""
    model, processor = run.begin()
    phrases = tuple(all_phrases())
    model = model.eval()
    states = phrase_states(model, processor, [phrase.text for phrase in phrases])
    source: Any = NamedSource(
        photographs=run.photographs,
        processor=processor,
        weights=run.weights,
        count=run.views or (96 if run.gpu else 8),
        seed=run.seed,
        phrases=phrases,
    )
    parts = ("model.backbone", "model.pixel_decoder", "model.mask_decoder", "model.vmtf")
    config = run.config(8e-4 if run.gpu else 6e-4, parts, {"model.backbone": 0.25})
    said: Any = own_losses
    return Trainer(NamesLesson(model, states), said, source, config, run.output_dir / "names", exported=model)


def instructions_trainer(run: MiniRun) -> Trainer:
    """The lesson of instructions, up to six on each view."""
    model, processor = run.begin("names")
    source: Any = InstructedSource(
        photographs=run.photographs,
        processor=processor,
        weights=run.weights,
        views=run.views or (80 if run.gpu else 4),
        asked=6 if run.gpu else 4,
        seed=run.seed + 1,
    )
    scales = {"model.backbone": 0.2, "model.language": 0.3}
    config = run.config(5e-4 if run.gpu else 3e-4, ("model", "asking", "place", "level", "naming"), scales)
    said: Any = own_losses
    lesson = InstructionsLesson(model, len(SYNONYMS))
    return Trainer(lesson, said, source, config, run.output_dir / "instructions", exported=model)


TRAINERS: dict[LessonName, Callable[[MiniRun], Trainer]] = {
    "names": names_trainer,
    "instructions": instructions_trainer,
}
"""By the name of the lesson."""


def read_run(config_file: str | Path, overrides: Sequence[str] = ()) -> MiniRun:
    """Reads a configuration of this recipe.

    Raises:
        FileNotFoundError, ValueError: it is missing, or a value is not allowed.
    """
    return read_run_file(MiniRun, config_file, overrides)


def train(config_file: str | Path, overrides: Sequence[str] = (), resume: bool = False) -> Path:
    """Trains lesson by lesson, and writes the model into ``output_dir/model``.

    Raises:
        ValueError: there are checkpoints of an earlier run, and ``resume`` is not asked for.
    """
    setup_logging()
    run = read_run(config_file, overrides)
    check_unused(run.output_dir, "*/checkpoint-*", resume)
    if run.gpu:
        torch.backends.cuda.enable_cudnn_sdp(False)  # it plans anew for each shape, and every batch has its own
    else:
        torch.set_num_threads(1)
    for lesson in run.lessons:
        TRAINERS[lesson](run).train()
    folder = run.output_dir / MODEL_FOLDER
    ImagePredictor(*run.begin(run.lessons[-1])).save_pretrained(folder)
    return folder


def evaluate(config_file: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Measures a model on photographs that were not trained on; prints the table and writes its figures."""
    from recipes.mini.table import measure, told

    run = read_run(config_file, overrides)
    name = run.model or str(run.output_dir / MODEL_FOLDER)
    values = measure(name, run.read("val"), run.photographs, run.photos / "video")
    file = run.results or run.output_dir / "results.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json_atomic(file, values, indent=1)
    typer.echo(f"{told(values)}\nwrote {file}")
    return values
