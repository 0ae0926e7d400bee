"""A model and its processor, from a name."""

from __future__ import annotations

import time
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from instructseg import hub
from instructseg.deprecation import renamed_keyword
from instructseg.hub import BUNDLED, DEFAULT_MODEL, PUBLISHED, is_bundled
from instructseg.inference.out_of_memory import free_memory, gib, is_out_of_memory, out_of_memory_error
from instructseg.inference.weights import weights_advice
from instructseg.model import InstructSeg, InstructSegConfig
from instructseg.model.config_file import FOREIGN_LAYOUTS, read_config, read_model_type, stored_dtype
from instructseg.processing import InstructSegProcessor
from instructseg.processing.configuration import processor_config
from instructseg.processing.storage import local_folder

__all__ = [
    "BUNDLED",
    "DEFAULT_MODEL",
    "PUBLISHED",
    "is_bundled",
    "load",
    "processor_config",
    "read_model_config",
]

CPU_GAIN = 2.0
"""How much faster a layer in bfloat16 must be on a CPU for it to be chosen: the whole model gains less."""

_HALF = (torch.float16, torch.bfloat16)
_WIDEST = 16384
"""The widest layer that is timed."""


@renamed_keyword("quantise", "quantize")
def load(
    name_or_path: str | Path | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
    quantize: str | None = None,
) -> tuple[InstructSeg, InstructSegProcessor]:
    """Loads a model, ready for inference, with the processor that fits it.

    Args:
        name_or_path: a folder or a repository of the hub, in our layout or the official one; ``None``,
            ``"nano"`` or ``"bundled"`` for the bundled model.
        device: ``"cuda:1"``, ``"cpu"`` ..; ``None`` or ``"auto"`` for an accelerator where there is one.
        dtype: of the weights, as ``torch.bfloat16`` or ``"bfloat16"``; ``"auto"`` for the fastest of the
            device (:func:`fastest_dtype`); ``None`` for float32, but bfloat16 on a GPU where the checkpoint
            is stored in half precision.
        quantize: ``"int8"`` or ``"int4"`` for the language model's blocks, while they are read; ``None`` for
            what is stored (see :mod:`instructseg.model.quantized`).

    Raises:
        FileNotFoundError: there is no checkpoint, or a file of it is missing.
        ValueError: it is damaged or something else, or there is no such device, dtype or quantization.
        torch.cuda.OutOfMemoryError: the weights do not fit.
    """
    target = choose_device(device)
    automatic = dtype == "auto"
    if isinstance(dtype, str):
        dtype = None if automatic else choose_dtype(dtype)
    source = hub.DEFAULT_MODEL if is_bundled(name_or_path) else name_or_path
    assert source is not None
    folder = local_folder(source)
    given = read_model_type(folder)
    stored = stored_dtype(given, f"{folder / 'config.json'}: ")
    if automatic:
        dtype = fastest_dtype(target, _width(given))
    if dtype is None:
        dtype = torch.bfloat16 if target.type == "cuda" and stored in _HALF else torch.float32
    # what is small first: a folder without a processor is refused before its weights are read
    foreign = given["model_type"] in FOREIGN_LAYOUTS
    processor = None if foreign else InstructSegProcessor.from_pretrained(folder)
    # a repository's weights are downloaded by the model; its text files are in `folder` by now
    try:
        model = _load_model(source, dtype, quantize)
        model.to(target)  # type: ignore[arg-type]  # transformers wraps Module.to
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise _too_large(error, source, dtype, quantize, target) from error
    if processor is None:  # the official layout has no file for it: the model's sizes, the released words
        processor = InstructSegProcessor.from_pretrained(folder, processor_config(model.config))
    _check_pair(source, model, processor)
    model.processor = processor  # saved with it
    return model.eval(), processor


def _width(given: dict[str, Any]) -> int:
    """Width of the language model by a ``config.json`` of any layout; the published one by default."""
    for values in (given.get("text_config"), given):
        width = values.get("hidden_size") if isinstance(values, dict) else None
        if isinstance(width, int) and 0 < width <= _WIDEST:
            return width
    return 2560


def _check_pair(source: str | Path, model: InstructSeg, processor: InstructSegProcessor) -> None:
    """Makes sure that a processor is that of the model.

    Raises:
        ValueError: one of its sizes is another; both numbers are named.
    """
    words, rows = len(processor.tokenizer), model.language.word_table().num_embeddings
    if words > rows:
        raise ValueError(
            f"{source}: its tokenizer has {words} tokens, but its model {rows}: give the one of that model"
        )
    found, wanted = processor.config, processor_config(model.config)
    for name in ("image_size", "clip_size", "num_image_tokens", "num_temporal_queries", "num_mask_queries"):
        said, needed = getattr(found, name), getattr(wanted, name)
        if said != needed:
            raise ValueError(
                f"{source}: {name} is {said} in processor_config.json, but {needed} by config.json: "
                "they are of different models"
            )
    if found.max_length > wanted.max_length:
        raise ValueError(
            f"{source}: max_length is {found.max_length} in processor_config.json, but the language model "
            f"takes {wanted.max_length} positions"
        )


def read_model_config(name_or_path: str | Path | None = None) -> InstructSegConfig:
    """The configuration of a model that :func:`load` takes by that name, whatever its layout.

    Raises:
        FileNotFoundError, ValueError: as :func:`load`.
    """
    folder = local_folder(name_or_path)
    kind = read_model_type(folder)["model_type"]
    if kind not in FOREIGN_LAYOUTS:
        return read_config(folder)
    # its sizes are those of the tensors; the converter is named, not imported, as in the model
    converter = import_module(FOREIGN_LAYOUTS[kind].partition(":")[0])
    return converter.open_official(hub.model_path(name_or_path)).config


def _too_large(
    error: BaseException, source: str | Path, dtype: torch.dtype, quantize: str | None, device: torch.device
) -> torch.cuda.OutOfMemoryError:
    """The error where the weights do not fit: how large they are, and what would fit."""
    config = read_model_config(source)
    asked, fits = weights_advice(config, dtype, quantize or config.quantize, free_memory(device))
    return out_of_memory_error(error, f"loading {gib(asked)} of weights", fits, device)


def choose_device(name: torch.device | str | None = None) -> torch.device:
    """The device of that name; for ``None`` and ``"auto"`` a GPU where there is one.

    Raises:
        ValueError: torch does not know it or cannot reach it.
    """
    if name in (None, "auto"):
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    assert name is not None
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device '{name}' cannot be used ({reason}): try cpu or auto") from error
    if device.type == "meta":
        raise ValueError(f"device '{name}' cannot be used (it holds no values): try cpu or auto")
    return device


def choose_dtype(name: str) -> torch.dtype:
    """The floating-point type of that name, as in torch.

    Raises:
        ValueError: there is none.
    """
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in known:
        raise ValueError(f"unknown dtype '{name}': use {', '.join(known)} or auto")
    return known[name]


def fastest_dtype(device: torch.device, width: int = 2560) -> torch.dtype:
    """The floating-point type that a device computes fastest with, accuracy of bfloat16 being enough.

    bfloat16 on a GPU that has it, else float16 there. On a CPU bfloat16 only where the processor has
    instructions for it and a layer of the model's width, timed here, is faster by :data:`CPU_GAIN`.

    Args:
        device: where.
        width: of the language model.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type != "cpu" or not _native_bfloat16():
        return torch.float32
    gain = _layer_seconds(torch.float32, width) / _layer_seconds(torch.bfloat16, width)
    return torch.bfloat16 if gain >= CPU_GAIN else torch.float32


def _native_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself, as far as torch tells."""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, check)() for check in checks if hasattr(torch.cpu, check))


@torch.inference_mode()
def _layer_seconds(dtype: torch.dtype, width: int) -> float:
    """Time of half a feed-forward layer on 256 tokens, the best of five."""
    tokens, weights = torch.ones(256, width, dtype=dtype), torch.ones(4 * width, width, dtype=dtype)
    functional = torch.nn.functional
    times = []
    for _ in range(5):
        start = time.perf_counter()
        functional.gelu(functional.linear(functional.layer_norm(tokens, (width,)), weights))
        times.append(time.perf_counter() - start)
    return min(times)


def _load_model(name: str | Path, dtype: torch.dtype, quantize: str | None) -> InstructSeg:
    """The model alone; its reader proves it complete."""
    try:
        return InstructSeg.from_pretrained(name, dtype=dtype, quantize=quantize)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"the weights of {name} are damaged or do not fit its config.json: {reason}"
        ) from error
