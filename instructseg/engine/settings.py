"""Settings of the training loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from instructseg.engine.optim import OptimConfig

Precision = Literal["float32", "bfloat16", "float16"]
"""Types of the forward."""


@dataclass(frozen=True)
class TrainConfig:
    """Settings of the training loop.

    Attributes:
        max_steps: optimizer steps of the run.
        max_minutes: limit of time, over all resumed parts; the schedule then follows
            whichever limit is nearer, so it always ends annealed. ``None`` for no limit of time; with one,
            two runs are no longer equal to the bit.
        accumulate: batches per optimizer step and process.
        precision: of the forward; the half ones are autocast, trained weights stay float32. ``float16``
            scales the loss (see :class:`~instructseg.engine.step.LossScale`).
        frozen_dtype: type in which frozen weights are kept, to save memory; a half one must be
            ``precision``. ``None`` leaves them.
        gradient_checkpointing: recomputes the blocks in the backward to save memory.
        compile: compiles the blocks with ``torch.compile``.
        sharding: ``fsdp`` shards weights, gradients and optimizer over the processes (FSDP2);
            ``accelerate launch`` with FSDP or DeepSpeed does so too.
        ema_decay: decay of the averaged weights, which are evaluated and exported; 0 for none.
        seed: of everything random but the data.
        workers: processes that prepare batches; 0 prepares them in the loop.
        log_every: steps between lines of ``metrics.jsonl``.
        eval_every: steps between evaluations, also done at the end; 0 for none.
        save_every: steps between checkpoints, also written at the end; 0 for none between.
        keep_checkpoints: how many to keep, the latest ones.
        best: metric of the evaluation whose best checkpoint is kept too; ``None`` for none.
        best_mode: whether the largest or the smallest value is best.
        patience: evaluations without improvement before early stopping; 0 for no early stopping.
        final: exported weights, the ``last`` or the ``best`` ones.
        start_share: interpolates initial and final weights (WiSE-FT, arXiv 2109.01903, section 3): share of the
            initial ones, 0..1, exclusive of 1. Evaluations during training use the trained weights alone.
        max_loss_ratio: loss of a batch that stops the run, as a multiple of the running mean of its task; 0 for
            no limit.
        trackers: further destinations of the metrics; each needs its own package.
        project: name of the project on Weights & Biases.
        optim: optimizer and schedule.
    """

    max_steps: int = 1000
    max_minutes: float | None = None
    accumulate: int = 1
    precision: Precision = "float32"
    frozen_dtype: Precision | None = None
    gradient_checkpointing: bool = False
    compile: bool = False
    sharding: Literal["none", "fsdp"] = "none"
    ema_decay: float = 0.998
    seed: int = 0
    workers: int = 0
    log_every: int = 20
    eval_every: int = 0
    save_every: int = 500
    keep_checkpoints: int = 2
    best: str | None = None
    best_mode: Literal["max", "min"] = "max"
    patience: int = 0
    final: Literal["last", "best"] = "last"
    start_share: float = 0.0
    max_loss_ratio: float = 1000.0
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ()
    project: str = "instructseg"
    optim: OptimConfig = field(default_factory=OptimConfig)

    def __post_init__(self) -> None:
        for name, most in (("max_steps", 10**9), ("accumulate", 10**5), ("workers", 1024)):
            if getattr(self, name) > most:
                raise ValueError(f"{name} must be at most {most:,}, got {getattr(self, name):,}")
        for name in ("max_steps", "accumulate", "log_every", "keep_checkpoints"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("workers", "eval_every", "save_every", "seed", "patience", "max_loss_ratio"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.max_minutes is not None and self.max_minutes <= 0:
            raise ValueError(f"max_minutes must be positive, got {self.max_minutes}")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must be in [0, 1), got {self.ema_decay}")
        if not 0 <= self.start_share < 1:
            raise ValueError(f"start_share must be in [0, 1), got {self.start_share}")
        if self.frozen_dtype not in (None, "float32", self.precision):
            raise ValueError(f"frozen_dtype {self.frozen_dtype} needs precision {self.frozen_dtype}")
        if self.best is None and (self.patience or self.final == "best"):
            raise ValueError("patience and final 'best' need the name of a metric in best")
        if self.best is not None and not self.eval_every:
            raise ValueError(f"best '{self.best}' needs evaluations: set eval_every")
