"""Trains or evaluates InstructSeg.

    python train_net.py --config-file configs/nano.yaml [--resume] [--eval-only] [KEY=VALUE ...]

``KEY=VALUE`` changes a field of the configuration: ``train.max_steps=500 output_dir=runs/mine``.
"""

import argparse
import sys

from instructseg.cli.errors import reported


def main() -> int:
    """Reads the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="FILE", help="YAML, see configs/")
    parser.add_argument("--resume", action="store_true", help="go on with the run in output_dir")
    parser.add_argument("--eval-only", action="store_true", help="measure the configured model, train nothing")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="fields that differ from the file")
    arguments = parser.parse_intermixed_args()
    with reported():
        from instructseg.cli.train import evaluate, train

        if arguments.eval_only:
            evaluate(arguments.config_file, arguments.overrides)
        else:
            train(arguments.config_file, arguments.overrides, arguments.resume)
    return 0


if __name__ == "__main__":
    sys.exit(main())
