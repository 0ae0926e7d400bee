"""What the loop of an evaluation asks of a benchmark."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.data.dataset import Dataset
from instructseg.inference.predictor import BATCH_SIZE
from instructseg.model import InstructSeg
from instructseg.processing import InstructSegProcessor

Record = dict[str, Any]
"""What is known of a sample once it is done, as JSON can hold it: ``name``, what the metrics are made of, and
``score`` (0..1, higher is better) where the truth is known."""

Results = dict[str, dict[str, float]]
"""Row of the table, as in :data:`instructseg.benchmarks.report.PAPER` -> metric -> value, 0..1."""


@dataclass(frozen=True, eq=False)
class Runner:
    """The model under test.

    Attributes:
        model, processor: that belong together.
        folder: of the evaluation; predictions lie below it.
        batch_size: instructions read together.
    """

    model: InstructSeg
    processor: InstructSegProcessor
    folder: Path
    batch_size: int = BATCH_SIZE

    @property
    def predictions(self) -> Path:
        """The folder of the pictures that a video benchmark hands in."""
        return self.folder / "predictions"


class Benchmark(ABC):
    """A benchmark whose files are open. Its samples are counted from 0, in the order of the data set.

    Attributes:
        row: name of its results; that of the paper's table where there is one.
        dataset: that is measured.
        unit: what a :meth:`picture` is called, in the plural.
    """

    row: str
    dataset: Dataset
    unit = "pictures"

    @abstractmethod
    def __len__(self) -> int:
        """Samples: a line of the log each."""

    @abstractmethod
    def picture(self, index: int) -> str:
        """Names what sample ``index`` looks at; equal for samples that share visual features. Reads nothing."""

    @abstractmethod
    def run(self, runner: Runner, indices: Sequence[int]) -> Iterator[Record]:
        """Predicts and scores samples of the same :meth:`picture`.

        Yields:
            a record for each, in order.

        Raises:
            FileNotFoundError, ValueError: a file is missing or damaged.
        """

    @abstractmethod
    def results(self, records: Sequence[Record]) -> Results:
        """The metrics of samples that have a ``score``, at least one, in the order of the data set."""

    def hand_in(self, runner: Runner, records: Mapping[int, Record]) -> None:  # noqa: B027
        """Writes what the benchmark's server takes, from the records by sample; by default nothing."""

    @abstractmethod
    def show(self, runner: Runner, index: int, record: Record) -> np.ndarray:
        """What was predicted beside what is right, ``uint8[H, W, 3]`` RGB."""
