"""Training runs: from a configuration to a trainer, and from its weights to an exported model.

Read downwards: ``run`` (config file to stages), ``stage`` (a stage to its trainer), ``initial_model`` (weights
and processor), ``mixture_samples`` (batches), ``validation``, then :mod:`instructseg.engine` (steps).
"""

from instructseg.training.initial_model import build_model, new_processor
from instructseg.training.run import MODEL_FOLDER, OFFICIAL_FOLDER, export, train, train_run
from instructseg.training.stage import SampleBatches, SampleSource, build_trainer, joint_trainer, worded

__all__ = [
    "MODEL_FOLDER",
    "OFFICIAL_FOLDER",
    "SampleBatches",
    "SampleSource",
    "build_model",
    "build_trainer",
    "export",
    "joint_trainer",
    "new_processor",
    "train",
    "train_run",
    "worded",
]
