"""Training checkpoints that are whole or absent.

::

    <output_dir>/checkpoint-<step>/model.safetensors   all weights, as the optimiser left them
                                   ema.safetensors     averages of the weights that learn; may be empty
                                   state.pt            step, seconds, optimiser, loss scale, best so far
    <output_dir>/best.json                             which checkpoint is the best by the chosen number
    <output_dir>/start/model.safetensors               what it began with, where train.start_share needs it
    <output_dir>/final/model.safetensors               what a finished run hands on: averaged weights

A folder is written under a ``.tmp-`` name and renamed, and renamed back before it is deleted.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import nn

WEIGHTS = "model.safetensors"
_AVERAGES = "ema.safetensors"
_STATE = "state.pt"
_NAME = re.compile(r"checkpoint-(\d+)")


def save_checkpoint(
    output_dir: Path,
    step: int,
    model: nn.Module | Mapping[str, torch.Tensor],
    averages: Mapping[str, torch.Tensor],
    state: Mapping[str, Any],
    keep: int,
    best: int | None = None,
    beside: Path | None = None,
) -> Path:
    """Writes ``checkpoint-<step>`` and deletes all but the last ``keep`` and the best.

    Args:
        output_dir: folder of the run.
        step: steps done.
        model: its weights are saved; or the weights themselves, by name.
        averages: see :class:`~instructseg.engine.ema.Ema`.
        state: tensors and plain values, as ``torch.load(weights_only=True)`` reads back.
        keep: checkpoints to leave, at least 1.
        best: step of one that is left too.
        beside: a folder ``.<name>`` that is moved into the checkpoint as ``<name>``.

    Returns:
        The folder.
    """
    target = output_dir / f"checkpoint-{step}"
    for left in output_dir.glob(".tmp-*checkpoint-*"):  # of a process killed while it wrote or deleted
        shutil.rmtree(left, ignore_errors=True)
    with _new_folder(target) as folder:
        _write_weights(model, folder)
        save_file(dict(averages), folder / _AVERAGES)
        torch.save(dict(state), folder / _STATE)
        if beside is not None:
            beside.rename(folder / beside.name.lstrip("."))
    for old in _checkpoints(output_dir)[:-keep]:
        if old != checkpoint_path(output_dir, best):
            _remove(old)
    return target


def checkpoint_path(output_dir: Path, step: int | None) -> Path | None:
    """The folder of a step's checkpoint, which need not exist; ``None`` for no step."""
    return None if step is None else output_dir / f"checkpoint-{step}"


def load_checkpoint(folder: Path, model: nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Puts the weights in ``model``; returns the averages and the state that were saved with them."""
    load_weights(model, folder)
    state = torch.load(folder / _STATE, map_location="cpu", weights_only=True)
    return load_averages(folder), state


def latest(output_dir: Path) -> Path | None:
    """The checkpoint with the most steps, or ``None``; a half-written one is not seen."""
    found = _checkpoints(output_dir)
    return found[-1] if found else None


def load_state(folder: Path) -> dict[str, torch.Tensor]:
    """All weights in ``folder/model.safetensors``, by name; shared ones under one of their names."""
    return load_file(folder / WEIGHTS)


def load_averages(folder: Path) -> dict[str, torch.Tensor]:
    """The averaged weights of a checkpoint, by name; empty where none were kept."""
    return load_file(folder / _AVERAGES)


def save_weights(model: nn.Module | Mapping[str, torch.Tensor], folder: Path) -> None:
    """Writes ``folder/model.safetensors``, replacing the folder as a whole."""
    with _new_folder(folder) as new:
        _write_weights(model, new)


def _write_weights(model: nn.Module | Mapping[str, torch.Tensor], folder: Path) -> None:
    if isinstance(model, nn.Module):
        save_model(model, str(folder / WEIGHTS))
    else:
        save_file(dict(model), folder / WEIGHTS)


def load_weights(model: nn.Module, folder: Path) -> None:
    """Fills every tensor of ``model`` from ``folder/model.safetensors``.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when the file has other tensors than the model.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    try:
        missing, unexpected = load_model(model, str(path), strict=False)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ValueError(f"{path} is of another model: {reason}") from error
    if missing or unexpected:
        raise ValueError(
            f"{path} is of another model: lacks {sorted(missing)[:3]}, has {sorted(unexpected)[:3]} too many"
        )


def _checkpoints(output_dir: Path) -> list[Path]:
    found = [
        (int(match[1]), path)
        for path in output_dir.glob("checkpoint-*")
        if (match := _NAME.fullmatch(path.name))
    ]
    return [path for _, path in sorted(found)]


@contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    temporary = target.with_name(f".tmp-{target.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    yield temporary
    if target.exists():
        _remove(target)
    temporary.rename(target)


def _remove(folder: Path) -> None:
    hidden = folder.with_name(f".tmp-old-{folder.name}")
    shutil.rmtree(hidden, ignore_errors=True)
    folder.rename(hidden)
    shutil.rmtree(hidden)
