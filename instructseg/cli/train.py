"""``train_net.py`` and ``instructseg train``: runs the stages of a configuration, or evaluates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from instructseg.cli.build import build_model, build_trainer, held_out
from instructseg.config import RunConfig, load_config
from instructseg.engine import Trainer, run_stages
from instructseg.engine.checkpoint import load_weights
from instructseg.log import get_logger

logger = get_logger(__name__)

MODEL_FOLDER = "model"
"""Where a finished run leaves what ``--model`` takes, in its output folder."""


def train(config_file: str, overrides: Sequence[str] = (), eval_only: bool = False, resume: bool = False) -> None:
    """Trains, or with ``eval_only`` measures the model named in the configuration on held-out data.

    Args:
        config_file: YAML, see :mod:`instructseg.config`.
        overrides: ``dotted.key=value``.
        eval_only: no training.
        resume: goes on with the run that ``output_dir`` holds; without it a used folder is an error.

    Raises:
        FileNotFoundError: no such configuration.
        ValueError: a wrong configuration, or a run in ``output_dir`` without ``resume``.
    """
    config = load_config(config_file, overrides)
    if eval_only:
        model, processor = build_model(config.model, config.seed)
        print(json.dumps(held_out(config.data, processor)(model.eval()), indent=2))
        return
    output = config.output_dir
    if not resume and output.is_dir() and any(output.iterdir()):
        raise ValueError(f"{output} already holds a run: add --resume to go on with it, or choose output_dir=...")

    def build(stage: RunConfig, folder: Path) -> Trainer:
        model, processor = build_model(stage.model, stage.seed)
        return build_trainer(stage, folder, processor, model)

    final = run_stages(config.plan(), build, output)
    model, processor = build_model(config.model, config.seed)
    load_weights(model, final)
    model.save_pretrained(output / MODEL_FOLDER)
    processor.save_pretrained(output / MODEL_FOLDER)
    logger.info("the model is in %s", output / MODEL_FOLDER)
