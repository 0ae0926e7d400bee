"""Data parallelism: whole copies with averaged gradients, or FSDP2.

A batch of one task uses some parts of the model and leaves others alone: a question of VQA never reaches the
mask decoder. ``DistributedDataParallel`` must then search every graph for unused parameters. Here nothing is
wrapped: gradients are averaged once, after the last backward of a step, over those parameters that any process
used. It costs the overlap of communication with the backward, which is small beside a step of this model: few
weights learn. In return accumulation, mixed tasks and ``torch.compile`` need no special case.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from instructseg import distributed
from instructseg.engine.optim import restore_optimizer
from instructseg.engine.parallel.tensors import local, sharded_moments, whole, whole_optimizer, whole_weights
from instructseg.engine.step import LossScale
from instructseg.structures import IGNORE_LABEL, ModelInputs, Role, SegOutput

BUCKET_BYTES = 64 << 20
"""Gradients are sent in pieces of about so many bytes."""


Model = Callable[..., SegOutput]
CheckNorm = Callable[[torch.Tensor], None]


class Replicated:
    """Every process holds the whole model, or there is one process."""

    shards = 1
    scales = True
    """Whether the trainer scales the loss of float16."""
    autocasts = True
    """Whether the forward is autocast."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def place(self, model: nn.Module) -> None:
        """Moves the model; every process then has the weights and buffers of the first one."""
        model.to(self.device)
        if distributed.world_size() > 1:
            for tensor in model.state_dict().values():
                dist.broadcast(tensor.detach(), 0)

    def check(self, inputs: ModelInputs) -> None:
        """Raises ``ValueError`` where the processes' batches cannot go through the model together."""

    def wrap(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Model, torch.optim.Optimizer]:
        """The model as it is to be called, and the optimizer."""
        return model, optimizer

    def cast(self, inputs: ModelInputs) -> ModelInputs:
        """The batch as the model takes it."""
        return inputs

    def backward(self, loss: torch.Tensor, last: bool) -> None:
        """Adds a batch's gradients; ``last`` says whether it is the last one of the step."""
        loss.backward()

    def update(
        self, optimizer: torch.optim.Optimizer, clip: float, scale: LossScale, check: CheckNorm
    ) -> torch.Tensor:
        """Averages the gradients over the processes, clips them and takes the step; gradients are then gone.

        Args:
            clip: largest norm of the gradient; 0 does not clip.
            scale: what the loss was multiplied with; a norm that is not finite makes it smaller.
            check: called with the norm before the step, where the loss was not scaled.

        Returns:
            The norm before clipping, a scalar.
        """
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.reduce(parameters)
        if scale.scale != 1:
            gradients = [local(p.grad) for p in parameters if p.grad is not None]
            torch._foreach_mul_(gradients, 1 / scale.scale)
        norm = whole(nn.utils.clip_grad_norm_(parameters, clip or math.inf))
        if not scale.enabled:
            check(norm)
        if scale.update(bool(torch.isfinite(norm))):
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return norm

    def settle(self, model: nn.Module) -> None:
        """After a forward without a backward: weights are as they are kept between steps."""

    def weights(self, model: nn.Module) -> nn.Module | dict[str, torch.Tensor]:
        """Weights to save: the model itself, or its whole weights in the first process."""
        return model

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """``state_dict`` as one process would have it; every process must call it."""
        return whole_optimizer(optimizer)

    def write(self, folder: Path) -> Path | None:
        """Writes what the processes keep apart beside ``folder``; every process must call it."""
        return None

    def read(self, folder: Path, optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
        """Restores the optimizer from a checkpoint's folder and its state.

        Raises:
            ValueError: it belongs to other parameters, or was written with DeepSpeed.
        """
        if not state.get("optimizer"):
            raise ValueError(f"{folder} was written with DeepSpeed: resume with DeepSpeed")
        restore_optimizer(optimizer, sharded_moments(optimizer, state["optimizer"]))

    def reduce(self, parameters: list[nn.Parameter]) -> None:
        """Averages the gradients over the processes; every process must call it."""
        if distributed.world_size() > 1:
            average_gradients(parameters, self.device)


class FullySharded(Replicated):
    """FSDP2: each process holds a part of every weight, gradient and moment.

    The layers of ``model._no_split_modules`` are gathered one after the other, the rest of the model at once.

    Args:
        reshard: whether a layer's weights are given up between its forward and its backward.
        offload: whether the parts wait in the memory of the CPU.
    """

    def __init__(self, device: torch.device, reshard: bool = True, offload: bool = False) -> None:
        super().__init__(device)
        self.reshard, self.offload, self.shards = reshard, offload, distributed.world_size()

    def place(self, model: nn.Module) -> None:
        """Shards the model in place, with the weights of the first process."""
        try:
            from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard
        except ImportError as error:
            raise ValueError("sharding 'fsdp' needs PyTorch 2.6 or later") from error
        super().place(model)
        mesh = dist.device_mesh.init_device_mesh(self.device.type, (distributed.world_size(),))
        policy = CPUOffloadPolicy() if self.offload else OffloadPolicy()
        for layer in blocks(model):
            fully_shard(layer, mesh=mesh, reshard_after_forward=self.reshard, offload_policy=policy)
        fully_shard(model, mesh=mesh, offload_policy=policy)

    def check(self, inputs: ModelInputs) -> None:
        """The processes gather each layer together, so all of them must use the same parts of the model."""
        roles = inputs.roles
        learned = inputs.labels is not None and bool((inputs.labels[:, 1:] != IGNORE_LABEL).any())
        has = [bool((roles == role).any()) for role in (Role.MASK, Role.TEMPORAL, Role.IMAGE)]
        mine = torch.tensor([*has, learned], dtype=torch.int32)
        some = distributed.all_reduce_sum(mine)
        if bool(((some > 0) & (some < distributed.world_size())).any()):
            raise ValueError(
                "with sharded weights the batches of one step must be of one kind, but some ask for masks or "
                "text and some do not: mix data sets with kind 'mixture', or train without sharding"
            )

    def settle(self, model: nn.Module) -> None:
        """Gives up what the forward gathered: the outermost weights wait for a backward."""
        from torch.distributed.fsdp import FSDPModule

        for module in model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()

    def weights(self, model: nn.Module) -> dict[str, torch.Tensor]:
        """The whole weights; empty in all processes but the first."""
        return whole_weights(model)

    def reduce(self, parameters: list[nn.Parameter]) -> None:
        """Nothing: the backward has averaged the gradients."""


def blocks(model: nn.Module) -> list[nn.Module]:
    """The modules that the model names as its building blocks (``_no_split_modules``), in order."""
    names = set(getattr(model, "_no_split_modules", None) or ())
    return [module for module in model.modules() if type(module).__name__ in names]


def average_gradients(parameters: list[nn.Parameter], device: torch.device) -> None:
    """Averages gradients over the processes, in place.

    A parameter that some process used counts as zero in those that did not; one that none used keeps no
    gradient, so that the optimizer skips it.

    Args:
        parameters: the same ones, in the same order, in every process.
        device: where the processes exchange tensors.
    """
    world = distributed.world_size()
    used = torch.tensor([parameter.grad is not None for parameter in parameters], device=device).int()
    dist.all_reduce(used, dist.ReduceOp.MAX)
    gradients = []
    for parameter, anywhere in zip(parameters, used.tolist(), strict=True):
        if anywhere:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
    for bucket in _buckets(gradients):
        flat = torch.cat([gradient.flatten() for gradient in bucket])
        dist.all_reduce(flat)
        flat /= world
        parts = flat.split([gradient.numel() for gradient in bucket])
        for gradient, part in zip(bucket, parts, strict=True):
            gradient.copy_(part.view_as(gradient))


def _buckets(gradients: Iterable[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Pieces of one type and about :data:`BUCKET_BYTES`."""
    open_ones: dict[torch.dtype, list[torch.Tensor]] = {}
    for gradient in gradients:
        bucket = open_ones.setdefault(gradient.dtype, [])
        bucket.append(gradient)
        if sum(tensor.nbytes for tensor in bucket) >= BUCKET_BYTES:
            yield open_ones.pop(gradient.dtype)
    yield from open_ones.values()
