"""Optional trackers: TensorBoard and Weights & Biases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol


class Tracker(Protocol):
    """Takes numbers by name."""

    def write(self, step: int, values: Mapping[str, float]) -> None: ...  # noqa: D102

    def close(self) -> None: ...  # noqa: D102


class TensorBoard:
    """Event files in ``<folder>/tensorboard``; on resumption, steps after the checkpoint are removed.

    Args:
        folder: of the run.
        step: steps done.

    Raises:
        ValueError: the package ``tensorboard`` is missing.
    """

    def __init__(self, folder: Path, step: int) -> None:
        _need("tensorboard", "tensorboard")
        writer = import_module("torch.utils.tensorboard").SummaryWriter
        self._writer = writer(str(folder / "tensorboard"), purge_step=step + 1 if step else None)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a point to each curve."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flushes and closes."""
        self._writer.close()


class WeightsAndBiases:
    """A run on Weights & Biases; its files are in ``<folder>/wandb``, and a resumed run continues there.

    Args:
        folder: of the run; its path names the run.
        project: receives the run.

    Raises:
        ValueError: the package ``wandb`` is missing.
    """

    def __init__(self, folder: Path, project: str) -> None:
        wandb: Any = _need("wandb", "wandb")
        name = "-".join(folder.parts[-2:]).strip("/") or project
        file = folder / "wandb_id"
        id = file.read_text() if file.is_file() else wandb.util.generate_id()
        file.write_text(id)
        self._run = wandb.init(project=project, name=name, id=id, resume="allow", dir=str(folder))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a point to each curve."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Ends the run."""
        self._run.finish()


@contextmanager
def open_trackers(names: Sequence[str], folder: Path, step: int, project: str) -> Iterator[list[Tracker]]:
    """Opens the named trackers; they are closed at the end of the block.

    Raises:
        ValueError: a package is missing; says which.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made: dict[str, Any] = {
        "tensorboard": lambda: TensorBoard(folder, step),
        "wandb": lambda: WeightsAndBiases(folder, project),
    }
    with ExitStack() as stack:
        opened = []
        for name in names:
            tracker = made[name]()
            stack.callback(tracker.close)
            opened.append(tracker)
        yield opened


def _need(module: str, package: str) -> ModuleType:
    try:
        return import_module(module)
    except ImportError as error:
        raise ValueError(
            f"trackers: '{module}' needs an extra package: pip install {package}, or leave it out"
        ) from error
