"""Programs in processes that are forked: what is imported here need not be imported again.

``tests/serve/test_web_page.py`` starts a new interpreter.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import socket
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

import cv2
import torch
from accelerate.state import AcceleratorState
from torch.distributed.launcher.api import LaunchConfig, elastic_launch


class Program:
    """A running script, or ``-m`` and a module, with words behind it.

    Args:
        folder: gets what it prints.
        environment: further variables.
    """

    def __init__(self, folder: Path, *words: str, **environment: str) -> None:
        name = environment.get("RANK", "alone")
        self.printed = [folder / f"{name}.out", folder / f"{name}.err"]
        fork = multiprocessing.get_context("fork")
        self.process: BaseProcess = fork.Process(target=_enter, args=(self.printed, list(words), environment))
        self.process.start()

    def ended(self, seconds: float = 300) -> tuple[int | None, str, str]:
        """Waits for its end; its exit code, output and errors."""
        self.process.join(seconds)
        self.process.kill()
        out, err = (file.read_text() for file in self.printed)
        return self.process.exitcode, out, err


def _enter(printed: list[Path], words: list[str], environment: dict[str, str]) -> None:
    os.environ |= {"ACCELERATE_USE_CPU": "true", **environment}
    for number, file in enumerate(printed, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    AcceleratorState._reset_state(reset_partial_state=True)  # what was forked along
    torch.set_num_threads(1)
    cv2.setNumThreads(0)  # the threads of its pool are not forked along
    module, sys.argv = words[0] == "-m", words[words[0] == "-m" :]
    (runpy.run_module if module else runpy.run_path)(sys.argv[0], run_name="__main__")


def run_in_two(folder: Path, *words: str) -> list[tuple[int | None, str, str]]:
    """Runs a program in two processes as torchrun does; :meth:`Program.ended` of each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    programs = [Program(folder, *words, **place, RANK=rank, LOCAL_RANK=rank) for rank in ("0", "1")]
    return [program.ended() for program in programs]


def run_by_torchrun(
    folder: Path, *words: str, seconds: float = 300
) -> tuple[int | None, list[tuple[str, str]]]:
    """Runs a program in two processes under the agent of torchrun, with ``--standalone``.

    Returns:
        exit code of the agent, 1 where a process failed; output and errors of each process.
    """
    agent = multiprocessing.get_context("fork").Process(target=_launch, args=(folder, list(words)))
    agent.start()
    agent.join(seconds)
    agent.kill()
    return agent.exitcode, [
        ((folder / f"{rank}.out").read_text(), (folder / f"{rank}.err").read_text()) for rank in "01"
    ]


def _launch(folder: Path, words: list[str]) -> None:
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=2, start_method="fork", max_restarts=0, run_id=folder.name,
        rdzv_backend="c10d", rdzv_endpoint="localhost:0",
    )  # fmt: skip
    elastic_launch(config, _enter_of_rank)(folder, words)


def _enter_of_rank(folder: Path, words: list[str]) -> None:
    rank = os.environ["RANK"]
    _enter([folder / f"{rank}.out", folder / f"{rank}.err"], words, {})
