"""Weight averaging: the moving average of a run, and its interpolation with the initial weights (WiSE-FT)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from instructseg.distributed import is_main
from instructseg.engine.checkpoint import load_state, save_weights
from instructseg.engine.parallel.tensors import is_sharded, local, sharded_like, whole_weights

START = "start"
"""Folder of the initial weights in the output folder of a stage."""


class Ema:
    """Exponential moving average of the parameters that learn.

    The decay grows to ``decay`` as ``(1 + step) / (10 + step)``, so a short run averages too.

    Args:
        model: with the initial weights; pass the same one to every method.
        decay: 0..1, exclusive of 1; 0 keeps no average, and the model's own weights are used.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        learning = {name: p for name, p in model.named_parameters() if p.requires_grad} if decay else {}
        self.weights = {name: parameter.detach().clone() for name, parameter in learning.items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Updates the average with the weights after ``step`` steps."""
        if self.weights:
            decay = min(self.decay, (1 + step) / (10 + step))
            parameters = dict(model.named_parameters())
            current = [local(parameters[name].detach()) for name in self.weights]
            torch._foreach_lerp_([local(average) for average in self.weights.values()], current, 1 - decay)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Puts the averaged weights in ``model`` for the block."""
        self.exchange(model)
        try:
            yield
        finally:
            self.exchange(model)

    @torch.no_grad()
    def exchange(self, model: nn.Module) -> None:
        """Swaps the average and the model's weights, without a copy unless sharded."""
        parameters = dict(model.named_parameters())
        for name, average in self.weights.items():
            if is_sharded(average):  # FSDP keeps views of its parts: only their values may change
                mine, theirs = local(average), local(parameters[name].detach())
                kept = theirs.clone()
                theirs.copy_(mine)
                mine.copy_(kept)
                continue
            self.weights[name], parameters[name].data = parameters[name].data, average

    @torch.no_grad()
    def load(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Loads the averages of a checkpoint, unsharded.

        Raises:
            ValueError: when they are of other parameters.
        """
        if weights.keys() != self.weights.keys():
            odd = min(weights.keys() ^ self.weights.keys())
            raise ValueError(
                f"the checkpoint averaged other parameters ('{odd}'): restore ema_decay and trainable"
            )
        for name, average in self.weights.items():
            if weights[name].shape != average.shape:  # copy_ would broadcast it
                raise ValueError(
                    f"the checkpoint's average of '{name}' has shape {tuple(weights[name].shape)}, not "
                    f"{tuple(average.shape)}: it is of another model"
                )
            local(average).copy_(local(sharded_like(weights[name], average)))


def keep_start(model: nn.Module, output_dir: Path, fresh: bool) -> None:
    """Saves the initial weights of ``model``, or checks that a resumed run saved them.

    Raises:
        ValueError: a resumed run has no initial weights.
    """
    folder = output_dir / START
    if fresh and is_main():
        save_weights(whole_weights(model), folder)
    if not fresh and not folder.is_dir():
        raise ValueError(f"start_share needs {folder}, which only a run started with it writes")


@torch.no_grad()
def mix_with_start(model: nn.Module, output_dir: Path, share: float) -> None:
    """Interpolates initial and final weights (WiSE-FT) of trained parameters; ``share`` 0..1 of the initial."""
    start = load_state(output_dir / START)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            mine, first = local(parameter), local(sharded_like(start[name], parameter))
            mine.lerp_(first.to(mine), share)
