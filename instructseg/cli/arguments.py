"""Command line of ``train_net.py`` and of recipes: train from a config, or evaluate."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer

from instructseg.cli.errors import reported

Train = Callable[[str, Sequence[str], bool], Path]
"""Takes a configuration file, overrides, and whether to resume."""
Evaluate = Callable[[str, Sequence[str]], Any]
"""Takes a configuration file and overrides."""


def evaluate(config_file: str | Path, overrides: Sequence[str] = ()) -> dict[str, float]:
    """Evaluates the model of a configuration on the benchmark of its section ``eval``; prints the results.

    Raises:
        FileNotFoundError, ValueError: as :func:`~instructseg.benchmarks.runner.run_benchmark`.
    """
    from instructseg.benchmarks.runner import run_benchmark
    from instructseg.config import load_config

    return run_benchmark(load_config(config_file, overrides), typer.echo)


def run_command(
    description: str | None,
    choose: Callable[[str, Sequence[str]], tuple[Train, Evaluate]],
    config_file: str | None = None,
) -> int:
    """Parses the command line, and trains or evaluates.

    Args:
        description: of ``--help``.
        choose: returns the functions that train and evaluate a configuration file with overrides.
        config_file: default of ``--config-file``; ``None`` makes it required.

    Returns:
        The exit code.

    Raises:
        SystemExit: the arguments are wrong, or the run failed.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    given: dict[str, Any] = {"required": True} if config_file is None else {"default": config_file}
    parser.add_argument(
        "--config-file", **given, metavar="FILE", help="YAML file, or a name of 'instructseg config list'"
    )
    parser.add_argument("--resume", action="store_true", help="resume the run in output_dir")
    parser.add_argument(
        "--eval-only", action="store_true", help="evaluate the configured model without training"
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="override config fields")
    arguments = parser.parse_intermixed_args()
    with reported():
        train, evaluate = choose(arguments.config_file, arguments.overrides)
        if arguments.eval_only:
            evaluate(arguments.config_file, arguments.overrides)
        else:
            train(arguments.config_file, arguments.overrides, arguments.resume)
    return 0
