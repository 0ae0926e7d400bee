"""Trainable parts, optimizer, and learning-rate schedule.

A *part* is named by the start of its parameters' names up to a dot (``backbone``,
``decoder.layers.0``) or by a shell pattern over the whole name (``*.lora_*``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
from torch import nn

from instructseg.engine.muon import SMALLEST_SIDE, MuonAdamW


@dataclass(frozen=True)
class OptimConfig:
    """Optimizer and learning-rate schedule.

    Attributes:
        method: ``adamw``, as released; ``muon``, with Muon for the matrices (see ``engine.muon``), needs fewer
            samples to train a small model from random weights.
        lr: learning rate after warm-up, before ``lr_scale``.
        weight_decay: decoupled decay; norms, biases and embeddings have none.
        betas: decay rates of the two moments.
        warmup_ratio: share of ``max_steps`` for linear warm-up.
        warmup_steps: warm-up in steps; overrides the ratio.
        schedule: after warm-up; ``cosine`` falls to ``min_lr_ratio`` at the end of the run.
        min_lr_ratio: last learning rate of the cosine as a share of ``lr``, 0..1.
        clip_norm: largest norm of the whole gradient; 0 does not clip.
        lr_scale: part -> factor of ``lr``; the longest matching name applies.
        trainable: trained parts; ``None`` keeps the choice of the model.
        frozen: frozen parts, even inside ``trainable`` ones. A wholly frozen module also stays in
            evaluation mode, without dropout and drop path.
    """

    method: Literal["adamw", "muon"] = "adamw"
    lr: float = 1e-4
    weight_decay: float = 0.02
    betas: tuple[float, float] = (0.9, 0.99)
    warmup_ratio: float = 0.0
    warmup_steps: int | None = None
    schedule: Literal["cosine", "constant"] = "cosine"
    min_lr_ratio: float = 0.0
    clip_norm: float = 1.0
    lr_scale: dict[str, float] = field(default_factory=dict)
    trainable: tuple[str, ...] | None = None
    frozen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise ValueError(f"lr must be positive, got {self.lr}")
        if not 0 <= self.warmup_ratio < 1 or (self.warmup_steps or 0) < 0:
            raise ValueError("warmup_ratio must be in [0, 1) and warmup_steps at least 0")
        if not 0 <= self.min_lr_ratio <= 1:
            raise ValueError(f"min_lr_ratio must be in [0, 1], got {self.min_lr_ratio}")
        if self.weight_decay < 0 or self.clip_norm < 0:
            raise ValueError("weight_decay and clip_norm must not be negative")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be in [0, 1), got {self.betas}")
        for part, factor in self.lr_scale.items():
            if factor < 0:
                raise ValueError(f"lr_scale must not be negative, got {factor} for '{part}'")


def select_trainable(model: nn.Module, config: OptimConfig) -> None:
    """Sets ``requires_grad`` from ``trainable`` and ``frozen``.

    Raises:
        ValueError: a part names no parameter, or nothing is left to train.
    """
    names = [name for name, _ in model.named_parameters()]
    for key, parts in (
        ("trainable", config.trainable or ()),
        ("frozen", config.frozen),
        ("lr_scale", config.lr_scale),
    ):
        _check_parts(key, parts, names)
    for name, parameter in model.named_parameters():
        if config.trainable is not None:
            parameter.requires_grad_(any(_fits(part, name) for part in config.trainable))
        if any(_fits(part, name) for part in config.frozen):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError("no parameter is left to train: check trainable and frozen")


def train_mode(model: nn.Module) -> None:
    """Sets training mode, but evaluation mode for wholly frozen modules."""
    model.train()
    waiting = [model]
    while waiting:
        module = waiting.pop()
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()
        else:
            waiting.extend(module.children())


def build_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """Builds the optimizer of the trainable parameters, fused if PyTorch can.

    Each group also has ``lr_scale`` and the ``names`` of its parameters.
    """
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    linear = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear)}
    groups: dict[tuple[float, float, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        decays = parameter.ndim > 1 and id(parameter) not in embeddings
        fitting = [part for part in config.lr_scale if _fits(part, name)]
        is_matrix = id(parameter) in linear and min(parameter.shape) >= SMALLEST_SIDE
        key = (
            config.lr_scale[max(fitting, key=len)] if fitting else 1.0,
            config.weight_decay if decays else 0.0,
            config.method == "muon" and is_matrix,
        )
        empty: dict[str, Any] = {"params": [], "names": [], "lr_scale": key[0], "weight_decay": key[1]}
        if config.method == "muon":
            empty["muon"] = key[2]
        group = groups.setdefault(key, empty)
        group["params"].append(parameter)
        group["names"].append(name)
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in model.parameters())
    if config.method == "muon":
        return MuonAdamW(list(groups.values()), config.lr, config.betas, fused)
    return torch.optim.AdamW(list(groups.values()), lr=config.lr, betas=config.betas, fused=fused)


def restore_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Restores the moments of ``saved``, a ``state_dict``; rates and decay stay as configured.

    Raises:
        ValueError: ``saved`` belongs to other parameters.
    """
    now = optimizer.state_dict()["param_groups"]
    if [group["names"] for group in now] != [group.get("names") for group in saved["param_groups"]]:
        raise ValueError(
            "the checkpoint trained other parameters: restore trainable, frozen and lr_scale, or train anew"
        )
    _check_moments(optimizer, saved["state"])
    optimizer.load_state_dict({"state": saved["state"], "param_groups": now})


def _check_moments(optimizer: torch.optim.Optimizer, moments: Mapping[Any, Mapping[str, Any]]) -> None:
    """Raises ``ValueError`` unless each moment is a scalar or has the shape of its parameter."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for key, entry in moments.items():
        place = parameters[key] if 0 <= key < len(parameters) else None
        for name, value in entry.items():
            single = not torch.is_tensor(value) or value.ndim == 0
            if place is None or not (single or value.shape == place.shape):
                raise ValueError(
                    f"the checkpoint's optimizer is damaged: '{name}' of parameter {key} does not fit"
                )


def lr_factor(config: OptimConfig, step: int, max_steps: int, progress: float | None = None) -> float:
    """Learning rate of a step as a share of ``lr``, 0..1.

    Args:
        step: steps done before this one.
        progress: share of the run that is done, 0..1, if time can end it before ``max_steps``; ``None`` for
            ``step / max_steps``.
    """
    warmup = round(config.warmup_ratio * max_steps) if config.warmup_steps is None else config.warmup_steps
    if step < warmup:
        return (step + 1) / warmup
    if config.schedule == "constant":
        return 1.0
    start = warmup / max_steps
    over = ((step / max_steps if progress is None else progress) - start) / max(1 - start, 1e-9)
    cosine = 0.5 * (1 + math.cos(math.pi * min(max(over, 0.0), 1.0)))
    return config.min_lr_ratio + (1 - config.min_lr_ratio) * cosine


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Sets the learning rate of every group to ``lr`` times its ``lr_scale``."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


def _fits(part: str, name: str) -> bool:
    return name == part or name.startswith(part + ".") or fnmatchcase(name, part)


def _check_parts(key: str, parts: Iterable[str], names: list[str]) -> None:
    for part in parts:
        if any(_fits(part, name) for name in names):
            continue
        prefixes = {
            name[:end] for name in names for end in range(1, len(name) + 1) if name[end : end + 1] in (".", "")
        }
        close = get_close_matches(part, sorted(prefixes), n=1, cutoff=0.0)
        raise ValueError(f"{key}: no parameter starts with '{part}'; the closest part is '{close[0]}'")
