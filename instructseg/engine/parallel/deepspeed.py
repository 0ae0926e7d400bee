"""DeepSpeed ZeRO, as ``accelerate launch --use_deepspeed`` sets it up.

DeepSpeed owns the weights' type, the averaging of gradients, the loss scale and the optimizer's parts. A
checkpoint holds the whole weights and DeepSpeed's shards in ``zero/``: resume with as many processes.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from instructseg import distributed
from instructseg.engine.parallel.replicated import CheckNorm, FullySharded, Model
from instructseg.engine.step import LossScale
from instructseg.structures import ModelInputs

PARTS = "zero"
"""DeepSpeed's folder in a checkpoint."""


class Zero(FullySharded):
    """Weights, gradients and moments as DeepSpeed keeps them.

    Args:
        accelerator: of the run, launched with DeepSpeed.
        accumulate: batches of a step and process.
        clip: largest norm of the gradient; 0 does not clip.
    """

    scales = False
    autocasts = False

    def __init__(self, accelerator: Any, accumulate: int, clip: float) -> None:
        super().__init__(accelerator.device)
        self.accelerator = accelerator
        settings = accelerator.state.deepspeed_plugin.deepspeed_config
        settings["train_micro_batch_size_per_gpu"] = 1  # only its reports read it
        settings["gradient_accumulation_steps"] = accumulate
        settings["train_batch_size"] = accumulate * distributed.world_size()
        settings["gradient_clipping"] = float(clip)
        self.engine: Any = None

    def place(self, model: nn.Module) -> None:
        """Nothing: DeepSpeed moves the model when it is wrapped."""

    def wrap(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Model, torch.optim.Optimizer]:
        """The engine and its optimizer."""
        self.engine, optimizer = self.accelerator.prepare(model, optimizer)
        return self.engine, optimizer

    def cast(self, inputs: ModelInputs) -> ModelInputs:
        """Pixels in the type of the weights: DeepSpeed's forward does not autocast."""
        dtype = next(
            parameter.dtype for parameter in self.engine.module.parameters() if parameter.requires_grad
        )
        seg = None if inputs.seg_pixels is None else inputs.seg_pixels.to(dtype)
        return replace(inputs, clip_pixels=inputs.clip_pixels.to(dtype), seg_pixels=seg)

    def backward(self, loss: torch.Tensor, last: bool) -> None:
        """Adds a batch's gradients; DeepSpeed divides by the batches of a step itself."""
        self.engine.set_gradient_accumulation_boundary(is_boundary=last)
        self.engine.backward(loss * self.engine.gradient_accumulation_steps(), scale_wrt_gas=True)

    def update(
        self, optimizer: torch.optim.Optimizer, clip: float, scale: LossScale, check: CheckNorm
    ) -> torch.Tensor:
        """DeepSpeed's step; it clips, and skips a step with float16 gradients that are not finite."""
        self.engine.step()
        norm = self.engine.get_global_grad_norm()
        return torch.as_tensor(float("nan") if norm is None else float(norm))

    def weights(self, model: nn.Module) -> dict[str, torch.Tensor]:
        """The whole weights; empty in all processes but the first."""
        state = self.accelerator.get_state_dict(self.engine)
        return (
            {name: tensor.cpu().contiguous() for name, tensor in state.items()} if distributed.is_main() else {}
        )

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Nothing: it is among DeepSpeed's parts."""
        return {}

    def write(self, folder: Path) -> Path | None:
        """Every process writes its parts beside ``folder``."""
        target = folder.parent / f".{PARTS}"
        if distributed.is_main():
            shutil.rmtree(target, ignore_errors=True)
        distributed.barrier()
        self.engine.save_checkpoint(str(target), tag="state")
        distributed.barrier()
        return target

    def read(self, folder: Path, optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
        """Takes DeepSpeed's parts; raises ``ValueError`` where the checkpoint was written without DeepSpeed."""
        if not (folder / PARTS).is_dir():
            raise ValueError(
                f"{folder} was written without DeepSpeed: resume without, or start a new run from its weights"
            )
        self.engine.load_checkpoint(str(folder / PARTS), tag="state")
