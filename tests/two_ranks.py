"""A program in two processes as torchrun starts them, but forked: what is imported here need not be again.

``tests/jobs/test_batch_runs.py`` goes through torchrun itself.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import socket
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import torch
from accelerate.state import AcceleratorState


class Ended(NamedTuple):
    """How a process ended, and what it printed."""

    code: int | None
    out: str
    err: str


def _enter(rank: int, port: int, folder: Path, words: list[str]) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / f"{name}-{rank}", os.O_WRONLY | os.O_CREAT), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    AcceleratorState._reset_state(reset_partial_state=True)  # what was forked along
    torch.set_num_threads(1)
    cv2.setNumThreads(0)  # the threads of its pool are not forked along
    sys.argv = words
    runpy.run_path(words[0], run_name="__main__")


def run_in_two(folder: Path, *words: str) -> list[Ended]:
    """Runs a script with words behind it; what it prints is kept in ``folder``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=_enter, args=(rank, port, folder, list(words))) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
        process.kill()
    texts = [[(folder / f"{name}-{rank}").read_text() for name in ("out", "err")] for rank in range(2)]
    return [Ended(process.exitcode, *text) for process, text in zip(processes, texts, strict=True)]
