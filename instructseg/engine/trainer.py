"""Training loop.

Everything random about batch ``i`` (its samples, dropout, the points of the mask loss) is a function of the
seed and ``i``: the generators are seeded before each batch. No generator is saved, evaluation does not disturb
training, and a resumed run equals an uninterrupted one, on a CPU to the bit.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import nn

from instructseg.distributed import barrier, from_main, is_main, rank, world_size
from instructseg.engine.averaging import Ema, keep_start, mix_with_start
from instructseg.engine.checkpoint import (
    checkpoint_path,
    load_averages,
    load_state,
    restore,
    save_checkpoint,
    save_weights,
)
from instructseg.engine.disk import check_writable, clear_temporaries, explained
from instructseg.engine.metrics import Means, MetricsFile, Progress
from instructseg.engine.optim import build_optimizer, lr_factor, select_trainable, set_lr, train_mode
from instructseg.engine.parallel.launch import choose_parallel, compile_blocks
from instructseg.engine.parallel.tensors import fill_weights, whole
from instructseg.engine.settings import TrainConfig
from instructseg.engine.step import (
    Batch,
    BatchSource,
    LossScale,
    LossTerms,
    flushed_denormals,
    on_device,
    read_ahead,
    seed_everything,
    take_step,
    task_of,
)
from instructseg.engine.stopping import BestWatch, Interrupted, LossLevel, fail, stop_requests
from instructseg.engine.summary import count_memory, describe, estimate_activations, prepare_memory
from instructseg.engine.trackers import Write, open_trackers
from instructseg.files import write_json_atomic
from instructseg.structures import MaskTargets, ModelInputs

__all__ = ["FINAL", "Interrupted", "TrainConfig", "Trainer", "seed_everything"]

logger = logging.getLogger(__name__)

FINAL = "final"
"""Folder of the final weights of a stage."""
BEST = "best.json"
"""File that names the best checkpoint."""


Criterion = Callable[..., LossTerms]
Evaluate = Callable[[nn.Module], Mapping[str, float]]


class Trainer:
    """Trains ``model``; a run resumes from the latest checkpoint in ``output_dir``.

    Runs on one device or, under ``torchrun`` or ``accelerate launch``, on one per process: whole copies,
    FSDP2 or DeepSpeed (:mod:`~instructseg.engine.parallel`).

    Args:
        model: called as ``model(inputs, aux=True)``, returns a :class:`SegOutput`; with the initial weights.
        criterion: called as ``criterion(output, targets, inputs.labels)``; computes in float32. A
            :class:`~instructseg.engine.step.Counting` one, such as ``SegCriterion``, also gets the counts of
            the step, so that any split of the same samples into batches and processes learns the same; for
            another one, each batch weighs the same.
        loader: batches by index.
        output_dir: receives ``metrics.jsonl``, ``checkpoint-<step>/`` and ``final/``.
        evaluate: called on all processes with the model in evaluation mode and with averaged weights; the
            metrics of the first one go to ``metrics.jsonl``. With ``config.best`` it is called before the first
            step, too. It may have ``names``, of all its metrics.
        exported: part of ``model`` that ``final/`` holds; ``None`` for all of it.

    Raises:
        OSError: ``output_dir`` cannot be written.
        ValueError: ``optim`` names a part that does not exist, ``best`` is no metric of the evaluation, the
            launcher's settings do not fit, or the checkpoints are damaged or of another model.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        loader: BatchSource,
        config: TrainConfig,
        output_dir: str | Path,
        evaluate: Evaluate | None = None,
        exported: nn.Module | None = None,
    ) -> None:
        self.model, self.criterion, self.loader, self.evaluate = model, criterion, loader, evaluate
        self.exported = model if exported is None else exported
        self.config, self.output_dir = config, Path(output_dir)
        self.accelerator, self.parallel = choose_parallel(config)
        self.watch = BestWatch(config.best, config.best_mode, config.patience)
        self._check_best()
        select_trainable(model, config.optim)
        from_main(lambda: check_writable(self.output_dir))
        from_main(lambda: clear_temporaries(self.output_dir))
        # weights first: all that follows casts, shards or copies them
        checkpoint = restore(self.output_dir, model)
        if config.start_share:
            keep_start(model, self.output_dir, fresh=checkpoint is None)
        frozen = getattr(torch, config.frozen_dtype) if config.frozen_dtype else None
        prepare_memory(model, frozen, config.gradient_checkpointing, "train.gradient_checkpointing")
        self.memory = count_memory(model, config.ema_decay > 0, self.parallel.shards)
        if config.compile:
            compile_blocks(model)
        self.parallel.place(model)
        optimizer = build_optimizer(model, config.optim)
        self.ema = Ema(model, config.ema_decay)
        self.forward, self.optimizer = self.parallel.wrap(model, optimizer)
        self.levels = LossLevel(config.max_loss_ratio)
        self.scale = LossScale(config.precision == "float16" and self.parallel.scales)
        self.step, self.seconds, self.began = 0, 0.0, 0.0
        if checkpoint is not None:
            self._resume(*checkpoint)
        self.means = Means()
        self.metrics = MetricsFile(self.output_dir / "metrics.jsonl", self.step) if is_main() else None
        self.trackers: list[Write] = []
        train_mode(model)

    def train(self) -> nn.Module:
        """Trains to the limit, or until patience runs out, and writes ``final/``.

        Returns:
            The model, in evaluation mode, with the weights of ``final/``; its own shard of them if sharded.

        Raises:
            Interrupted: on Ctrl-C or SIGTERM, after the step is finished and a checkpoint is written.
            FloatingPointError: a loss or gradient is not finite, or a loss explodes; names the step and the
                samples. The last checkpoint stays.
            OSError: ``output_dir`` cannot be written, or its disk is full.
        """
        config, stopped = self.config, False
        trackers = config.trackers if is_main() else ()
        batches = self._batches()
        self.began = time.perf_counter() - self.seconds
        with (
            stop_requests() as stop,
            flushed_denormals(self.accelerator.device),
            Progress(config.max_steps, is_main()) as progress,
            open_trackers(trackers, self.output_dir, self.step, config.project) as self.trackers,
        ):
            # the initial weights compete for the best: a run never exports anything worse
            if self.step == 0 and config.best is not None and self.watch.step is None and self._evaluate():
                self._save()
            while not self.over:
                lr = self.train_step(batches)
                # clocks and signals differ between processes: all must stop at the same step
                self.seconds, stopped = self._agree(self.seconds, bool(stop))
                if self._due(config.log_every):
                    self._log({**self.means.take(), "lr": lr}, progress)
                # evaluated before saving: a new best is kept with its own checkpoint
                better = self._evaluate() if config.eval_every and self._due(config.eval_every) else False
                if stopped or better or self.over or self._due(config.save_every):
                    self._save()
                # after the last step, final/ is written first (below): the next stage starts from it
                if stopped and not self.over:
                    self._stop()
        trained = self._finish()
        if stopped:
            self._stop()
        return trained

    def train_step(self, batches: Iterator[tuple[int, Batch]]) -> float:
        """Runs one optimizer step on the next ``accumulate`` batches; returns its learning rate."""
        config, began = self.config, time.perf_counter()
        lr = config.optim.lr * lr_factor(config.optim, self.step, config.max_steps, self.share)
        set_lr(self.optimizer, lr)
        # all batches before the first forward: their counts are the divisors of the losses
        turns, counts = take_step(batches, config.accumulate, self.criterion)
        samples = sum(len(inputs) for _, (inputs, _) in turns) * world_size()
        while turns:
            index, (inputs, targets) = turns.popleft()  # one at a time: each is freed after its backward
            seed_everything(config.seed, index)
            losses = self._losses(inputs, targets, counts)
            self._add_losses(index, losses)
            # the last backward of a step triggers the exchange of gradients where weights are sharded
            self.parallel.backward(losses.total * (self.scale.scale / config.accumulate), not turns)
        norm = self.parallel.update(self.optimizer, config.optim.clip_norm, self.scale, self._check_gradient)
        self.step += 1
        self.ema.update(self.model, self.step)
        now = time.perf_counter()
        self.seconds = now - self.began
        self.means.add({"gradient_norm": norm, "samples_per_second": samples / (now - began)})
        return lr

    @property
    def share(self) -> float:
        """Share of the run that is done, 0..1, by steps or by time."""
        minutes = self.config.max_minutes
        return min(1.0, max(self.step / self.config.max_steps, self.seconds / 60 / minutes if minutes else 0.0))

    @property
    def over(self) -> bool:
        """Whether a limit is reached or patience has run out."""
        return self.share == 1 or self.watch.over

    def _check_best(self) -> None:
        """Refuses a ``best`` that no evaluation returns."""
        if self.config.best is not None and self.evaluate is None:
            raise ValueError(f"best '{self.config.best}': this run has no evaluation; name validation data")
        names = getattr(self.evaluate, "names", None)
        if names is not None:
            self.watch.check(names)

    def _resume(self, folder: Path, averages: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> None:
        """Restores everything of a checkpoint but the weights; older ones lack some entries."""
        self.ema.load(averages)
        self.parallel.read(folder, self.optimizer, state)
        self.step, self.seconds = state["step"], state.get("seconds", 0.0)
        self.watch.load(state.get("best", {}))
        self.levels.load(state.get("levels", {}))
        self.scale.load(state.get("scale", self.scale.state()))
        logger.info("resuming from %s", folder)

    def _stop(self) -> NoReturn:
        where = f"the same command with --resume resumes from {self.output_dir}"
        raise Interrupted(f"stopped after step {self.step}; {where}")

    def _due(self, every: int) -> bool:
        return self.share == 1 or (every > 0 and self.step % every == 0)

    def _indices(self, step: int) -> range:
        processes, mine = world_size(), rank()
        first = step * self.config.accumulate
        return range(first * processes + mine, (first + self.config.accumulate) * processes, processes)

    def _batches(self) -> Iterator[tuple[int, Batch]]:
        """Batches from here to the end; the size of the first one is used to log the expected memory."""
        every = range(
            self._indices(self.step).start, self._indices(self.config.max_steps).start, self._indices(0).step
        )
        made = read_ahead(self.loader, every, self.config.workers)
        pairs: Iterator[tuple[int, Batch]] = zip(every, made, strict=True)
        for index, batch in islice(pairs, 1):
            if is_main():
                half = self.config.precision != "float32"
                checkpointing = self.config.gradient_checkpointing
                activations = estimate_activations(self.model, batch[0], half, checkpointing)
                for line in describe(self.model, replace(self.memory, activations=activations)):
                    logger.info("%s", line)
            pairs = chain([(index, batch)], pairs)
        return iter(pairs)

    def _losses(
        self, inputs: ModelInputs, targets: list[MaskTargets], counts: torch.Tensor | None
    ) -> LossTerms:
        device = self.accelerator.device
        self.parallel.check(inputs)
        inputs = self.parallel.cast(inputs.to(device))
        with self._autocast() if self.parallel.autocasts else nullcontext():
            output = self.forward(inputs, aux=True)
        moved = [on_device(target, device) for target in targets]
        return self.criterion(output, moved, inputs.labels, *(() if counts is None else (counts,)))

    def _autocast(self) -> torch.autocast:
        """Runs the forward in the precision of the run, whatever that of each weight."""
        precision = self.config.precision
        kind, enabled = getattr(torch, precision), precision != "float32"
        return torch.autocast(self.accelerator.device.type, kind, enabled=enabled)

    def _add_losses(self, index: int, losses: LossTerms) -> None:
        """Adds the losses of a batch to the means, also by task; stops the run if the total exploded."""
        value, task = losses.total.item(), task_of(self.loader, index)
        if not np.isfinite(value):
            self._fail("loss", value, [index])
        limit = self.levels.limit(task)
        if limit is not None and abs(value) > limit:
            ratio = self.levels.ratio
            why = f", more than {ratio:g} times its running mean {limit / ratio:.4g}"
            self._fail("loss", value, [index], why)
        self.levels.add(task, value)
        named = {"loss": losses.total, **losses.parts}
        self.means.add(named)
        if task:
            self.means.add({f"{task}/{name}": value for name, value in named.items()})

    def _check_gradient(self, norm: torch.Tensor) -> None:
        if not torch.isfinite(norm):
            self._fail("gradient", norm.item(), self._indices(self.step))

    def _fail(self, what: str, value: float, indices: range | list[int], why: str = "") -> NoReturn:
        fail(self.output_dir, self.loader, self.step + 1, what, value, indices, why)

    def _agree(self, seconds: float, stop: bool) -> tuple[float, bool]:
        """Returns the largest time and stop request of all processes."""
        if world_size() == 1:
            return seconds, stop
        both = torch.tensor([seconds, stop], dtype=torch.float64, device=self.accelerator.device)
        torch.distributed.all_reduce(both, torch.distributed.ReduceOp.MAX)
        return both[0].item(), bool(both[1])

    def _log(self, values: dict[str, float], progress: Progress) -> None:
        if is_main():
            left = self.seconds / self.share - self.seconds
            self._write({**values, "minutes": self.seconds / 60, "minutes_left": left / 60})
            progress.show(self.step, {n: v for n, v in values.items() if "/" not in n}, self.share, left)

    def _write(self, values: Mapping[str, float]) -> None:
        assert self.metrics is not None  # only the first process writes
        self.metrics.write(self.step, values)
        for write in self.trackers:
            write(self.step, values)

    @torch.no_grad()
    def _evaluate(self) -> bool:
        """Evaluates the averaged weights; returns whether they are the best so far."""
        if self.evaluate is None:
            return False
        self.model.eval()
        with self.ema.applied(self.model), self._autocast():
            mine = dict(self.evaluate(self.model))
            values = from_main(lambda: mine)  # so that all decide alike
            self.parallel.settle(self.model)
        train_mode(self.model)
        if is_main():
            self._write({f"eval/{name}": value for name, value in values.items()})
        better = self.watch.see(self.step, values)
        if self.watch.metric is not None:
            shown = f"{self.watch.metric} {values[self.watch.metric]:.4f}"
            logger.info("step %d: %s%s", self.step, shown, ", the best so far" if better else "")
        if self.watch.over:
            logger.info("early stopping: no better %s for %d evaluations", self.watch.metric, self.watch.waited)
        return better

    def _save(self) -> None:
        state: dict[str, Any] = {"step": self.step, "seconds": self.seconds, "best": self.watch.state()}
        state |= {"levels": self.levels.state(), "scale": self.scale.state()}
        state["optimizer"] = self.parallel.optimizer_state(self.optimizer)
        weights = self.parallel.weights(self.model)
        averages = {name: whole(average) for name, average in self.ema.weights.items()}
        beside = self.parallel.write(self.output_dir / f"checkpoint-{self.step}")
        if is_main():
            keep, best = self.config.keep_checkpoints, self.watch.step
            save_checkpoint(self.output_dir, self.step, weights, averages, state, keep, best, beside)
            if best is not None:
                note = {**self.watch.state(), "checkpoint": f"checkpoint-{best}"}
                with explained(self.output_dir / BEST):
                    write_json_atomic(self.output_dir / BEST, note, indent=2)
        barrier()

    def _finish(self) -> nn.Module:
        """Writes the last or the best weights to ``final/``, mixed with their share of the initial ones."""
        if self.watch.step is not None:
            metric, first, value = self.watch.metric, self.watch.first, self.watch.value
            logger.info(
                "best: step %d, %s %.4f (first evaluation: %.4f)", self.watch.step, metric, value, first
            )
        best = checkpoint_path(self.output_dir, self.watch.step) if self.config.final == "best" else None
        if best is not None:
            fill_weights(self.model, load_state(best))
            self.ema.load(load_averages(best))
        self.ema.exchange(self.model)
        if self.config.start_share:
            mix_with_start(self.model, self.output_dir, self.config.start_share)
        weights = self.parallel.weights(self.exported)
        if is_main():
            save_weights(weights, self.output_dir / FINAL)
        barrier()
        return self.model.eval()
