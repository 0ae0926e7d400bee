"""The paper's ablations (Tables 6 to 9) at the size of the bundled model; slow, and may be stopped at any time.

    OMP_NUM_THREADS=1 python -m recipes.nano.ablations.sweep

Each run starts from the model of ``--model``, without what the variant lacks and with VMTF drawn anew, and is
trained as in the stage ``whole`` of ``configs/nano.yaml`` with SigLIP and Swin frozen. A finished run leaves a
file in ``--results``; the same command skips it, goes on with a run that was stopped, and leaves alone those
that another process has in hand, so that it may be started once per core. ``--only NAME ...`` runs some of the
variants.
``python -m recipes.nano.ablations.report`` writes ``docs/ablations.md`` from the results.
"""

from __future__ import annotations

import argparse
import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from instructseg.files import write_json_atomic
from instructseg.hub import DRAWN_MODEL
from instructseg.log import setup_logging
from perf.workload import weights_digest
from recipes.nano.ablations.run import Settings, run
from recipes.nano.ablations.variants import VARIANTS
from recipes.nano.config import load_config

RESULTS = Path(__file__).parent / "results"
STAGE = "whole"
SETTINGS, CLAIM = "settings.json", "claim"
"""Files in the folder of a run."""


def is_done(file: Path, settings: Settings) -> bool:
    """Whether a file holds the result of a run, or the note of one that was begun.

    Raises:
        ValueError: it belongs to a study with other settings.
    """
    if not file.is_file():
        return False
    found = json.loads(file.read_text())
    found = found.get("settings", found)
    if found != settings.noted:
        raise ValueError(
            f"{file} is of {found}, not of {settings.noted}: delete {file.parent} or choose another folder"
        )
    return True


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Whether the run of that folder is ours until the block ends; a process that dies gives its claim back."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / CLAIM).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def run_all(settings: Settings, names: Sequence[str], seeds: int, results: Path, work: Path) -> int:
    """Does what is not done yet, seed by seed, so that early results cover all variants.

    Returns:
        How many runs were left to other processes.

    Raises:
        ValueError: there are results or begun runs with other settings.
    """
    planned = [(name, seed) for seed in range(1, seeds + 1) for name in names]  # 0 is the bundled model's own
    elsewhere = 0
    for number, (name, seed) in enumerate(planned, start=1):
        label = f"{name}-{seed}"
        target, folder = results / f"{label}.json", work / label
        if is_done(target, settings):
            continue
        with claimed(folder) as is_ours:
            if not is_ours:
                elsewhere += 1
            elif not is_done(target, settings):  # another process may just have finished it
                print(f"run {number} of {len(planned)}: {name}, seed {seed}", flush=True)
                if not is_done(folder / SETTINGS, settings):
                    write_json_atomic(folder / SETTINGS, settings.noted)
                write_json_atomic(target, run(settings, name, seed, folder), indent=2)
    return elsewhere


def main() -> None:
    """Runs the study, or what is left of it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, default=DRAWN_MODEL, help="a folder; default: the bundled one")
    parser.add_argument("--steps", type=int, default=150, help="of training")
    parser.add_argument("--instructions", type=int, default=80, help="of each kind that is measured")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each variant")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, metavar="NAME", help=", ".join(VARIANTS))
    parser.add_argument("--config", default="configs/nano.yaml", help=f"whose stage '{STAGE}' is trained")
    parser.add_argument("--held-out", default="configs/nano/test.yaml", help="whose scenes are measured on")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--work", type=Path, default=Path("runs/ablations"), help="for what is not finished")
    options = parser.parse_args()
    torch.set_num_threads(1)
    setup_logging()
    stage, held_out = load_config(options.config).stages[STAGE], load_config(options.held_out).data
    digest = weights_digest(options.model)
    settings = Settings(options.model, digest, stage, held_out, options.steps, options.instructions)
    try:
        left = run_all(settings, options.only or list(VARIANTS), options.seeds, options.results, options.work)
    except KeyboardInterrupt:
        raise SystemExit("stopped: the same command goes on") from None
    except ValueError as error:
        raise SystemExit(f"error: {error}") from error
    if left:
        print(f"{left} runs are in other hands")


if __name__ == "__main__":
    main()
