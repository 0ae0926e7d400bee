"""Training checkpoints that are whole or absent.

::

    <output_dir>/checkpoint-<step>/model.safetensors   all weights, as the optimiser left them
                                   ema.safetensors     averages of the weights that learn; may be empty
                                   state.pt            step, seconds, optimiser
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
    model: nn.Module,
    averages: Mapping[str, torch.Tensor],
    state: Mapping[str, Any],
    keep: int,
) -> Path:
    """Writes ``checkpoint-<step>`` and deletes all but the last ``keep``.

    Args:
        output_dir: folder of the run.
        step: steps done.
        model: its weights are saved.
        averages: see :class:`~instructseg.engine.ema.Ema`.
        state: tensors and plain values, as ``torch.load(weights_only=True)`` reads back.
        keep: checkpoints to leave, at least 1.

    Returns:
        The folder.
    """
    target = output_dir / f"checkpoint-{step}"
    with _new_folder(target) as folder:
        save_model(model, str(folder / WEIGHTS))
        save_file(dict(averages), folder / _AVERAGES)
        torch.save(dict(state), folder / _STATE)
    for old in _checkpoints(output_dir)[:-keep]:
        _remove(old)
    return target


def load_checkpoint(folder: Path, model: nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Puts the weights in ``model``; returns the averages and the state that were saved with them."""
    load_weights(model, folder)
    state = torch.load(folder / _STATE, map_location="cpu", weights_only=True)
    return load_file(folder / _AVERAGES), state


def latest(output_dir: Path) -> Path | None:
    """The checkpoint with the most steps, or ``None``; a half-written one is not seen."""
    found = _checkpoints(output_dir)
    return found[-1] if found else None


def save_weights(model: nn.Module, folder: Path) -> None:
    """Writes ``folder/model.safetensors``, replacing the folder as a whole."""
    with _new_folder(folder) as new:
        save_model(model, str(new / WEIGHTS))


def load_weights(model: nn.Module, folder: Path) -> None:
    """Fills every tensor of ``model`` from ``folder/model.safetensors``.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when the file has other tensors than the model.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    missing, unexpected = load_model(model, str(path), strict=False)
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
