"""Training loop, optimizer, checkpoints and metrics, on any model, criterion and batches."""

from instructseg.engine.checkpoint import latest, load_weights
from instructseg.engine.optim import OptimConfig
from instructseg.engine.parallel.launch import join_processes, leave_processes
from instructseg.engine.settings import TrainConfig
from instructseg.engine.step import BatchSource
from instructseg.engine.stopping import Interrupted, Validation
from instructseg.engine.trainer import Trainer

__all__ = [
    "BatchSource",
    "Interrupted",
    "OptimConfig",
    "TrainConfig",
    "Trainer",
    "Validation",
    "join_processes",
    "latest",
    "leave_processes",
    "load_weights",
]
