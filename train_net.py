"""Trains or evaluates InstructSeg.

    python train_net.py --config-file configs/nano.yaml [--resume] [--eval-only] [KEY=VALUE ...]

``KEY=VALUE`` overrides a field of the configuration: ``train.max_steps=500 output_dir=runs/mine``.
"""

import sys
from collections.abc import Sequence

from instructseg.cli.arguments import Evaluate, Train, evaluate, run_command


def choose(config_file: str, overrides: Sequence[str]) -> tuple[Train, Evaluate]:
    """Returns the functions that train and evaluate a file: of the package, or of its ``recipe``."""
    from instructseg.config import recipe_of

    recipe = recipe_of(config_file, overrides)
    if recipe == "nano":
        from recipes.nano import train as nano

        return nano.train, nano.evaluate
    if recipe == "mini":
        from recipes.mini import train as mini

        return mini.train, mini.evaluate
    if recipe == "systems":
        from recipes.systems import train as systems

        return systems.train, systems.evaluate
    if recipe:
        raise ValueError(f"{config_file}: recipe: there is no '{recipe}'; there are mini, nano and systems")
    from instructseg.training import train

    return train, evaluate


if __name__ == "__main__":
    sys.exit(run_command(__doc__, choose))
