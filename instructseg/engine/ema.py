"""The moving average of the weights: what is evaluated and exported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from instructseg.engine.sharded import is_sharded, local, sharded_like


class Ema:
    """Exponential moving average of the parameters that learn.

    The decay grows to ``decay`` as ``(1 + step) / (10 + step)``, so a short run averages too.

    Args:
        model: read now and at each :meth:`update`; always pass the same one.
        decay: 0..1, exclusive of 1; 0 keeps no average, and the model's own weights count.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        learning = {name: p for name, p in model.named_parameters() if p.requires_grad} if decay else {}
        self.weights = {name: parameter.detach().clone() for name, parameter in learning.items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Moves the average towards the weights after ``step`` steps."""
        if self.weights:
            decay = min(self.decay, (1 + step) / (10 + step))
            parameters = dict(model.named_parameters())
            current = [local(parameters[name].detach()) for name in self.weights]
            torch._foreach_lerp_([local(average) for average in self.weights.values()], current, 1 - decay)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Inside, ``model`` has the averaged weights."""
        self.exchange(model)
        try:
            yield
        finally:
            self.exchange(model)

    @torch.no_grad()
    def exchange(self, model: nn.Module) -> None:
        """Swaps the average and the model's weights, without a copy where they are not sharded."""
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
        """Takes the averages of a checkpoint, whole ones.

        Raises:
            ValueError: when they are of other parameters.
        """
        if weights.keys() != self.weights.keys():
            odd = min(weights.keys() ^ self.weights.keys())
            raise ValueError(
                f"the checkpoint averaged other parameters ('{odd}'): restore ema_decay and trainable"
            )
        for name, average in self.weights.items():
            if weights[name].shape != average.shape:  # or it would be spread over the place of another
                raise ValueError(
                    f"the checkpoint's average of '{name}' has shape {tuple(weights[name].shape)}, not "
                    f"{tuple(average.shape)}: it is of another model"
                )
            local(average).copy_(local(sharded_like(weights[name], average)))
