"""Optional trackers: TensorBoard and Weights & Biases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType

Write = Callable[[int, Mapping[str, float]], None]
"""Adds a point to each curve: takes the step, and numbers by name."""


@contextmanager
def open_trackers(names: Sequence[str], folder: Path, step: int, project: str) -> Iterator[list[Write]]:
    """Opens the named trackers; they are closed at the end of the block.

    Args:
        names: ``tensorboard``, with event files in ``<folder>/tensorboard``, and ``wandb``, a run on Weights &
            Biases that a resumed run continues; its files are in ``<folder>/wandb``.
        folder: of the run; its path names the run.
        step: steps done; later ones of an interrupted run are removed from the curves.

    Raises:
        ValueError: a package is missing; says which.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        openers = {
            "tensorboard": lambda: _tensorboard(stack, folder, step),
            "wandb": lambda: _wandb(stack, folder, project),
        }
        yield [openers[name]() for name in names]


def _tensorboard(stack: ExitStack, folder: Path, done: int) -> Write:
    _need("tensorboard")
    opener = import_module("torch.utils.tensorboard").SummaryWriter
    writer = opener(str(folder / "tensorboard"), purge_step=done + 1 if done else None)
    stack.callback(writer.close)

    def write(step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    return write


def _wandb(stack: ExitStack, folder: Path, project: str) -> Write:
    wandb = _need("wandb")
    name = "-".join(folder.parts[-2:]).strip("/") or project
    file = folder / "wandb_id"
    id = file.read_text() if file.is_file() else wandb.util.generate_id()
    file.write_text(id)
    run = wandb.init(project=project, name=name, id=id, resume="allow", dir=str(folder))
    stack.callback(run.finish)
    return lambda step, values: run.log(dict(values), step=step)


def _need(package: str) -> ModuleType:
    try:
        return import_module(package)
    except ImportError as error:
        why = f"'{package}' needs an extra package: pip install {package}, or leave it out"
        raise ValueError(f"trackers: {why}") from error
