"""The weights that a run begins with, of which those that it hands on may keep a share.

The mean of both often does what was learned last without losing what was known before (WiSE-FT, arXiv
2109.01903).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from instructseg.distributed import is_main
from instructseg.engine.checkpoint import load_state, save_weights
from instructseg.engine.sharded import local, sharded_like, whole_weights

START = "start"
"""Folder of the first weights in a run's output folder."""


def keep_start(model: nn.Module, output_dir: Path, begins: bool) -> None:
    """Writes the weights of ``model`` where the run begins; makes sure that they are there where it goes on.

    Raises:
        ValueError: the run goes on and did not keep them.
    """
    folder = output_dir / START
    if begins and is_main():
        save_weights(whole_weights(model), folder)
    if not begins and not folder.is_dir():
        raise ValueError(f"start_share needs {folder}, which a run writes that begins with it")


@torch.no_grad()
def mix_with_start(model: nn.Module, output_dir: Path, share: float) -> None:
    """Moves what learned in ``model`` towards the first weights by ``share``, 0..1."""
    start = load_state(output_dir / START)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            mine, first = local(parameter), local(sharded_like(start[name], parameter))
            mine.lerp_(first.to(mine), share)
