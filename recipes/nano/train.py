"""Trains the bundled model on drawn scenes, or measures it on some that are kept from training.

    python -m recipes.nano.train [--config-file FILE] [--resume] [--eval-only] [KEY=VALUE ...]

``python train_net.py`` does the same for a file that says ``recipe: nano``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from instructseg.benchmarks.runner import run_benchmark
from instructseg.cli.arguments import run_command
from instructseg.config import ModelSource
from instructseg.engine import Trainer
from instructseg.log import get_logger, setup_logging
from instructseg.model import InstructSeg
from instructseg.processing import InstructSegProcessor
from instructseg.training import MODEL_FOLDER, build_model, joint_trainer, train_run, worded
from recipes.nano.config import NanoRunConfig, load_config
from recipes.nano.evaluation import drawn_report
from recipes.nano.evaluation.held_out import held_out, scene_batches
from recipes.nano.lessons.trainer import lesson_trainer
from recipes.nano.synthetic import SyntheticSamples

logger = get_logger(__name__)

CONFIG_FILE = "configs/nano.yaml"


def train(config_file: str | Path, overrides: Sequence[str] = (), resume: bool = False) -> Path:
    """Trains every stage of a configuration and exports the model; see :func:`instructseg.training.train`."""
    return train_run(load_config(config_file, overrides), build_trainer, resume)


def build_trainer(
    run: NanoRunConfig, folder: Path, processor: InstructSegProcessor, model: InstructSeg
) -> Trainer:
    """The trainer of one stage: a lesson, or the whole model, which is measured on held-out scenes.

    Raises:
        FileNotFoundError, ValueError: photographs or settings are missing or do not fit.
    """
    if run.lesson != "whole":
        return lesson_trainer(run, folder, worded(processor, run.data), model)
    source = SyntheticSamples(scene_batches(run.data))
    return joint_trainer(run, folder, processor, model, source, held_out(run.data, processor))


def evaluate(config_file: str | Path, overrides: Sequence[str] = ()) -> dict[str, float]:
    """Measures a model; prints the results.

    With a section ``eval``, the model that the configuration names, on that benchmark
    (:func:`~instructseg.benchmarks.runner.run_benchmark`). Without, what the run exported to ``output_dir``,
    or the model that the configuration names where the run has not finished, on drawn scenes that are kept
    from training (:func:`~recipes.nano.evaluation.drawn_report.evaluate`); the table is left in ``output_dir``
    too.
    """
    config = load_config(config_file, overrides)
    if config.eval is not None:
        return run_benchmark(config, typer.echo)
    exported = config.output_dir / MODEL_FOLDER
    source = ModelSource(str(exported)) if exported.is_dir() else config.model
    model, processor = build_model(source, config.seed, config.output_dir)
    setup_logging()
    logger.info("measuring %s", source.name)
    values = drawn_report.evaluate(model.eval(), processor, config.data, config.drawn, config.output_dir)
    typer.echo((config.output_dir / drawn_report.TABLE).read_text(encoding="utf-8"))
    return values


if __name__ == "__main__":
    sys.exit(run_command(__doc__, lambda _file, _words: (train, evaluate), CONFIG_FILE))
