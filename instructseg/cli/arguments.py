"""The command line of ``train_net.py``, and of recipes that train by files of their own."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from instructseg.cli.errors import reported

Train = Callable[[str, Sequence[str], bool], Path]
"""Takes a configuration file, what differs from it, and whether to resume."""
Evaluate = Callable[[str, Sequence[str]], Any]
"""Takes a configuration file and what differs from it."""


def run_command(
    description: str | None,
    choose: Callable[[str, Sequence[str]], tuple[Train, Evaluate]],
    config_file: str | None = None,
) -> int:
    """Reads the command line, and trains or evaluates.

    Args:
        description: of ``--help``.
        choose: gives what trains and what evaluates by a configuration file and what differs from it.
        config_file: where ``--config-file`` is not given; ``None``: it has to be.

    Returns:
        The exit code.

    Raises:
        SystemExit: what was asked for is wrong, or failed.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    given: dict[str, Any] = {"required": True} if config_file is None else {"default": config_file}
    parser.add_argument("--config-file", **given, metavar="FILE", help="YAML, see configs/")
    parser.add_argument("--resume", action="store_true", help="go on with the run in output_dir")
    parser.add_argument("--eval-only", action="store_true", help="measure the configured model, train nothing")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="fields that differ from the file")
    arguments = parser.parse_intermixed_args()
    with reported():
        train, evaluate = choose(arguments.config_file, arguments.overrides)
        if arguments.eval_only:
            evaluate(arguments.config_file, arguments.overrides)
        else:
            train(arguments.config_file, arguments.overrides, arguments.resume)
    return 0
