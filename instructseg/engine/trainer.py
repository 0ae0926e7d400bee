"""The training loop.

Everything random about batch ``i`` (its samples, dropout, the points of the mask loss) is a function of
the seed and ``i``: the generators are seeded before each batch. So no generator is saved, evaluation does
not disturb training, and a resumed run equals one that never stopped, on a CPU to the bit.
"""

from __future__ import annotations

import logging
import math
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import nn

from instructseg.engine.checkpoint import latest, load_checkpoint, save_checkpoint, save_weights
from instructseg.engine.ema import Ema
from instructseg.engine.metrics import Means, MetricsFile, Progress
from instructseg.engine.optim import (
    OptimConfig,
    build_optimizer,
    lr_factor,
    restore_optimizer,
    select_trainable,
    set_lr,
    train_mode,
)
from instructseg.engine.source import Batch, BatchSource, read_ahead
from instructseg.structures import MaskTargets, ModelInputs, SegOutput

logger = logging.getLogger(__name__)

FINAL = "final"
"""Folder of a finished run's averaged weights, in its output folder."""


@dataclass(frozen=True)
class TrainConfig:
    """How long to train, and what to keep of it.

    Attributes:
        max_steps: optimiser steps; the run ends there.
        max_minutes: the run ends here too, over all its resumptions; the schedule then follows
            whichever limit is nearer, so it always ends annealed. ``None`` for no limit of time; with one,
            two runs are no longer equal to the bit.
        accumulate: batches per optimiser step and process.
        precision: of the forward; ``bfloat16`` is autocast, weights stay as they are.
        ema_decay: decay of the averaged weights, which are evaluated and exported; 0 for none.
        seed: of everything random but the data.
        workers: processes that prepare batches; 0 prepares them in the loop.
        log_every: steps between lines of ``metrics.jsonl``.
        eval_every: steps between evaluations, also done at the end; 0 for none.
        save_every: steps between checkpoints, also written at the end; 0 for none between.
        keep_checkpoints: how many to keep.
        optim: optimiser and schedule.
    """

    max_steps: int = 1000
    max_minutes: float | None = None
    accumulate: int = 1
    precision: Literal["float32", "bfloat16"] = "float32"
    ema_decay: float = 0.998
    seed: int = 0
    workers: int = 0
    log_every: int = 20
    eval_every: int = 0
    save_every: int = 500
    keep_checkpoints: int = 2
    optim: OptimConfig = field(default_factory=OptimConfig)

    def __post_init__(self) -> None:
        for name in ("max_steps", "accumulate", "log_every", "keep_checkpoints"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("workers", "eval_every", "save_every", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.max_minutes is not None and self.max_minutes <= 0:
            raise ValueError(f"max_minutes must be positive, got {self.max_minutes}")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must be in [0, 1), got {self.ema_decay}")


class Losses(Protocol):
    """What a criterion returns: ``total``, the scalar to minimise, and its named ``parts``."""

    @property
    def total(self) -> torch.Tensor: ...  # noqa: D102

    @property
    def parts(self) -> Mapping[str, torch.Tensor]: ...  # noqa: D102


Criterion = Callable[[SegOutput, list[MaskTargets], torch.Tensor | None], Losses]
Evaluate = Callable[[nn.Module], Mapping[str, float]]


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop, and did after writing a checkpoint; the message says how to go on."""


class Trainer:
    """Trains ``model``; every run in the same ``output_dir`` goes on where the last one stopped.

    Runs on one device or, under ``torchrun`` or ``accelerate launch``, on one per process.

    Args:
        model: called as ``model(inputs, aux=True)``, returns a :class:`SegOutput`.
        criterion: called as ``criterion(output, targets, inputs.labels)``; computes in float32.
        loader: the batches, by index.
        config: see :class:`TrainConfig`.
        output_dir: receives ``metrics.jsonl``, ``checkpoint-<step>/`` and ``final/``.
        evaluate: called on all processes with the model in evaluation mode and with averaged weights;
            the numbers it returns go to ``metrics.jsonl``.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        loader: BatchSource,
        config: TrainConfig,
        output_dir: str | Path,
        evaluate: Evaluate | None = None,
    ) -> None:
        from accelerate import Accelerator, DistributedDataParallelKwargs, DistributedType

        # a batch of one task need not use every part of the model
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)
        self.accelerator = Accelerator(mixed_precision="no", kwargs_handlers=[unused])
        if self.accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED):
            raise ValueError("weights are not sharded here: launch with plain data parallelism")
        self.model, self.criterion, self.loader, self.evaluate = model, criterion, loader, evaluate
        self.config, self.output_dir = config, Path(output_dir)
        self.step = 0
        self.seconds = 0.0
        select_trainable(model, config.optim)

    def train(self) -> nn.Module:
        """Trains to the limit and writes ``final/``.

        Returns:
            The model, in evaluation mode, with its averaged weights.

        Raises:
            Interrupted: on Ctrl-C or SIGTERM, after the step is finished and a checkpoint is written.
            FloatingPointError: when a loss or the gradient is not finite; names the step and the samples.
        """
        config, accelerator = self.config, self.accelerator
        model = self._start()
        batches = self._batches()
        clock = time.perf_counter() - self.seconds
        with (
            _stop_requests() as stop,
            _flushed_denormals(accelerator.device),
            Progress(config.max_steps, accelerator.is_main_process) as progress,
        ):
            while self.share < 1:
                began, samples = time.perf_counter(), 0
                lr = config.optim.lr * lr_factor(config.optim, self.step, config.max_steps, self.share)
                set_lr(self.optimizer, lr)
                for turn, (index, (inputs, targets)) in enumerate(islice(batches, config.accumulate), start=1):
                    seed_everything(config.seed, index)
                    with accelerator.no_sync(model) if turn < config.accumulate else nullcontext():
                        losses = self._losses(model, inputs, targets)
                        self._check_finite("loss", losses.total, [index])
                        (losses.total / config.accumulate).backward()
                    self.means.add({"loss": losses.total, **losses.parts})
                    samples += inputs.input_ids.shape[0] * accelerator.num_processes
                norm = nn.utils.clip_grad_norm_(self.model.parameters(), config.optim.clip_norm or math.inf)
                self._check_finite("gradient", norm, self._indices(self.step))
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
                self.step += 1
                self.ema.update(self.model, self.step)

                now = time.perf_counter()
                self.seconds, stopped = self._agree(now - clock, bool(stop))
                self.means.add({"gradient_norm": norm, "samples_per_second": samples / (now - began)})
                if self._due(config.log_every):
                    self._log({**self.means.take(), "lr": lr}, progress)
                if config.eval_every and self._due(config.eval_every):
                    self._evaluate()
                if stopped or self._due(config.save_every):
                    self._save()
                if stopped:
                    where = f"the same command goes on from {self.output_dir}"
                    raise Interrupted(f"stopped after step {self.step}; {where}")
        return self._finish()

    @property
    def share(self) -> float:
        """How much of the run is over, 0..1, by whichever limit is nearer."""
        minutes = self.config.max_minutes
        return min(1.0, max(self.step / self.config.max_steps, self.seconds / 60 / minutes if minutes else 0.0))

    def _start(self) -> nn.Module:
        """Builds or restores the state; returns the model as it is to be called."""
        model = self.accelerator.prepare(self.model)
        self.optimizer = build_optimizer(self.model, self.config.optim)
        self.ema = Ema(self.model, self.config.ema_decay)
        self.means = Means()
        folder = latest(self.output_dir)
        if folder is not None:
            averages, state = load_checkpoint(folder, self.model)
            self.ema.load(averages)
            restore_optimizer(self.optimizer, state["optimizer"])
            self.step, self.seconds = state["step"], state["seconds"]
            logger.info("going on from %s", folder)
        if self.accelerator.is_main_process:
            self.metrics = MetricsFile(self.output_dir / "metrics.jsonl", self.step)
        train_mode(model)
        return model

    def _due(self, every: int) -> bool:
        return self.share == 1 or (every > 0 and self.step % every == 0)

    def _indices(self, step: int) -> range:
        processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        first = step * self.config.accumulate
        return range(first * processes + rank, (first + self.config.accumulate) * processes, processes)

    def _batches(self) -> Iterator[tuple[int, Batch]]:
        every = range(
            self._indices(self.step).start, self._indices(self.config.max_steps).start, self._indices(0).step
        )
        return zip(every, read_ahead(self.loader, every, self.config.workers), strict=True)

    def _losses(self, model: nn.Module, inputs: ModelInputs, targets: list[MaskTargets]) -> Losses:
        device = self.accelerator.device
        inputs = inputs.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            output = model(inputs, aux=True)
        return self.criterion(output, [_move(target, device) for target in targets], inputs.labels)

    def _check_finite(self, what: str, value: torch.Tensor, indices: range | list[int]) -> None:
        if not torch.isfinite(value):
            names = ", ".join(name for index in indices for name in self.loader.names(index))
            raise FloatingPointError(f"{what} is {value.item()} at step {self.step + 1}; samples: {names}")

    def _agree(self, seconds: float, stop: bool) -> tuple[float, bool]:
        """Clocks and signals differ between processes; the largest counts, so that all stop at one step."""
        if self.accelerator.num_processes == 1:
            return seconds, stop
        both = torch.tensor([seconds, stop], dtype=torch.float64, device=self.accelerator.device)
        torch.distributed.all_reduce(both, torch.distributed.ReduceOp.MAX)
        return both[0].item(), bool(both[1])

    def _log(self, values: dict[str, float], progress: Progress) -> None:
        if self.accelerator.is_main_process:
            self.metrics.write(self.step, {**values, "minutes": self.seconds / 60})
            progress.show(self.step, values, self.share, self.seconds / self.share - self.seconds)

    @torch.no_grad()
    def _evaluate(self) -> None:
        if self.evaluate is None:
            return
        self.model.eval()
        with self.ema.applied(self.model):
            values = {f"eval/{name}": value for name, value in self.evaluate(self.model).items()}
        train_mode(self.model)
        if self.accelerator.is_main_process:
            self.metrics.write(self.step, values)

    def _save(self) -> None:
        if self.accelerator.is_main_process:
            state = {"step": self.step, "seconds": self.seconds, "optimizer": self.optimizer.state_dict()}
            keep = self.config.keep_checkpoints
            save_checkpoint(self.output_dir, self.step, self.model, self.ema.weights, state, keep)
        self.accelerator.wait_for_everyone()

    def _finish(self) -> nn.Module:
        self.ema.exchange(self.model)
        if self.accelerator.is_main_process:
            save_weights(self.model, self.output_dir / FINAL)
        self.accelerator.wait_for_everyone()
        return self.model.eval()


def seed_everything(seed: int, index: int) -> None:
    """Seeds ``random``, NumPy and PyTorch from both numbers, each at least 0."""
    mixed = int(np.random.SeedSequence((seed, index)).generate_state(1)[0])
    random.seed(mixed)
    np.random.seed(mixed)  # noqa: NPY002  (data and third-party code may use the global generator)
    torch.manual_seed(mixed)


@contextmanager
def _flushed_denormals(device: torch.device) -> Iterator[None]:
    """Vanishing moments of AdamW would slow the steps down on a CPU; other code must not notice."""
    torch.set_flush_denormal(device.type == "cpu")
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """Collects the first Ctrl-C or SIGTERM in a list instead of dying of it; the second one kills."""
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, before[number])
        logger.warning("finishing the step and writing a checkpoint; once more to stop at once")

    # only the main thread may set handlers
    main = threading.current_thread() is threading.main_thread()
    numbers: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM) if main else ()
    before: dict[int, Any] = {number: signal.signal(number, note) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _move(target: MaskTargets, device: torch.device) -> MaskTargets:
    tensors = {name: getattr(target, name) for name in ("masks", "is_answer", "ignore")}
    return replace(
        target, **{name: tensor.to(device) for name, tensor in tensors.items() if tensor is not None}
    )
