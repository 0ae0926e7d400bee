"""Checkpoints in and out: ours, the published InstructSeg, Mask2Former and Mipha-3B."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from instructseg.convert.mask2former import load_mask2former
from instructseg.convert.mipha import assemble_training_start
from instructseg.convert.official import convert_official, export_official, load_official
from instructseg.model import InstructSeg

__all__ = [
    "assemble_training_start",
    "convert_official",
    "export_official",
    "load_mask2former",
    "load_official",
    "load_pretrained",
]


def load_pretrained(
    name_or_path: str | Path,
    dtype: torch.dtype | str | None = None,
    device_map: Any = None,
    **arguments: Any,
) -> InstructSeg:
    """Loads a model in our layout or in the official one, ready for inference.

    Args:
        name_or_path: a folder, or a repository on the hub such as ``weic22/InstructSeg``.
        dtype: of the model's values, as ``torch.bfloat16`` or ``"bfloat16"``; ``None`` for that of the file.
        device_map: where to, as in transformers: ``"cuda"``, ``"auto"`` ..
        arguments: any other argument of ``from_pretrained`` of transformers.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: it is damaged or does not fit; what is wrong is named.
    """
    path = Path(name_or_path)
    if not path.exists() and (path.is_absolute() or len(path.parts) != 2):
        raise FileNotFoundError(f"{path} does not exist, and is not a repository's name (owner/name)")
    if path.is_dir() and not (path / "config.json").is_file():
        raise FileNotFoundError(f"{path} is no checkpoint: it has no config.json")
    return InstructSeg.from_pretrained(
        str(name_or_path), dtype=dtype or "auto", device_map=device_map, **arguments
    )
