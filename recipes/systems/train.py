"""Trains or measures a tiny model of another system on drawn scenes: one loop for all.

    python train_net.py --config-file configs/systems/instructcv_tiny.yaml [--resume] [--eval-only] [KEY=VALUE]

A system is a module beside this one with two functions and a row of :data:`RECIPES`. On a GPU,
``train.precision=bfloat16`` and a larger ``batch`` use it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import typer
from torch import nn

from instructseg.engine import BatchSource, TrainConfig, Trainer
from instructseg.files import write_json_atomic
from instructseg.log import setup_logging
from instructseg.systems.instructseq.sequence_answer import AnswerReader
from recipes.lesson import own_losses
from recipes.run_file import check_unused, read_run_file
from recipes.systems import (
    explanatory,
    explanatory_evaluation,
    instructcv,
    instructseq,
    instructseq_evaluation,
    visionllm,
    visionllm_evaluation,
)

MODEL_FOLDER, RESULTS = "model", Path(__file__).with_name("results")


@dataclass(frozen=True)
class SystemRun:
    """A run of this recipe.

    Attributes:
        recipe: ``systems``.
        system: a key of :data:`RECIPES`.
        output_dir: receives checkpoints, metrics, and the model.
        batch: tasks of a step.
        train: training loop.
        seed: of the weights and of the scenes.
        start: weights to start from, a name or folder, of ``instructcv`` alone; ``None`` for new ones.
        model: weights to measure, a name or folder; ``None`` for those of ``output_dir``.
        scenes: of each task and wording in the evaluation.
        protocol: of the evaluation: ``honest``, or that of the ``paper``.
        results: file that the evaluation writes; ``None`` for one in ``output_dir``.
    """

    system: str
    output_dir: Path
    recipe: Literal["systems"] = "systems"
    batch: int = 24
    train: TrainConfig = field(default_factory=TrainConfig)
    seed: int = 0
    start: str | None = None
    model: str | None = None
    scenes: int = 64
    protocol: Literal["honest", "paper"] = "honest"
    results: Path | None = None

    def __post_init__(self) -> None:
        if self.system not in RECIPES:
            raise ValueError(f"system: there is no '{self.system}'; there are {', '.join(RECIPES)}")
        if self.start is not None and self.system != "instructcv":
            raise ValueError(f"start: a run of {self.system} has new weights; leave it out")
        for name in ("batch", "scenes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class LessonParts:
    """What the trainer is given.

    Attributes:
        lesson: computes its losses from a batch.
        source: of the batches.
        save: writes the trained model into a folder.
    """

    lesson: nn.Module
    source: BatchSource
    save: Callable[[Path], None]


@dataclass(frozen=True)
class Recipe:
    """A system's part of this recipe.

    Attributes:
        lesson: of a run.
        measure: from a model's name or folder, the number of scenes, and whether the protocol is the paper's;
            the content of a result file, see :mod:`recipes.systems.table`.
    """

    lesson: Callable[[SystemRun], LessonParts]
    measure: Callable[[str, int, bool], dict[str, Any]]


def _instructcv(run: SystemRun) -> LessonParts:
    pipeline = instructcv.build_pipeline(run.seed, run.start)
    source: Any = instructcv.lesson_source(pipeline.tokenizer, run.batch, run.seed + 1)
    lesson = instructcv.DiffusionLesson(pipeline)
    return LessonParts(lesson, source, lambda folder: instructcv.save(pipeline, folder))


def _visionllm(run: SystemRun) -> LessonParts:
    model, processor = visionllm.new_model(run.seed)
    source: Any = visionllm.lesson_source(processor, run.batch, run.seed + 1)
    return LessonParts(
        visionllm.BindingLesson(model), source, lambda folder: visionllm.save(model, processor, folder)
    )


def _instructseq(run: SystemRun) -> LessonParts:
    model, words = instructseq.new_model(run.seed)
    reader = AnswerReader(model.config, model.visual, words)
    source: Any = instructseq.lesson_source(reader, run.batch, run.seed + 1)
    return LessonParts(
        instructseq.SequenceTraining(model), source, lambda folder: instructseq.save(model, words, folder)
    )


def _explanatory(run: SystemRun) -> LessonParts:
    model, words = explanatory.new_model(run.seed)
    source: Any = explanatory.lesson_source(words, run.batch, run.seed + 1)
    return LessonParts(
        explanatory.ExplanatoryLesson(model), source, lambda folder: explanatory.save(model, words, folder)
    )


RECIPES = {
    "explanatory": Recipe(_explanatory, explanatory_evaluation.measure),
    "instructcv": Recipe(_instructcv, instructcv.measure),
    "instructseq": Recipe(_instructseq, instructseq_evaluation.measure),
    "visionllm": Recipe(_visionllm, visionllm_evaluation.measure),
}
"""By the name of the system."""


def read_run(config_file: str | Path, overrides: Sequence[str] = ()) -> SystemRun:
    """Reads a configuration of this recipe.

    Raises:
        FileNotFoundError, ValueError: it is missing, or a value is not allowed.
    """
    return read_run_file(SystemRun, config_file, overrides)


def train(config_file: str | Path, overrides: Sequence[str] = (), resume: bool = False) -> Path:
    """Trains, and writes the model into ``output_dir/model``.

    Raises:
        ValueError: there are checkpoints of an earlier run, and ``resume`` is not asked for.
    """
    setup_logging()
    run = read_run(config_file, overrides)
    check_unused(run.output_dir, "checkpoint-*", resume)
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    parts = RECIPES[run.system].lesson(run)
    own: Any = own_losses
    Trainer(parts.lesson, own, parts.source, run.train, run.output_dir).train()
    folder = run.output_dir / MODEL_FOLDER
    parts.save(folder)
    return folder


def evaluate(config_file: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Measures a model on scenes and with wording that training has not; prints and writes the results."""
    run = read_run(config_file, overrides)
    name = run.model or str(run.output_dir / MODEL_FOLDER)
    values = RECIPES[run.system].measure(name, run.scenes, run.protocol == "paper")
    file = run.results or run.output_dir / f"results_{run.protocol}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json_atomic(file, values)
    typer.echo(json.dumps(values, indent=2))
    typer.echo(f"wrote {file}")
    return values
