"""Training checkpoints that are whole or absent.

::

    <output_dir>/checkpoint-<step>/model.safetensors   all weights after the last step
                                   ema.safetensors     averages of the trained weights; may be empty
                                   state.pt            step, seconds, optimizer, loss scale, best so far
    <output_dir>/best.json                             best checkpoint by the chosen metric
    <output_dir>/start/model.safetensors               initial weights, with train.start_share
    <output_dir>/final/model.safetensors               exported weights: the averages

A folder is written under a ``.tmp-`` name and renamed, and renamed back before it is deleted. A damaged one is
skipped for the one before it, and renamed to ``damaged-checkpoint-<step>``.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import nn

from instructseg.distributed import from_main
from instructseg.engine.disk import clear_temporaries, explained, new_folder, remove_folder
from instructseg.engine.state import read_state

logger = logging.getLogger(__name__)

WEIGHTS = "model.safetensors"
_AVERAGES = "ema.safetensors"
_STATE = "state.pt"
_NAME = re.compile(r"checkpoint-(\d{1,18})")


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
        model: its weights are saved; or the weights themselves, by name.
        state: tensors and plain values, as ``torch.load(weights_only=True)`` reads back.
        keep: checkpoints to leave, at least 1.
        best: step of the best one, which is kept too.
        beside: folder ``.<name>`` to move into the checkpoint as ``<name>``.

    Returns:
        The folder.

    Raises:
        OSError: the disk is full or cannot be written; nothing is left of this checkpoint.
    """
    target = output_dir / f"checkpoint-{step}"
    if beside is None:  # else it would be deleted too
        clear_temporaries(output_dir)
    with new_folder(target) as folder:
        _write_weights(model, folder)
        save_file(dict(averages), folder / _AVERAGES)
        _write_state(state, folder / _STATE)
        if beside is not None:
            beside.rename(folder / beside.name.lstrip("."))
    for old in _checkpoints(output_dir)[:-keep]:
        if old != checkpoint_path(output_dir, best):
            with explained(old):
                remove_folder(old)
    return target


def checkpoint_path(output_dir: Path, step: int | None) -> Path | None:
    """The folder of a step's checkpoint, which need not exist; ``None`` for no step."""
    return None if step is None else output_dir / f"checkpoint-{step}"


def restore(output_dir: Path, model: nn.Module) -> tuple[Path, dict[str, torch.Tensor], dict[str, Any]] | None:
    """Loads the latest readable checkpoint into ``model``; every process must call it.

    Damaged ones after it are logged and renamed, so that they are neither tried nor counted again.

    Returns:
        Its folder, its averages and its state; ``None`` where there is no checkpoint.

    Raises:
        ValueError: no checkpoint can be read; states the reason for the latest.
    """
    loaded: list[tuple[dict[str, torch.Tensor], dict[str, Any]]] = []

    def choose() -> Path | None:
        failures: list[tuple[Path, Exception]] = []
        for folder in reversed(_checkpoints(output_dir)):
            try:
                loaded.append(load_checkpoint(folder, model))
            except (ValueError, FileNotFoundError) as error:
                failures.append((folder, error))
                continue
            for damaged, reason in failures:
                _set_aside(damaged, reason, folder)
            return folder
        if not failures:
            return None
        reason = failures[0][1]
        others = " (nor can those before it)" if len(failures) > 1 else ""
        raise ValueError(
            f"cannot resume: {reason}{others}; choose another output_dir to start a new run"
        ) from reason

    folder = from_main(choose)
    if folder is None:
        return None
    averages, state = loaded[0] if loaded else load_checkpoint(folder, model)
    return folder, averages, state


def _set_aside(damaged: Path, reason: Exception, instead: Path) -> None:
    aside = damaged.with_name(f"damaged-{damaged.name}")
    shutil.rmtree(aside, ignore_errors=True)
    damaged.rename(aside)
    logger.warning("%s; resuming from %s instead (the other is now %s)", reason, instead.name, aside.name)


def load_checkpoint(folder: Path, model: nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Loads a checkpoint into ``model``; returns its averages and its state.

    Raises:
        FileNotFoundError: a file of it is missing.
        ValueError: it is damaged, or of another model.
    """
    state = read_state(folder / _STATE)
    averages = load_averages(folder)
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    for name, average in averages.items():
        if shapes.get(name) != tuple(average.shape) or not average.is_floating_point():
            raise ValueError(f"{folder / _AVERAGES} is of another model: '{name}' does not fit")
    load_weights(model, folder)
    return averages, state


def latest(output_dir: Path) -> Path | None:
    """Returns the checkpoint with the most steps, or ``None``; half-written ones are ignored."""
    found = _checkpoints(output_dir)
    return found[-1] if found else None


def load_state(folder: Path) -> dict[str, torch.Tensor]:
    """Reads all weights of ``folder/model.safetensors`` by name; shared ones under one of their names.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged.
    """
    return _read_tensors(folder / WEIGHTS)


def load_averages(folder: Path) -> dict[str, torch.Tensor]:
    """Reads the averaged weights of a checkpoint by name, or none; raises as :func:`load_state`."""
    return _read_tensors(folder / _AVERAGES)


def save_weights(model: nn.Module | Mapping[str, torch.Tensor], folder: Path) -> None:
    """Writes ``folder/model.safetensors``, replacing the folder as a whole."""
    with new_folder(folder) as new:
        _write_weights(model, new)


def _write_weights(model: nn.Module | Mapping[str, torch.Tensor], folder: Path) -> None:
    if isinstance(model, nn.Module):
        save_model(model, str(folder / WEIGHTS))
    else:
        save_file(dict(model), folder / WEIGHTS)


def _write_state(state: Mapping[str, Any], path: Path) -> None:
    try:
        torch.save(dict(state), path)
    except RuntimeError as error:  # torch's writer hides errno
        full = shutil.disk_usage(path.parent).free < 1 << 20
        raise OSError("No space left" if full else "torch could not write the optimizer state") from error


def load_weights(model: nn.Module, folder: Path) -> None:
    """Fills every tensor of ``model`` from ``folder/model.safetensors``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged or has other tensors than the model.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    _check_kinds(path, model)
    try:
        missing, unexpected = load_model(model, str(path), strict=False)
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ValueError(f"{path} is of another model: {reason}") from error
    if missing or unexpected:
        raise ValueError(
            f"{path} is of another model: lacks {sorted(missing)[:3]}, has {sorted(unexpected)[:3]} too many"
        )


def _check_kinds(path: Path, model: nn.Module) -> None:
    """Refuses integer tensors for float parameters: a damaged header, which would load silently."""
    fractions = {name for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    try:
        with safe_open(str(path), "pt") as file:
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error
    for name, kind in kinds.items():
        if name in fractions and not kind.startswith(("F", "BF")):
            raise ValueError(f"{path} is damaged: '{name}' is of type {kind}")


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path} is damaged or cut short ({' '.join(str(error).split())[:200]})")


def _checkpoints(output_dir: Path) -> list[Path]:
    found = [
        (int(match[1]), path)
        for path in output_dir.glob("checkpoint-*")
        if (match := _NAME.fullmatch(path.name)) and path.is_dir()
    ]
    return [path for _, path in sorted(found)]
