"""A run of several stages, each started from the averaged weights of the one before."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from instructseg.engine.checkpoint import WEIGHTS, load_weights
from instructseg.engine.trainer import FINAL, Trainer

logger = logging.getLogger(__name__)

Stage = TypeVar("Stage")

RESERVED = frozenset({"model", "official", "start"})
"""Other folders of a run."""
_NAME = re.compile(r"\w(?:[\w .-]{0,98}[\w-])?")


def check_stage_name(name: str) -> None:
    """Raises ``ValueError`` where a stage's name is not that of one folder below the run's own."""
    if not _NAME.fullmatch(name) or name in RESERVED:
        raise ValueError(
            f"stage {name!r}: a stage is a folder of the run: take letters, digits, blanks, '-', '_' and '.' "
            f"behind a letter or digit, and none of {', '.join(sorted(RESERVED))}"
        )


def run_stages(
    stages: Mapping[str, Stage],
    build: Callable[[Stage, Path], Trainer],
    output_dir: str | Path,
    check: Callable[[str, Stage, Path], None] | None = None,
) -> Path:
    """Trains the stages in order, each in ``output_dir/<name>``; goes on where an earlier call stopped.

    A stage that has written its final weights is skipped; delete its folder to train it again.

    Args:
        stages: name -> what ``build`` needs to know.
        build: makes the trainer of a stage for a folder, around a model of its own: what an earlier
            stage froze must not stay frozen.
        output_dir: folder of the whole run.
        check: called with name, stage and folder of each finished stage before the next; raises where it fell
            short.

    Returns:
        The folder of the last stage's final weights.

    Raises:
        ValueError: when there is no stage, a name is no folder's, or a model cannot take the weights of the
            stage before.
    """
    if not stages:
        raise ValueError("no stage to run")
    for name in stages:
        check_stage_name(name)
    final: Path | None = None
    for name, stage in stages.items():
        folder = Path(output_dir) / name
        if (folder / FINAL / WEIGHTS).is_file():
            logger.info("stage %s is done", name)
        else:
            trainer = build(stage, folder)
            if final is not None:
                load_weights(trainer.taught, final)
            trainer.train()
        if check is not None:
            check(name, stage, folder)
        final = folder / FINAL
    assert final is not None
    return final
