"""``train_net.py`` and ``instructseg train``: runs the stages of a configuration, or evaluates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
import typer

from instructseg.cli.build import build_model, build_trainer
from instructseg.cli.record import compare_record, write_record
from instructseg.cli.sources import join_start
from instructseg.config import ModelSource, Run, RunConfig, load_config
from instructseg.distributed import from_main, is_main
from instructseg.engine import Trainer, join_processes, run_stages
from instructseg.engine.checkpoint import load_weights
from instructseg.engine.disk import check_writable, clear_temporaries
from instructseg.engine.metrics import read_metrics
from instructseg.engine.trainer import FINAL
from instructseg.hub import BUNDLED, is_bundled
from instructseg.log import get_logger, setup_logging
from instructseg.model import InstructSeg
from instructseg.processing import InstructSegProcessor

logger = get_logger(__name__)

MODEL_FOLDER = "model"
"""Where a finished run leaves what ``--model`` takes, in its output folder."""
OFFICIAL_FOLDER = "official"
"""The same in the layout of the released code."""
_CHECKED_LINES = 5


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
        ValueError: a wrong configuration, a run in ``output_dir`` without ``resume``, or one that began with
            other settings.
        OSError: ``output_dir`` cannot be written.
    """
    config = load_config(config_file, overrides)
    for stage in config.plan().values():
        if not stage.data.mixture:
            raise ValueError(f"{config_file}: data.mixture: name the data sets to train on")
    return train_run(config, build_trainer, resume)


def train_run(
    config: Run, build_trainer: Callable[[Run, Path, InstructSegProcessor, InstructSeg], Trainer], resume: bool
) -> Path:
    """Trains every stage of a run and exports the model; a recipe hands in trainers of its own.

    Args:
        config: of the run.
        build_trainer: makes the trainer of a stage from the stage, its folder, and a model with its processor.
        resume: see :func:`train`, as are what is returned and raised.
    """
    output = config.output_dir
    join_processes()  # what is read from here on depends on how many there are
    setup_logging("INFO" if is_main() else "WARNING")
    from_main(lambda: _settle(config, resume))  # the others look at the folder when it is as it will be
    logger.info("starting from %s", _in_words(next(iter(config.plan().values())).model))

    def build(stage: Run, folder: Path) -> Trainer:
        model, processor = build_model(stage.model, stage.seed, output)
        trainer = build_trainer(stage, folder, processor, model)
        from_main(lambda: write_record(config))  # now that all of it can be built
        return trainer

    final = run_stages(config.plan(), build, output, check_stage)
    from_main(lambda: export(config, final))
    return output / MODEL_FOLDER


def _settle(config: RunConfig, resume: bool) -> None:
    """Looks at the folder of a run before anything is computed, and joins its first weights in it."""
    output = config.output_dir
    check_writable(output)
    clear_temporaries(output)
    if not resume and any(output.iterdir()):
        raise ValueError(f"{output} already holds a run: add --resume to go on, or choose output_dir=...")
    compare_record(config)
    for stage in config.plan().values():
        if stage.model.start is not None:
            join_start(stage.model, stage.seed, output)


def _in_words(source: ModelSource) -> str:
    if source.start is not None:
        return f"the files of model.start, in the preset {source.name}"
    if source.preset is not None:
        return f"random weights, the preset {source.preset}"
    if is_bundled(source.name):
        return f"the weights of the bundled model (for random ones of its sizes: model.name=preset:{BUNDLED})"
    return f"the weights of {source.name}"


def check_stage(name: str, stage: RunConfig, folder: Path) -> None:
    """Compares the figures of a finished stage with ``check`` of its configuration; tells where it ended early.

    Raises:
        ValueError: a figure is missing, or the mean of its last lines is too small.
    """
    lines, _ = read_metrics(folder / "metrics.jsonl")
    ended, most = lines[-1]["step"] if lines else 0, stage.train.max_steps
    if ended < most:
        further = f"to train it further, delete {folder / FINAL} and go on with --resume"
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
    """Writes what ``--model`` takes, adapters merged, and the official layout where it is asked for.

    Args:
        config: of the run.
        weights: a folder of a stage: ``final``, or a checkpoint.

    Raises:
        ValueError: the weights are of another model, or the official code cannot run this one.
    """
    model, processor = build_model(config.model, config.seed, config.output_dir)
    load_weights(model, weights)
    folder = config.output_dir / MODEL_FOLDER
    model.merge_lora().to(getattr(torch, config.export_dtype)).save_pretrained(folder)
    # fitted to the weights that the run began with; these may find other things present
    processor.config = replace(processor.config, presence_threshold=None)
    processor.save_pretrained(folder)
    logger.info("the model is in %s", folder)
    if config.export_official:
        from instructseg.convert import export_official

        target = config.output_dir / OFFICIAL_FOLDER
        export_official(folder, target, overwrite=True)
        logger.info("the model in the official layout is in %s", target)
    return folder


def evaluate(config_file: str | Path, overrides: Sequence[str] = ()) -> dict[str, float]:
    """Measures the model of a configuration on the benchmark of its section ``eval``; prints the results.

    Raises:
        FileNotFoundError, ValueError: as :func:`~instructseg.benchmarks.runner.run_benchmark`.
    """
    from instructseg.benchmarks.runner import run_benchmark

    return run_benchmark(load_config(config_file, overrides), typer.echo)
