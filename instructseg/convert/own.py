"""Our own layout from a folder, read as the official one is: a tensor at a time, nothing mapped twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from instructseg.convert.official import kept_type
from instructseg.convert.readers import open_weights
from instructseg.model import InstructSeg, InstructSegConfig


def load_own(folder: str | Path, dtype: torch.dtype | str | None = None, **arguments: Any) -> Any:
    """Loads a folder that ``save_pretrained`` wrote; one tensor beside the model is in memory.

    transformers keeps the whole file mapped while it copies, which counts as memory of the process: twice the
    size of the model.

    Args:
        folder: holds ``config.json`` and safetensors.
        dtype: of the model's values; ``None`` or ``"auto"`` for the one that the configuration names.
        arguments: of ``from_pretrained``.

    Raises:
        ValueError: a file is damaged.
    """
    config = InstructSegConfig.from_pretrained(folder)
    if dtype in (None, "auto"):
        dtype = config.dtype or torch.float32
    used = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    assert isinstance(used, torch.dtype)
    state = {name: tensor.to(kept_type(name, used), copy=True) for name, tensor in open_weights(folder)}
    loaded = InstructSeg.from_pretrained(None, config=config, state_dict=state, dtype=used, **arguments)
    model = loaded[0] if isinstance(loaded, tuple) else loaded  # with output_loading_info
    model.config._name_or_path = str(folder)
    return loaded
