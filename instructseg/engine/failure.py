"""The end of a run whose numbers are of no use: which samples did it, and which checkpoint is left."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from instructseg.distributed import rank, world_size
from instructseg.engine.checkpoint import latest
from instructseg.engine.source import BatchSource
from instructseg.files import write_json_atomic

logger = logging.getLogger(__name__)

FAILURE = "failure.json"
"""Says which samples stopped the run."""


class Diverged(FloatingPointError, ValueError):
    """A loss or a gradient is not finite, or far too large: what the user can put right, by data or rates."""


def fail(
    output_dir: Path, source: BatchSource, step: int, what: str, value: float, indices: Iterable[int], why: str
) -> NoReturn:
    """Notes in ``failure.json`` which samples stopped the run, and raises.

    Args:
        output_dir: of the run.
        source: names the samples.
        step: in which it happened.
        what: ``loss`` or ``gradient``.
        value: of it.
        indices: of the batches.
        why: what is wrong with the value, where that does not speak for itself.

    Raises:
        Diverged: always; in one line.
    """
    names = [name for index in indices for name in source.names(index)]
    kept = latest(output_dir)
    whose = f" of process {rank()}" if world_size() > 1 else ""
    note = {"step": step, "what": what, "value": str(value), "samples": names, "checkpoint": str(kept)}
    try:
        write_json_atomic(output_dir / FAILURE, note, indent=2)
    except OSError as error:  # what happened to the numbers is worth more than its note
        logger.warning("%s could not be written: %s", output_dir / FAILURE, error)
    behind = f"; the last checkpoint is {kept}" if kept else ""
    raise Diverged(f"{what}{whose} is {value} at step {step}{why}; samples: {', '.join(names)}{behind}")
