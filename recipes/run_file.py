"""Configurations of the recipes: a YAML file and what the command line changes of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from instructseg.typed_yaml import Origins, build, merge, read_tree, read_words, resolve

_Run = TypeVar("_Run")


def read_run_file(kind: type[_Run], config_file: str | Path, overrides: Sequence[str] = ()) -> _Run:
    """Reads a run of a recipe, whose ``kind`` has its fields.

    Raises:
        FileNotFoundError, ValueError: it is missing, or a value is not allowed.
    """
    origins = Origins(config_file)
    tree = merge(read_tree(Path(config_file), origins), read_words(overrides, origins))
    return build(kind, resolve(tree, str(config_file)), origins)


def check_unused(output_dir: Path, checkpoints: str, resume: bool) -> None:
    """Refuses a folder that holds a run, unless that is resumed.

    Args:
        output_dir: of the run.
        checkpoints: pattern of their folders below it.
        resume: whether it is asked for.

    Raises:
        ValueError: there are checkpoints of an earlier run.
    """
    if not resume and any(output_dir.glob(checkpoints)):
        raise ValueError(f"{output_dir} holds a run: add --resume, or choose another output_dir")
