"""Trains or evaluates InstructSeg.

    python train_net.py --config-file configs/nano.yaml [--resume] [--eval-only] [KEY=VALUE ...]

``KEY=VALUE`` changes a field of the configuration: ``train.max_steps=500 output_dir=runs/mine``.
"""

import sys
from collections.abc import Sequence

from instructseg.cli.arguments import Evaluate, Train, run_command


def choose(config_file: str, overrides: Sequence[str]) -> tuple[Train, Evaluate]:
    """What trains and what evaluates by a file: the package, or the recipe that the file names."""
    from instructseg.config import recipe_of

    recipe = recipe_of(config_file, overrides)
    if recipe == "nano":
        from recipes.nano import train as nano

        return nano.train, nano.evaluate
    if recipe:
        raise ValueError(f"{config_file}: recipe: there is no '{recipe}'; there is nano")
    from instructseg.cli import train as package

    return package.train, package.evaluate


if __name__ == "__main__":
    sys.exit(run_command(__doc__, choose))
