"""A training run: the stages of a configuration in order, then the export of the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from instructseg.config import Run, RunConfig, load_config
from instructseg.convert import export_official
from instructseg.distributed import from_main, is_main
from instructseg.engine import Trainer, join_processes, leave_processes
from instructseg.engine.checkpoint import WEIGHTS, load_weights
from instructseg.engine.disk import check_writable, clear_temporaries
from instructseg.engine.metrics import read_metrics
from instructseg.engine.trainer import FINAL
from instructseg.log import get_logger, setup_logging
from instructseg.model import InstructSeg
from instructseg.processing import InstructSegProcessor
from instructseg.training.initial_model import build_model, describe_source, join_start
from instructseg.training.record import compare_record, write_record
from instructseg.training.stage import build_trainer

logger = get_logger(__name__)

MODEL_FOLDER = "model"
"""Folder of the exported model (for ``--model``) in the output folder of a run."""
OFFICIAL_FOLDER = "official"
"""Folder of the model in the layout of the released code."""
_CHECKED_LINES = 5
"""Lines of ``metrics.jsonl`` averaged by ``check``."""

BuildTrainer = Callable[[Run, Path, InstructSegProcessor, InstructSeg], Trainer]
"""Builds the trainer of a stage from the stage, its folder, and a model with its processor."""


def train(config_file: str | Path, overrides: Sequence[str] = (), resume: bool = False) -> Path:
    """Trains every stage of a configuration and exports the model.

    Args:
        config_file: YAML, see :mod:`instructseg.config`.
        overrides: ``dotted.key=value``.
        resume: resumes the run in ``output_dir``; without it, a used folder is an error.

    Returns:
        The folder of the exported model.

    Raises:
        FileNotFoundError: no such configuration.
        ValueError: a wrong configuration, a run in ``output_dir`` without ``resume``, or one that began with
            other settings.
        OSError: ``output_dir`` cannot be written.
    """
    config = load_config(config_file, overrides)
    for stage in config.plan().values():
        if not stage.data.mixture:
            raise ValueError(f"{config_file}: data.mixture: name the data sets to train on")
    return train_run(config, build_trainer, resume)


def train_run(config: Run, build_trainer: BuildTrainer[Run], resume: bool) -> Path:
    """Trains every stage of a run and exports the model.

    Args:
        build_trainer: the package's own, or that of a recipe.
        resume: see :func:`train`, also for what is returned and raised.
    """
    output = config.output_dir
    join_processes()  # first: the settings below depend on the number of processes
    setup_logging("INFO" if is_main() else "WARNING")
    from_main(lambda: _prepare_folder(config, resume))  # the other processes read the folder afterwards
    logger.info("starting from %s", describe_source(next(iter(config.plan().values())).model))
    final: Path | None = None
    for name, stage in config.plan().items():
        folder = output / name
        if (folder / FINAL / WEIGHTS).is_file():
            logger.info("stage %s is done", name)
        else:
            # a new model for each stage: parts that an earlier stage froze must not stay frozen
            model, processor = build_model(stage.model, stage.seed, output)
            if final is not None:
                load_weights(model, final)  # averaged weights of the stage before
            trainer = build_trainer(stage, folder, processor, model)
            from_main(lambda: write_record(config))  # only now: a run that cannot be built leaves no record
            trainer.train()
        check_stage(name, stage, folder)
        final = folder / FINAL
    assert final is not None  # a plan has at least one stage
    weights = final
    from_main(lambda: export(config, weights))
    leave_processes()
    return output / MODEL_FOLDER


def _prepare_folder(config: RunConfig, resume: bool) -> None:
    """Checks the output folder before anything is computed, and joins ``model.start`` in it."""
    output = config.output_dir
    check_writable(output)
    clear_temporaries(output)
    if not resume and any(output.iterdir()):
        raise ValueError(f"{output} already holds a run: add --resume to resume it, or choose output_dir=...")
    compare_record(config)
    for stage in config.plan().values():
        if stage.model.start is not None:
            join_start(stage.model, stage.seed, output)


def check_stage(name: str, stage: RunConfig, folder: Path) -> None:
    """Checks the metrics of a finished stage against ``check``, and reports an early end.

    Raises:
        ValueError: a metric is missing, or the mean of its last lines is too low.
    """
    lines, _ = read_metrics(folder / "metrics.jsonl")
    ended, most = lines[-1]["step"] if lines else 0, stage.train.max_steps
    if ended < most:
        further = f"to train it further, delete {folder / FINAL} and add --resume"
        logger.info("stage %s ended at step %d of at most %d; %s", name, ended, most, further)
    for figure, least in stage.check.items():
        values = [line[figure] for line in lines if type(line.get(figure)) in (int, float)][-_CHECKED_LINES:]
        if not values:
            raise ValueError(f"stage {name}: check: {folder / 'metrics.jsonl'} has no '{figure}'")
        reached = sum(values) / len(values)
        logger.info("stage %s: %s %.3f, at least %.3f", name, figure, reached, least)
        if reached < least:
            raise ValueError(
                f"stage {name}: {figure} is {reached:.3f}, but the next stage needs {least}: delete {folder} "
                f"and train it for longer, or lower check.{figure}"
            )


def export(config: RunConfig, weights: Path) -> Path:
    """Writes the exported model, adapters merged, and the official layout with ``export_official``.

    Args:
        weights: ``final`` or a checkpoint of a stage.

    Raises:
        ValueError: the weights are of another model, or the official code cannot run this one.
    """
    model, processor = build_model(config.model, config.seed, config.output_dir)
    load_weights(model, weights)
    folder = config.output_dir / MODEL_FOLDER
    model.merge_lora().to(getattr(torch, config.export_dtype)).save_pretrained(folder)
    # the threshold was fitted to the initial weights and does not hold for these, nor do the words met
    processor.config = replace(processor.config, presence_threshold=None, words=())
    processor.save_pretrained(folder)
    logger.info("the model is in %s", folder)
    if config.export_official:
        target = config.output_dir / OFFICIAL_FOLDER
        export_official(folder, target, overwrite=True)
        logger.info("the model in the official layout is in %s", target)
    return folder
