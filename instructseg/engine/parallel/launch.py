"""Choice of data parallelism from the launcher's settings."""

from __future__ import annotations

import os
from typing import Any

from torch import nn

from instructseg import distributed
from instructseg.engine.parallel.replicated import FullySharded, Replicated, blocks
from instructseg.engine.settings import TrainConfig


def join_processes() -> None:
    """Joins the processes of ``torchrun`` or ``accelerate launch``, so that ranks are known."""
    from accelerate import PartialState

    PartialState()


def leave_processes() -> None:
    """Ends what :func:`join_processes` began, once all processes are here; does nothing for a single one.

    A process that exits while another still listens to it may abort instead of ending.
    """
    from accelerate import PartialState

    state = PartialState()
    state.wait_for_everyone()
    state.destroy_process_group()


def choose_parallel(config: TrainConfig) -> tuple[Any, Replicated]:
    """Chooses data parallelism from the launcher and ``config.sharding``; joins the processes.

    Returns:
        The ``Accelerator``, which knows devices and ranks, and how weights and gradients are kept.

    Raises:
        ValueError: the launcher's settings do not fit; states the change.
    """
    from accelerate import Accelerator, DistributedType

    # autocast is ours; DeepSpeed casts the weights themselves and must know the type
    zero = os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true"
    names = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
    accelerator = Accelerator(mixed_precision=names[config.precision] if zero else "no")
    kind = accelerator.distributed_type
    shared_out = kind in (DistributedType.FSDP, DistributedType.DEEPSPEED) or config.sharding == "fsdp"
    if shared_out and config.optim.method == "muon":
        raise ValueError("muon needs whole matrices: choose adamw, or train without sharding")
    if kind is DistributedType.DEEPSPEED:
        from instructseg.engine.parallel.deepspeed import Zero

        if accelerator.state.deepspeed_plugin.zero_stage == 3:
            raise ValueError(
                "DeepSpeed ZeRO-3 is not supported: parts of this model read weights of others; use ZeRO 1 "
                "or 2, or shard the weights with FSDP2"
            )
        if config.ema_decay or config.final == "best" or config.start_share:
            raise ValueError(
                "DeepSpeed shards the weights: set ema_decay and start_share to 0 and final to last"
            )
        return accelerator, Zero(accelerator, config.accumulate, config.optim.clip_norm)
    if kind is DistributedType.FSDP:
        if not accelerator.is_fsdp2:
            raise ValueError("FSDP of version 1 is not supported: launch with --fsdp_version 2")
        plugin = accelerator.state.fsdp_plugin
        reshard, offload = plugin.reshard_after_forward is not False, plugin.cpu_offload is not None
        return accelerator, FullySharded(accelerator.device, reshard, offload)
    if config.sharding == "fsdp" and distributed.world_size() > 1:
        return accelerator, FullySharded(accelerator.device)
    return accelerator, Replicated(accelerator.device)


def compile_blocks(model: nn.Module) -> None:
    """Compiles the repeated blocks in place; parameter names stay, and few graphs serve all layers."""
    kinds = [type(block) for block in blocks(model)]
    repeated = [block for block in blocks(model) if kinds.count(type(block)) > 1]
    for block in repeated or [model]:
        block.compile(dynamic=True)
