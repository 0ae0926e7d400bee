"""``train_net.py`` and ``instructseg train``: runs the stages of a configuration, or evaluates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
import typer

from instructseg.cli.build import build_model, build_trainer
from instructseg.cli.held_out import held_out
from instructseg.config import ModelSource, RunConfig, load_config
from instructseg.engine import Trainer, run_stages
from instructseg.engine.checkpoint import load_weights
from instructseg.log import get_logger, setup_logging

logger = get_logger(__name__)

MODEL_FOLDER = "model"
"""Where a finished run leaves what ``--model`` takes, in its output folder."""


def train(config_file: str | Path, overrides: Sequence[str] = (), resume: bool = False) -> Path:
    """Trains every stage of a configuration and exports the model.

    Args:
        config_file: YAML, see :mod:`instructseg.config`.
        overrides: ``dotted.key=value``.
        resume: goes on with the run that ``output_dir`` holds; without it a used folder is an error.

    Returns:
        The folder of the exported model.

    Raises:
        FileNotFoundError: no such configuration.
        ValueError: a wrong configuration, or a run in ``output_dir`` without ``resume``.
    """
    setup_logging()
    config = load_config(config_file, overrides)
    output = config.output_dir
    if not resume and output.is_dir() and any(output.iterdir()):
        raise ValueError(f"{output} already holds a run: add --resume to go on, or choose output_dir=...")

    def build(stage: RunConfig, folder: Path) -> Trainer:
        model, processor = build_model(stage.model, stage.seed)
        return build_trainer(stage, folder, processor, model)

    final = run_stages(config.plan(), build, output)
    model, processor = build_model(config.model, config.seed)
    load_weights(model, final)
    folder = output / MODEL_FOLDER
    model.to(getattr(torch, config.export_dtype)).save_pretrained(folder)
    processor.save_pretrained(folder)
    logger.info("the model is in %s", folder)
    return folder


def evaluate(config_file: str | Path, overrides: Sequence[str] = ()) -> dict[str, float]:
    """Measures a model; prints JSON.

    With a section ``eval``, the model that the configuration names, on that benchmark
    (:func:`~instructseg.cli.evaluate.run_benchmark`). Without, what the run exported to ``output_dir``, or the
    model that the configuration names where the run has not finished, on held-out data of the run.
    """
    config = load_config(config_file, overrides)
    if config.eval is not None:
        from instructseg.cli.evaluate import run_benchmark

        return run_benchmark(config)
    exported = config.output_dir / MODEL_FOLDER
    source = ModelSource(str(exported)) if exported.is_dir() else config.model
    model, processor = build_model(source, config.seed)
    values = held_out(config.data, processor, "test", scenes=300, forms=True)(model.eval())
    typer.echo(json.dumps({"model": source.name, **values}, indent=2))
    return values
