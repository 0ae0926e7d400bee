"""Our own layout from a folder, read as the official one is: a tensor at a time, nothing mapped twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from instructseg.convert.official import loaded_parts
from instructseg.convert.readers import open_weights
from instructseg.model import InstructSeg, InstructSegConfig
from instructseg.model.quantised import check_quantisation, quantise_model


def load_own(
    folder: str | Path, dtype: torch.dtype | str | None = None, quantise: str | None = None, **arguments: Any
) -> Any:
    """Loads a folder that ``save_pretrained`` wrote; one tensor beside the model is in memory.

    transformers keeps the whole file mapped while it copies, which counts as memory of the process: twice the
    size of the model.

    Args:
        folder: holds ``config.json`` and safetensors.
        dtype: of the model's values; ``None`` or ``"auto"`` for the one that the configuration names.
        quantise: ``int8`` or ``int4`` for the language model's blocks, layer by layer while they are read (a
            model with LoRA adapters is loaded first); ``None`` for what is stored.
        arguments: of ``from_pretrained``.

    Raises:
        ValueError: a file is damaged, there is no such quantisation, or the weights have another one.
    """
    config = InstructSegConfig.from_pretrained(folder)
    wanted = None if quantise is None else check_quantisation(quantise)
    if wanted is not None and config.quantise not in (None, wanted):
        raise ValueError(
            f"{folder} is stored as {config.quantise}, which cannot become {wanted}: load full weights"
        )
    if dtype in (None, "auto"):
        dtype = config.dtype or torch.float32
    used = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    assert isinstance(used, torch.dtype)
    reading = None if config.quantise or config.lora else wanted
    state = {
        part: value
        for name, tensor in open_weights(folder)
        for part, value in loaded_parts(name, tensor, used, reading)
    }
    config.quantise = config.quantise or reading
    loaded = InstructSeg.from_pretrained(None, config=config, state_dict=state, dtype=used, **arguments)
    model = loaded[0] if isinstance(loaded, tuple) else loaded  # with output_loading_info
    model.config._name_or_path = str(folder)
    if wanted and not model.config.quantise:
        quantise_model(model, wanted)
    return loaded
