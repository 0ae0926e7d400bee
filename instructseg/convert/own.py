"""Checked loading of this package's layout, one tensor at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from instructseg.convert.readers import Weights, open_weights
from instructseg.convert.safetensors_file import check_types
from instructseg.model import InstructSeg, InstructSegConfig
from instructseg.model.config_file import built_on_meta, read_config
from instructseg.model.quantized import check_quantization, is_quantized, quantize_model, quantized_tensors

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from instructseg.model.stored import LoadOptions


def load_own(
    folder: Path,
    dtype: torch.dtype | str | None = None,
    quantize: str | None = None,
    device_map: Any = None,
    **options: Unpack[LoadOptions],
) -> Any:
    """Loads a folder that ``save_pretrained`` wrote, with one tensor beside the model in memory.

    transformers keeps the whole file mapped while it copies, which counts as memory of the process: twice the
    size of the model. Names, shapes and types are compared with the configuration before a value is read.

    Args:
        dtype: of the model's values; ``None`` or ``"auto"`` for the one that the configuration names.
        quantize: ``int8`` or ``int4`` for the language model's blocks, layer by layer while they are read (a
            model with LoRA adapters is loaded first); ``None`` for what is stored.
        options: of ``from_pretrained`` of transformers.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged or does not fit, or there is no such quantization or another one.
    """
    config = read_config(folder)
    wanted = None if quantize is None else check_quantization(quantize)
    if wanted is not None and config.quantize not in (None, wanted):
        raise ValueError(
            f"{folder} is stored as {config.quantize}, which cannot become {wanted}: load full weights"
        )
    if dtype in (None, "auto"):
        dtype = config.dtype or torch.float32
    used = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    assert isinstance(used, torch.dtype)
    reading = None if config.quantize or config.lora else wanted
    weights = open_own(folder, config)
    state = {
        part: value for name, tensor in weights for part, value in loaded_parts(name, tensor, used, reading)
    }
    config.quantize = config.quantize or reading
    loaded = InstructSeg.from_pretrained(
        None, config=config, state_dict=state, dtype=used, device_map=device_map, **options
    )
    model = loaded[0] if isinstance(loaded, tuple) else loaded  # with output_loading_info
    model.config._name_or_path = str(folder)
    if wanted and not model.config.quantize:
        quantize_model(model, wanted)
    return loaded


def open_own(folder: Path, config: InstructSegConfig) -> Weights:
    """Lists the tensors of a folder, proven to be those of the model.

    Raises:
        FileNotFoundError, ValueError: weights are missing, damaged, or not those of the configuration.
    """
    weights = open_weights(folder)
    check_fit(weights, built_on_meta(config, str(folder)), folder, config.dtype)
    return weights


def check_fit(weights: Weights, model: Mapping[str, torch.Tensor], folder: Path, named: Any = None) -> None:
    """Compares names, shapes and types of a checkpoint with those of a model.

    Args:
        model: the model's state; values are not needed.
        named: the type that its ``config.json`` names.

    Raises:
        ValueError: they differ; how many tensors do, and one of them.
    """
    shapes = weights.shapes
    other = sorted(name for name in shapes.keys() & model.keys() if shapes[name] != tuple(model[name].shape))
    if other:
        key = other[0]
        raise ValueError(
            f"the weights of {folder} do not fit its config.json: {len(other)} tensors of other sizes, such as "
            f"{key}: {list(shapes[key])} in the file, {list(model[key].shape)} by the configuration"
        )
    unplaced = sorted(shapes.keys() - model.keys())
    there = {id(model[name]) for name in shapes.keys() & model.keys()}  # tied tensors are stored once
    missing = sorted(name for name in model.keys() - shapes.keys() if id(model[name]) not in there)
    if unplaced:
        raise ValueError(
            f"the weights of {folder} hold {len(unplaced)} tensors that its config.json has no place for, "
            f"such as {unplaced[0]}"
        )
    if missing:
        raise ValueError(f"the weights of {folder} lack {len(missing)} tensors, such as {missing[0]}")
    types = {name: model[name].dtype for name in shapes}
    check_types(f"the weights of {folder}", weights.entries, types, named)


def loaded_parts(
    name: str, tensor: torch.Tensor, dtype: torch.dtype, quantize: str | None
) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors of a model of ``dtype`` made from our tensor ``name``; copies, so that no file stays mapped."""
    if quantize is not None and is_quantized(name):
        yield from quantized_tensors(name, tensor, quantize).items()
        return
    kept = kept_type(name, dtype) if tensor.is_floating_point() else tensor.dtype
    yield name, tensor.to(kept, copy=True, memory_format=torch.contiguous_format)


def kept_type(name: str, dtype: torch.dtype) -> torch.dtype:
    """The type of our tensor ``name`` in a model of ``dtype``: some parts stay in float32."""
    kept = any(name.startswith(f"{module}.") for module in InstructSeg._keep_in_fp32_modules_strict)
    return torch.float32 if kept else dtype
