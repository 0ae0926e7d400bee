"""A small run that kills itself with SIGKILL at a named moment; the tests start it in a process of its own.

Moments: ``step``, or of the second checkpoint ``weights``, ``averages``, ``state``, ``rename``, ``delete``;
``never`` runs to the end.
"""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import torch

from instructseg.engine import TrainConfig, Trainer, checkpoint
from instructseg.engine.optim import OptimConfig
from tests.engine.fakes import TinyModel, TinySource, noisy_criterion

CONFIG = TrainConfig(
    max_steps=9, log_every=1, save_every=2, keep_checkpoints=1, ema_decay=0.9, optim=OptimConfig(lr=0.05)
)


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(moment: str) -> None:
    """Lets a function of the checkpoint write half a file, or nothing, and die, at the second checkpoint."""
    calls = []

    def second(name: str, owner: object, half: bool) -> None:
        real = getattr(owner, name)

        def dying(*arguments, **named):
            calls.append(name)
            if len(calls) < 2:
                return real(*arguments, **named)
            if half:
                real(*arguments, **named)
                target = next(Path(a) for a in arguments if isinstance(a, str | Path))
                os.truncate(target, target.stat().st_size // 2)
            return die()

        setattr(owner, name, dying)

    if moment == "rename":
        second("rename", Path, half=False)
    elif moment == "delete":
        remove = shutil.rmtree

        def some(folder, ignore_errors=False):
            if not ignore_errors:  # the old checkpoint, not what was left behind
                next(iter(Path(folder).iterdir())).unlink()
                die()
            remove(folder, ignore_errors=True)

        shutil.rmtree = some
    elif moment in ("weights", "averages", "state"):
        name = {"weights": "save_model", "averages": "save_file", "state": "save"}[moment]
        second(name, torch if moment == "state" else checkpoint, half=True)


def main(folder: str, moment: str) -> None:
    arm(moment)
    steps = []

    def criterion(output, targets, labels):
        steps.append(1)
        if moment == "step" and len(steps) == 6:
            die()
        return noisy_criterion(output, targets, labels)

    torch.manual_seed(0)
    Trainer(TinyModel(), criterion, TinySource(), CONFIG, folder).train()
