"""The published checkpoint: loading, conversion to our layout, and exact export."""

from __future__ import annotations

import shutil
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from instructseg.convert.adapters import plain_names
from instructseg.convert.keymap import ConversionPlan, Joiner, Shapes, official_shapes, plan
from instructseg.convert.official_config import config_from_official, official_config, unused_shapes
from instructseg.convert.own import loaded_parts, open_own
from instructseg.convert.readers import Weights, open_weights
from instructseg.convert.safetensors_file import check_types
from instructseg.convert.writers import ShardWriter, new_folder, write_json, write_tensors
from instructseg.files import read_object
from instructseg.hub import HUB_OPTIONS, model_path
from instructseg.model import InstructSeg, InstructSegConfig
from instructseg.model.config_file import built_on_meta, read_config, stored_dtype
from instructseg.model.configuration import ConfigFields
from instructseg.model.quantized import check_quantization
from instructseg.model.stored import LoadOptions
from instructseg.processing.processor import CONFIG_NAME
from instructseg.processing.processor_config import processor_config

if TYPE_CHECKING:
    from typing_extensions import Unpack

UNUSED_FILE = "official_unused.safetensors"
"""Unused tensors of the official file, kept for an exact export."""
CONFIG_FILE = "official_config.json"
"""The official ``config.json``, kept beside ours."""

_TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt",
)  # fmt: skip


class OfficialOptions(LoadOptions, ConfigFields, total=False):
    """Options of :func:`load_official`."""


@dataclass(frozen=True)
class OfficialCheckpoint:
    """An official checkpoint whose conversion is planned and proven; no value has been read yet.

    Attributes:
        weights: official names, adapters merged while reading.
        official: content of its ``config.json``.
    """

    weights: Weights
    config: InstructSegConfig
    official: dict[str, Any]
    plan: ConversionPlan

    @property
    def dtype(self) -> torch.dtype:
        """The type of most values."""
        sizes: Counter[torch.dtype] = Counter()
        for entry in self.weights.entries.values():
            if entry.dtype.is_floating_point:
                sizes[entry.dtype] += entry.nbytes // entry.dtype.itemsize
        return sizes.most_common(1)[0][0]


def open_official(
    path: str | Path, config: Mapping[str, Any] | None = None, **overrides: Unpack[ConfigFields]
) -> OfficialCheckpoint:
    """Reads names, shapes and configuration of an official checkpoint.

    Args:
        path: its folder, or one file of weights.
        config: content of its ``config.json`` where that is elsewhere.
        overrides: fields of :class:`InstructSegConfig` to set.

    Raises:
        FileNotFoundError, ValueError: something is missing, damaged or does not fit; it is named.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    official = dict(config) if config is not None else read_object(folder / "config.json")
    where = f"{folder / 'config.json'}: "
    weights = plain_names(open_weights(path), folder)
    ours = config_from_official(official, weights.shapes, where, **overrides)
    found = plan(weights.shapes, model_shapes(ours, str(folder)))
    used = dict.fromkeys(found.targets, torch.float32)  # there are floats alone among them
    check_types(f"the weights of {path}", weights.entries, used, stored_dtype(official, where))
    return OfficialCheckpoint(weights, ours, official, found)


def model_shapes(config: InstructSegConfig, where: str = "the model") -> dict[str, tuple[int, ...]]:
    """Names and shapes of our model, without memory for its values; ``where`` it is from, for the error."""
    return {name: tuple(tensor.shape) for name, tensor in built_on_meta(config, where).items()}


def load_official(
    name_or_path: str | Path,
    dtype: torch.dtype | str | None = None,
    quantize: str | None = None,
    device_map: Any = None,
    config: Mapping[str, Any] | None = None,
    **options: Unpack[OfficialOptions],
) -> Any:
    """Loads an official checkpoint without writing anything, with one tensor beside the model in memory.

    Args:
        name_or_path: folder, file of weights, or repository on the hub.
        dtype: of the model's values; ``None`` or ``"auto"`` for that of most values in the file.
        quantize: ``int8`` or ``int4`` for the language model's blocks, layer by layer while they are read.
        config: as of :func:`open_official`.
        options: fields of :class:`InstructSegConfig` to set, and options of the hub and of transformers.

    Raises: as :func:`open_official`; ValueError for an unknown quantization.
    """
    wanted = None if quantize is None else check_quantization(quantize)
    given: dict[str, Any] = {**options}
    hub = {name: given.pop(name) for name in HUB_OPTIONS if name in given}
    overrides: Any = {name: given.pop(name) for name in InstructSegConfig.__annotations__ if name in given}
    checkpoint = open_official(model_path(name_or_path, **hub), config, **overrides)
    dtype = getattr(torch, dtype) if isinstance(dtype, str) and dtype != "auto" else dtype
    used = dtype if isinstance(dtype, torch.dtype) else checkpoint.dtype
    state = {
        name: value
        for official, tensor in checkpoint.weights
        for ours, part in checkpoint.plan.split(official, tensor)
        for name, value in loaded_parts(ours, part, used, quantize)
    }
    checkpoint.config.quantize = wanted
    loaded = InstructSeg.from_pretrained(
        None, config=checkpoint.config, state_dict=state, dtype=used, device_map=device_map, **given
    )
    model = loaded[0] if isinstance(loaded, tuple) else loaded  # with output_loading_info
    model.config._name_or_path = str(name_or_path)
    return loaded


def convert_official(
    source: str | Path, target: str | Path, overwrite: bool = False, **overrides: Unpack[ConfigFields]
) -> ConversionPlan:
    """Writes an official checkpoint in our layout.

    Values keep their type. Unused tensors go to ``official_unused.safetensors``, so that
    :func:`export_official` restores every byte.

    Args:
        source: as in :func:`load_official`.
        overrides: as in :func:`open_official`.

    Returns:
        the plan, with the dropped tensors and reasons.

    Raises:
        FileExistsError, OSError: the target exists, or the disk is full.
        FileNotFoundError, ValueError: as :func:`open_official`.
    """
    source = model_path(source)
    checkpoint = open_official(source, **overrides)
    nbytes = sum(entry.nbytes for entry in checkpoint.weights.entries.values())
    with new_folder(target, overwrite, nbytes, [source]) as folder:
        writer, unused = ShardWriter(folder), {}
        for name, tensor in checkpoint.weights:
            if name in checkpoint.plan.dropped:
                unused[name] = tensor.clone()
            for ours, part in checkpoint.plan.split(name, tensor):
                writer.add(ours, part)
        writer.close()
        write_tensors(folder / UNUSED_FILE, unused)
        checkpoint.config.architectures = [InstructSeg.__name__]
        checkpoint.config.dtype = checkpoint.dtype
        checkpoint.config.save_pretrained(folder)
        write_json(folder / CONFIG_FILE, checkpoint.official)
        write_json(folder / CONFIG_NAME, processor_config(checkpoint.config).to_dict())
        copy_tokenizer(source, folder)
    return checkpoint.plan


def export_official(source: str | Path, target: str | Path, overwrite: bool = False) -> list[str]:
    """Writes a model in the official layout, which the official code loads.

    Args:
        source: a folder in our layout; LoRA adapters in it are merged.

    Returns:
        names of unused tensors that are zeros because the source lacks them.

    Raises:
        ValueError: the model has a feature that the official code lacks; it is named.
        FileExistsError, FileNotFoundError, OSError: as :func:`convert_official`.
    """
    source = model_path(source)
    config = read_config(source)
    derived = official_config(config)
    alpha = None if config.lora is None else config.lora["alpha"]
    weights = plain_names(open_own(source, config), source, alpha)
    shapes = official_shapes(weights.shapes)
    kept = source / CONFIG_FILE
    nbytes = sum(entry.nbytes for entry in weights.entries.values())
    with new_folder(target, overwrite, nbytes, [source]) as folder:
        writer, joiner = ShardWriter(folder), Joiner()
        for name, tensor in weights:
            whole = joiner.add(name, tensor.clone())
            if whole is not None:
                writer.add(*whole)
        zeros = _add_unused(writer, source / UNUSED_FILE, unused_shapes(config, shapes))
        writer.close()
        official = {**derived, **(read_object(kept) if kept.is_file() else {})}
        write_json(folder / "config.json", official | {"vocab_size": derived["vocab_size"]})
        copy_tokenizer(source, folder)
    if zeros:
        warnings.warn(f"{len(zeros)} unused tensors are zeros: {', '.join(zeros[:3])} ..", stacklevel=2)
    return zeros


def _add_unused(writer: ShardWriter, file: Path, shapes: Shapes) -> list[str]:
    """Adds the kept tensors, and zeros for those that were not kept; returns the names of the latter."""
    kept = open_weights(file) if file.is_file() else Weights({})
    for name, tensor in kept:
        writer.add(name, tensor)
    missing = [name for name in shapes if name not in kept.entries]
    zeros = []
    for name in missing:
        if name.endswith("relative_position_index"):
            writer.add(name, _position_index(shapes[name]))
        else:
            writer.add(name, torch.zeros(shapes[name]))
            zeros.append(name)
    return zeros


def _position_index(shape: tuple[int, ...]) -> torch.Tensor:
    """Swin's table of which bias belongs to which pair of window cells, ``int64[area, area]``."""
    from transformers.models.swin.modeling_swin import SwinRelativePositionBias

    side = round(shape[0] ** 0.5)
    return SwinRelativePositionBias(1, (side, side)).relative_position_index.view(shape)


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copies the tokenizer's files, those that are there."""
    folder = source if source.is_dir() else source.parent
    for name in _TOKENIZER_FILES:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, target / name)
