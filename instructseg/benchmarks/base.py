"""Interface of a benchmark used by the evaluation loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.data.dataset import Dataset
from instructseg.inference.encoder import BATCH_SIZE
from instructseg.model import InstructSeg
from instructseg.processing import InstructSegProcessor

ScoreRecord = dict[str, Any]
"""JSON record of one sample: ``name``, the inputs of the metrics, and ``score`` (0..1, higher is better) where
the ground truth is public."""

ResultTable = dict[str, dict[str, float]]
"""Row of the table, as in :func:`instructseg.data.catalog.paper_figures` -> metric -> value, 0..1."""


@dataclass(frozen=True, eq=False)
class Runner:
    """Model under evaluation.

    Attributes:
        model, processor: a matching pair.
        folder: of the evaluation; predictions are stored below it.
    """

    model: InstructSeg
    processor: InstructSegProcessor
    folder: Path
    batch_size: int = BATCH_SIZE

    @property
    def predictions(self) -> Path:
        """The folder of the masks that a video benchmark submits."""
        return self.folder / "predictions"


class Benchmark(ABC):
    """A benchmark with open files; samples are numbered from 0, in the order of the data set.

    Attributes:
        row: name of its results; that of the paper's table where there is one.
        unit: name of what :meth:`image_key` identifies, in the plural.
    """

    row: str
    dataset: Dataset
    unit = "images"

    def __len__(self) -> int:
        """Number of samples: one line of the log each."""
        return len(self.dataset)

    def image_key(self, index: int) -> str:
        """Identifies the image or video of a sample; equal for samples that share features. Reads nothing."""
        return self.dataset.image_key(index)

    @abstractmethod
    def run(self, runner: Runner, indices: Sequence[int]) -> Iterator[ScoreRecord]:
        """Predicts and scores samples with the same :meth:`image_key`.

        Yields:
            one record per sample, in order.

        Raises:
            FileNotFoundError, ValueError: a file is missing or damaged.
        """

    @abstractmethod
    def results(self, records: Sequence[ScoreRecord]) -> ResultTable:
        """The metrics of samples that have a ``score``, at least one, in the order of the data set."""

    def submit(self, runner: Runner, records: Mapping[int, ScoreRecord]) -> None:  # noqa: B027
        """Writes the submission for the benchmark's server, from records by sample; by default nothing."""

    @abstractmethod
    def show(self, runner: Runner, index: int, record: ScoreRecord) -> np.ndarray:
        """Prediction beside ground truth, ``uint8[H, W, 3]`` RGB."""
