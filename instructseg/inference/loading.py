"""A model and its processor, from a name."""

from __future__ import annotations

import json
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from instructseg.inference.faults import free_memory, gib, is_out_of_memory, out_of_memory
from instructseg.inference.weights import weights_advice
from instructseg.model import InstructSeg, InstructSegConfig
from instructseg.model.instructseg import FOREIGN_LAYOUTS
from instructseg.model.language import KINDS
from instructseg.processing import InstructSegProcessor, ProcessorConfig
from instructseg.processing.processor import CONFIG_NAME
from instructseg.processing.storage import local_folder

BUNDLED = "nano"
_BUNDLED_NAMES = (None, BUNDLED, "bundled")
"""Name of the model that lies in the package."""
DEFAULT_MODEL = Path(__file__).parents[1] / "weights" / BUNDLED
"""Its folder."""
PUBLISHED = "weic22/InstructSeg"
"""The published weights, a repository of the Hugging Face hub."""

CPU_GAIN = 2.0
"""How much faster a layer in bfloat16 must be on a CPU for it to be chosen: the whole model gains less."""

_HALF = ("float16", "bfloat16")


def load(
    name_or_path: str | Path | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
    quantise: str | None = None,
) -> tuple[InstructSeg, InstructSegProcessor]:
    """Loads a model, ready for inference, with the processor that fits it.

    Args:
        name_or_path: a folder or a repository of the hub, in our layout or the official one; ``None``,
            ``"nano"`` or ``"bundled"`` for the bundled model.
        device: ``"cuda:1"``, ``"cpu"`` ..; ``None`` or ``"auto"`` for an accelerator where there is one.
        dtype: of the weights, as ``torch.bfloat16`` or ``"bfloat16"``; ``"auto"`` for the fastest of the
            device (:func:`fastest_dtype`); ``None`` for float32, but bfloat16 on a GPU where the checkpoint
            is stored in half precision.
        quantise: ``"int8"`` or ``"int4"`` for the language model's blocks, while they are read; ``None`` for
            what is stored (see :mod:`instructseg.model.quantised`).

    Raises:
        FileNotFoundError: there is no checkpoint, or a file of it is missing.
        ValueError: it is damaged or something else, or there is no such device, dtype or quantisation.
        torch.cuda.OutOfMemoryError: the weights do not fit.
    """
    source = DEFAULT_MODEL if is_bundled(name_or_path) else name_or_path
    assert source is not None
    target = choose_device(device)
    automatic = dtype == "auto"
    if isinstance(dtype, str):
        dtype = None if automatic else choose_dtype(dtype)
    folder = local_folder(source)
    given = _read_config(folder)
    if automatic:
        dtype = fastest_dtype(target, (given.get("text_config") or given).get("hidden_size", 2560))
    if dtype is None:
        stored = str(given.get("dtype") or given.get("torch_dtype")).removeprefix("torch.")
        dtype = torch.bfloat16 if target.type == "cuda" and stored in _HALF else torch.float32
    # a repository's weights are downloaded by the model; its text files are in `folder` by now
    name = str(folder if Path(source).is_dir() else source)
    try:
        model = _load_model(name, dtype, given.get("model_type") in FOREIGN_LAYOUTS, quantise)
        model.to(target)  # type: ignore[arg-type]  # transformers wraps Module.to
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise _too_large(error, source, dtype, quantise, target) from error
    sizes = None if (folder / CONFIG_NAME).is_file() else processor_config(model.config)
    processor = InstructSegProcessor.from_pretrained(folder, sizes)
    words, rows = len(processor.tokenizer), model.language.word_table().num_embeddings
    if words > rows:
        raise ValueError(
            f"{source}: its tokenizer has {words} tokens, but its model {rows}: give the one of that model"
        )
    return model.eval(), processor


def is_bundled(name_or_path: str | Path | None) -> bool:
    """Whether that name is one of the bundled model's."""
    return name_or_path in _BUNDLED_NAMES


def read_model_config(name_or_path: str | Path | None = None) -> InstructSegConfig:
    """The configuration of a model that :func:`load` takes by that name, whatever its layout.

    Raises:
        FileNotFoundError, ValueError: as :func:`load`.
    """
    source = DEFAULT_MODEL if is_bundled(name_or_path) else name_or_path
    assert source is not None
    folder = local_folder(source)
    kind = _read_config(folder)["model_type"]
    if kind not in FOREIGN_LAYOUTS:
        return InstructSegConfig.from_pretrained(folder)
    # its sizes are those of the tensors; the converter is named, not imported, as in the model
    converter = import_module(FOREIGN_LAYOUTS[kind].partition(":")[0])
    return converter.open_official(converter.local_folder(source)).config


def _too_large(
    error: BaseException, source: str | Path, dtype: torch.dtype, quantise: str | None, device: torch.device
) -> torch.cuda.OutOfMemoryError:
    """The error where the weights do not fit: how large they are, and what would fit."""
    config = read_model_config(source)
    asked, fits = weights_advice(config, dtype, quantise or config.quantise, free_memory(device))
    return out_of_memory(error, f"loading {gib(asked)} of weights", fits, device)


def processor_config(config: InstructSegConfig, **words: Any) -> ProcessorConfig:
    """The sizes that a model needs; ``words`` are other fields of :class:`ProcessorConfig`."""
    text: Any = config.text_config
    kind = KINDS[text.model_type]
    words = {"chat": kind.chat, **({} if kind.generates else {"text_tasks": ()}), **words}
    return ProcessorConfig(
        image_size=config.image_size,
        clip_size=config.clip_size,
        num_image_tokens=config.num_image_tokens,
        num_temporal_queries=config.ovp_queries if config.use_ovp else 0,
        num_mask_queries=config.num_queries,
        max_length=text.max_position_embeddings,
        **words,
    )


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
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device '{name}' cannot be used ({reason}): try cpu or auto") from error
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


def _read_config(folder: Path) -> dict[str, Any]:
    """``config.json`` of a checkpoint of a layout that can be loaded."""
    file = folder / "config.json"
    if not file.is_file():
        raise FileNotFoundError(f"{folder} is no checkpoint: it has no config.json")
    try:
        given = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}") from error
    kind = given.get("model_type") if isinstance(given, dict) else None
    if kind not in (InstructSegConfig.model_type, *FOREIGN_LAYOUTS):
        raise ValueError(f"{folder} holds a model of type '{kind}', not an InstructSeg: choose another one")
    return given


def _load_model(name: str, dtype: torch.dtype, foreign: bool, quantise: str | None) -> InstructSeg:
    """The model alone; another layout is proven complete by its converter, ours here."""
    from safetensors import SafetensorError

    try:
        if foreign:
            return InstructSeg.from_pretrained(name, dtype=dtype, quantise=quantise)
        # sizes that differ are let through here and named below, with both shapes
        model, found = InstructSeg.from_pretrained(
            name, dtype=dtype, quantise=quantise, output_loading_info=True, ignore_mismatched_sizes=True
        )
    except (SafetensorError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"the weights of {name} are damaged or do not fit its config.json: {reason}"
        ) from error
    except OSError as error:
        raise FileNotFoundError(f"{name} has no weights: {str(error).splitlines()[0]}") from error
    missing, other_sizes = sorted(found["missing_keys"]), sorted(found["mismatched_keys"])
    if other_sizes:
        key, stored, wanted = other_sizes[0]
        raise ValueError(
            f"the weights of {name} do not fit its config.json: {len(other_sizes)} tensors of other sizes, "
            f"such as {key}: {list(stored)} in the file, {list(wanted)} by the configuration"
        )
    unplaced = sorted(found["unexpected_keys"])
    if unplaced:
        raise ValueError(
            f"the weights of {name} hold {len(unplaced)} tensors that its config.json has no place for, "
            f"such as {unplaced[0]}"
        )
    if missing:
        raise ValueError(f"the weights of {name} lack {len(missing)} tensors, such as {missing[0]}")
    return model
