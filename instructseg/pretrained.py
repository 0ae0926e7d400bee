"""Loading of models by name, from every checkpoint layout."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from instructseg import hub
from instructseg.convert.official import load_official, open_official
from instructseg.convert.own import load_own
from instructseg.deprecation import renamed_keyword
from instructseg.devices import choose_device, choose_dtype, fastest_dtype
from instructseg.hub import HUB_OPTIONS, is_bundled, model_path
from instructseg.model import InstructSeg, InstructSegConfig
from instructseg.model.config_file import read_config, read_model_type, stored_dtype
from instructseg.model.weight_size import weights_advice
from instructseg.out_of_memory import free_memory, gib, is_out_of_memory, out_of_memory_error
from instructseg.processing import InstructSegProcessor
from instructseg.processing.processor_config import processor_config
from instructseg.processing.storage import local_folder

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from instructseg.model.stored import LoadOptions

_HALF = (torch.float16, torch.bfloat16)
_WIDEST = 16384
"""Largest width of a layer that is timed."""


@dataclass(frozen=True)
class CheckpointLayout:
    """Readers of the checkpoints of one ``model_type``.

    Attributes:
        load: reads a model from a folder or a file of weights, one tensor at a time.
        read_config: the configuration of a model, from its folder or file of weights.
        has_processor: whether its folders hold ``processor_config.json``.
    """

    load: Callable[..., Any]
    read_config: Callable[[Path], InstructSegConfig]
    has_processor: bool


LAYOUTS = {
    InstructSegConfig.model_type: CheckpointLayout(load_own, read_config, True),
    # no file for a processor: the model's sizes, the released words
    "mipha_phi": CheckpointLayout(load_official, lambda path: open_official(path).config, False),
}
"""Checkpoint layouts by the ``model_type`` of their ``config.json``."""


@renamed_keyword("quantise", "quantize")
def load_pretrained(
    name_or_path: str | Path | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
    quantize: str | None = None,
) -> tuple[InstructSeg, InstructSegProcessor]:
    """Loads a model, ready for inference, with its processor.

    Args:
        name_or_path: a folder or a repository of the hub, in any of :data:`LAYOUTS`; ``None`` or ``"mini"``
            for the bundled model of photographs, ``"nano"`` for that of drawn shapes.
        device: ``"cuda:1"``, ``"cpu"`` ..; ``None`` or ``"auto"`` for an accelerator where there is one.
        dtype: of the weights, as ``torch.bfloat16`` or ``"bfloat16"``; ``"auto"`` for the fastest of the
            device (:func:`~instructseg.devices.fastest_dtype`); ``None`` for float32, but bfloat16 on a GPU
            where the checkpoint is stored in half precision.
        quantize: ``"int8"`` or ``"int4"`` for the language model's blocks, while they are read; ``None`` for
            what is stored (see :mod:`instructseg.model.quantized`).

    Raises:
        FileNotFoundError: there is no checkpoint, or a file of it is missing.
        ValueError: it is damaged or of another model, or there is no such device, dtype or quantization.
        torch.cuda.OutOfMemoryError: the weights do not fit.
    """
    target = choose_device(device)
    automatic = dtype == "auto"
    if isinstance(dtype, str):
        dtype = None if automatic else choose_dtype(dtype)
    source = hub.bundled_folder(name_or_path) if is_bundled(name_or_path) else name_or_path
    assert source is not None
    folder = local_folder(source)
    values = read_model_type(folder, LAYOUTS)
    stored = stored_dtype(values, f"{folder / 'config.json'}: ")
    if automatic:
        dtype = fastest_dtype(target, _width(values))
    if dtype is None:
        dtype = torch.bfloat16 if target.type == "cuda" and stored in _HALF else torch.float32
    # small files first: a folder without a processor is refused before its weights are read
    layout = LAYOUTS[values["model_type"]]
    processor = InstructSegProcessor.from_pretrained(folder) if layout.has_processor else None
    # the weights of a repository are downloaded by the next line; its text files are in `folder` already
    try:
        model = _load_model(source, dtype, quantize)
        model.to(target)  # type: ignore[arg-type]  # transformers wraps Module.to
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise _too_large(error, source, dtype, quantize, target) from error
    if processor is None:
        processor = InstructSegProcessor.from_pretrained(folder, processor_config(model.config))
    _check_pair(source, model, processor)
    model.processor = processor  # saved with it
    return model.eval(), processor


@renamed_keyword("quantise", "quantize")
def from_pretrained(
    name_or_path: str | Path | None = None,
    dtype: torch.dtype | str | None = None,
    device_map: Any = None,
    quantize: str | None = None,
    **options: Unpack[LoadOptions],
) -> Any:
    """Loads a model in any layout, ready for inference.

    Its processor is loaded too where its files are there, as ``model.processor``, and saved with it.

    Args:
        name_or_path: as of :func:`load_pretrained`.
        dtype: of the model's values, as ``torch.bfloat16`` or ``"bfloat16"``; ``None`` for the stored one.
        device_map: placement, as in transformers: ``"cuda"``, ``"auto"`` ..
        quantize: as of :func:`load_pretrained`.
        options: for the hub and for ``from_pretrained`` of transformers.

    Returns:
        the model; with ``output_loading_info=True`` a pair of it and the report of transformers.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: it is damaged or does not fit; the fault is named.
    """
    given: dict[str, Any] = {**options}
    for name in ("subfolder", "variant", "gguf_file"):
        if given.pop(name, None):
            raise ValueError(f"{name} is not supported: give the folder that holds config.json and weights")
    path = model_path(name_or_path, **{name: given.pop(name) for name in HUB_OPTIONS if name in given})
    loaded = _read(path, dtype=dtype or "auto", quantize=quantize, device_map=device_map, **given)
    model = loaded[0] if isinstance(loaded, tuple) else loaded  # with output_loading_info
    with suppress(FileNotFoundError):  # the model alone is good for a use without text
        sizes = None if _layout(path).has_processor else processor_config(model.config)
        model.processor = InstructSegProcessor.from_pretrained(_folder(path), sizes)
    return loaded


def read_model_config(name_or_path: str | Path | None = None) -> InstructSegConfig:
    """The configuration of a model of any layout, by a name that :func:`load_pretrained` takes.

    Raises:
        FileNotFoundError, ValueError: as :func:`load_pretrained`.
    """
    folder = local_folder(name_or_path)
    layout = LAYOUTS[read_model_type(folder, LAYOUTS)["model_type"]]
    return layout.read_config(folder if layout.has_processor else model_path(name_or_path))


def _folder(path: Path) -> Path:
    """The folder of a checkpoint; the official layout may be named by its file of weights."""
    return path if path.is_dir() else path.parent


def _layout(path: Path) -> CheckpointLayout:
    return LAYOUTS[read_model_type(_folder(path), LAYOUTS)["model_type"]]


def _read(path: Path, **options: Any) -> Any:
    """What the reader of the layout returns."""
    return _layout(path).load(path, **options)


def _load_model(name: str | Path, dtype: torch.dtype, quantize: str | None) -> InstructSeg:
    """The model alone; its reader proves it complete."""
    try:
        return _read(model_path(name), dtype=dtype, quantize=quantize)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"the weights of {name} are damaged or do not fit its config.json: {reason}"
        ) from error


def _width(values: dict[str, Any]) -> int:
    """Width of the language model by a ``config.json`` of any layout; the published one by default."""
    for part in (values.get("text_config"), values):
        width = part.get("hidden_size") if isinstance(part, dict) else None
        if isinstance(width, int) and 0 < width <= _WIDEST:
            return width
    return 2560


def _check_pair(source: str | Path, model: InstructSeg, processor: InstructSegProcessor) -> None:
    """Compares the sizes of a processor with those of its model.

    Raises:
        ValueError: one differs; both numbers are named.
    """
    words, rows = len(processor.tokenizer), model.language.word_table().num_embeddings
    if words > rows:
        raise ValueError(
            f"{source}: its tokenizer has {words} tokens, but its model {rows}: give the one of that model"
        )
    found, wanted = processor.config, processor_config(model.config)
    for name in ("image_size", "clip_size", "num_image_tokens", "num_temporal_queries", "num_mask_queries"):
        size, needed = getattr(found, name), getattr(wanted, name)
        if size != needed:
            raise ValueError(
                f"{source}: {name} is {size} in processor_config.json, but {needed} by config.json: "
                "they are of different models"
            )
    if found.max_length > wanted.max_length:
        raise ValueError(
            f"{source}: max_length is {found.max_length} in processor_config.json, but the language model "
            f"takes {wanted.max_length} positions"
        )


def _too_large(
    error: BaseException, source: str | Path, dtype: torch.dtype, quantize: str | None, device: torch.device
) -> torch.cuda.OutOfMemoryError:
    """The error where the weights do not fit: their size, and a setting that fits."""
    config = read_model_config(source)
    asked, fits = weights_advice(config, dtype, quantize or config.quantize, free_memory(device))
    return out_of_memory_error(error, f"loading {gib(asked)} of weights", fits, device)
