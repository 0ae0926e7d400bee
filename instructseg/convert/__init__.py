"""Checkpoints in and out: ours, the published InstructSeg, Mask2Former and Mipha-3B."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from instructseg.convert.mask2former import load_mask2former
from instructseg.convert.mipha import assemble_training_start
from instructseg.convert.official import convert_official, export_official, load_official
from instructseg.deprecation import renamed_keyword
from instructseg.hub import HUB_OPTIONS, model_path
from instructseg.model import InstructSeg
from instructseg.model.config_file import FOREIGN_LAYOUTS, read_model_type
from instructseg.processing import InstructSegProcessor
from instructseg.processing.configuration import processor_config

__all__ = [
    "assemble_training_start",
    "convert_official",
    "export_official",
    "load_mask2former",
    "load_official",
    "load_pretrained",
]


@renamed_keyword("quantise", "quantize")
def load_pretrained(
    name_or_path: str | Path | None = None,
    dtype: torch.dtype | str | None = None,
    device_map: Any = None,
    **arguments: Any,
) -> InstructSeg:
    """Loads a model in our layout or in the official one, ready for inference.

    Its processor is loaded too where its files are there, as ``model.processor``, and saved with it.

    Args:
        name_or_path: ``None``, ``"nano"`` or ``"bundled"`` for the bundled model; a folder; or a repository on
            the hub such as ``weic22/InstructSeg``.
        dtype: of the model's values, as ``torch.bfloat16`` or ``"bfloat16"``; ``None`` for that of the file.
        device_map: where to, as in transformers: ``"cuda"``, ``"auto"`` ..
        arguments: any other argument of ``from_pretrained`` of transformers.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: it is damaged or does not fit; what is wrong is named.
    """
    hub = {name: arguments.pop(name) for name in HUB_OPTIONS if name in arguments}
    path = model_path(name_or_path, **hub)
    loaded = InstructSeg.from_pretrained(path, dtype=dtype or "auto", device_map=device_map, **arguments)
    model = loaded[0] if isinstance(loaded, tuple) else loaded  # with output_loading_info
    folder = path if path.is_dir() else path.parent
    official = read_model_type(folder)["model_type"] in FOREIGN_LAYOUTS  # which has no file for a processor
    with suppress(FileNotFoundError):  # the model alone is good for a use without text
        sizes = processor_config(model.config) if official else None
        model.processor = InstructSegProcessor.from_pretrained(folder, sizes)
    return loaded
