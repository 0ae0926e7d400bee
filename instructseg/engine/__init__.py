"""Training: the loop, its optimiser, checkpoints and metrics. It is handed model, criterion and batches."""

from instructseg.engine.checkpoint import latest, load_weights
from instructseg.engine.launch import join_processes
from instructseg.engine.optim import OptimConfig
from instructseg.engine.settings import TrainConfig
from instructseg.engine.signals import Interrupted
from instructseg.engine.source import BatchSource
from instructseg.engine.stages import run_stages
from instructseg.engine.trainer import Trainer

__all__ = [
    "BatchSource",
    "Interrupted",
    "OptimConfig",
    "TrainConfig",
    "Trainer",
    "join_processes",
    "latest",
    "load_weights",
    "run_stages",
]
