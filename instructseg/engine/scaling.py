"""The loss scale of float16: small gradients do not vanish, too large ones cost one step.

PyTorch's ``GradScaler`` looks at the gradients of one process; here the norm of the gradient over all
processes is known before the step, so every process takes the same decision, whatever is sharded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FIRST = 2.0**16
GROWTH = 2.0
BACKOFF = 0.5
INTERVAL = 2000
"""The numbers of ``torch.amp.GradScaler``."""
LEAST = 2.0**-14
"""A smaller scale means that the gradient itself is not finite."""


class LossScale:
    """A power of two that the loss is multiplied with.

    Args:
        enabled: for float16; otherwise the scale is 1 and stays so.
    """

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled
        self.scale = FIRST if enabled else 1.0
        self.good = 0

    def update(self, finite: bool) -> bool:
        """Takes whether the gradient was finite; returns whether the step is to be taken.

        Raises:
            FloatingPointError: the scale has fallen below :data:`LEAST`.
        """
        if not self.enabled:
            return True
        self.good = self.good + 1 if finite else 0
        if not finite:
            self.scale *= BACKOFF
        elif self.good == INTERVAL:
            self.scale, self.good = self.scale * GROWTH, 0
        if self.scale < LEAST:
            raise FloatingPointError(f"gradients are not finite at any loss scale down to {LEAST:g}")
        return finite

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"scale": self.scale, "good": self.good}

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes :meth:`state`; a run of another precision keeps its own scale."""
        if self.enabled and state["scale"] != 1.0:
            self.scale, self.good = state["scale"], state["good"]
