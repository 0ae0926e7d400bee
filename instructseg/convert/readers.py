"""Tensors of a checkpoint on disk, one at a time, whatever the file format.

Understood: ``model.safetensors`` and ``pytorch_model.bin``, whole or in shards with an index; any single
``.safetensors``, ``.bin``, ``.pt`` or ``.pth`` file; the ``.pkl`` files of the Mask2Former model zoo. Nothing
in a checkpoint is executed: pickles may rebuild tensors, numpy arrays and plain containers only.
"""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

_INDEXED = ("model.safetensors", "pytorch_model.bin")
_WRAPPERS = ("model", "state_dict", "module", "model_state_dict")
_DAMAGES = (
    pickle.UnpicklingError, struct.error, EOFError, ValueError, TypeError, KeyError, IndexError, OverflowError,
    AttributeError, ImportError, AssertionError,
)  # fmt: skip
"""What unpicklers raise where bytes are not what they should be."""
_GROUP_BYTES = 32 << 20
"""Files are reopened behind so many bytes: pages of a mapped file count as used memory while it is open."""


@dataclass(frozen=True)
class Entry:
    """A tensor in a file: where it is and its name there, its shape and its type."""

    file: Path
    key: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


@dataclass(frozen=True)
class Weights:
    """The tensors of a checkpoint.

    Attributes:
        entries: name to place, shape and type; nothing else is in memory.
        transform: applied to each tensor when it is read.
    """

    entries: Mapping[str, Entry]
    transform: Callable[[str, torch.Tensor], torch.Tensor] | None = None

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name to shape."""
        return {name: entry.shape for name, entry in self.entries.items()}

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Names and tensors, file by file. A tensor may be a view of the file: copy what is to be kept."""
        for name, tensor in _read(self.entries):
            yield name, tensor if self.transform is None else self.transform(name, tensor)


def open_weights(path: str | Path) -> Weights:
    """Lists the tensors of a checkpoint folder or file.

    Raises:
        FileNotFoundError: no checkpoint there, or a shard is missing.
        ValueError: a file is damaged or of an unknown kind, or an index points outside its folder.
    """
    entries: dict[str, Entry] = {}
    for file in weight_files(Path(path)):
        entries.update(_list(file))
    return Weights(entries)


def weight_files(path: Path) -> list[Path]:
    """The files of a checkpoint, which is a folder or a single file.

    Raises: as :func:`open_weights`.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"no checkpoint at {path}")
    for name in _INDEXED:
        index = path / f"{name}.index.json"
        if index.is_file():
            return _shards(index)
        if (path / name).is_file():
            return [path / name]
    raise FileNotFoundError(f"{path} holds none of {', '.join(_INDEXED)} (whole or in shards with an index)")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; raises ``ValueError`` or ``FileNotFoundError`` that name the file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds a {type(value).__name__}, not an object")
    return value


def _shards(index: Path) -> list[Path]:
    mapping = read_json(index).get("weight_map")
    if not isinstance(mapping, dict):
        raise ValueError(f"{index} has no 'weight_map'")
    files = []
    for name in sorted(set(map(str, mapping.values()))):
        if Path(name).name != name or name in (".", ".."):
            raise ValueError(f"{index} points outside its folder: {name!r}")
        if not (index.parent / name).is_file():
            raise FileNotFoundError(f"{index.parent / name} is missing, though {index.name} lists it")
        files.append(index.parent / name)
    return files


def _list(file: Path) -> dict[str, Entry]:
    if file.suffix == ".safetensors":
        return _list_safetensors(file)
    return {name: Entry(file, name, tuple(t.shape), t.dtype) for name, t in load_pickled(file).items()}


def _list_safetensors(file: Path) -> dict[str, Entry]:
    listed = {}
    with _open_safetensors(file) as handle:
        for name in handle.keys():  # noqa: SIM118  (not a dict)
            piece = handle.get_slice(name)
            dtype = _SAFETENSORS_TYPES[piece.get_dtype()]
            listed[name] = Entry(file, name, tuple(piece.get_shape()), dtype)
    return listed


_SAFETENSORS_TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "I64": torch.int64, "I32": torch.int32,
    "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


def _open_safetensors(file: Path) -> Any:
    try:
        return safe_open(file, framework="pt")
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file} is damaged or not a safetensors file ({error}); download it again") from error


def _read(entries: Mapping[str, Entry]) -> Iterator[tuple[str, torch.Tensor]]:
    by_file: dict[Path, list[str]] = {}
    for name, entry in entries.items():
        by_file.setdefault(entry.file, []).append(name)
    for file, names in by_file.items():
        for group in _groups(names, entries) if _is_mapped(file) else [names]:
            yield from _read_group(file, {name: entries[name].key for name in group})


def _is_mapped(file: Path) -> bool:
    """Whether tensors of the file are mapped from disk; pickles and files of torch < 1.6 are read whole."""
    if file.suffix == ".safetensors":
        return True
    with file.open("rb") as handle:
        return handle.read(2) == b"PK"


def _groups(names: list[str], entries: Mapping[str, Entry]) -> Iterator[list[str]]:
    group: list[str] = []
    size = 0
    for name in names:
        if group and size + entries[name].nbytes > _GROUP_BYTES:
            yield group
            group, size = [], 0
        group.append(name)
        size += entries[name].nbytes
    yield group


def _read_group(file: Path, keys: Mapping[str, str]) -> Iterator[tuple[str, torch.Tensor]]:
    if file.suffix == ".safetensors":
        with _open_safetensors(file) as handle:
            for name, key in keys.items():
                yield name, handle.get_tensor(key)
    else:
        tensors = load_pickled(file)
        for name, key in keys.items():
            yield name, tensors[key]


def load_pickled(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a ``.bin``, ``.pt``, ``.pth`` or ``.pkl`` file (mapped from disk where the format allows).

    A dictionary of tensors may stand under ``model``, ``state_dict``, ``module`` or ``model_state_dict``.

    Raises:
        ValueError: the file is damaged, of an unknown kind, or wants to build something other than tensors.
    """
    if file.suffix == ".pkl":
        content = _load_pkl(file)
    elif file.suffix in (".bin", ".pt", ".pth"):
        content = _load_torch(file)
    else:
        raise ValueError(f"{file}: unknown kind of checkpoint; give .safetensors, .bin, .pt, .pth or .pkl")
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds a {type(content).__name__}, not a dictionary of tensors")
    tensors = {}
    for name, value in content.items():
        tensor = value if isinstance(value, torch.Tensor) else _from_numpy(value)
        if tensor is not None:
            tensors[str(name)] = tensor
    if not tensors:
        raise ValueError(f"{file} holds no tensors")
    return tensors


def _from_numpy(value: Any) -> torch.Tensor | None:
    import numpy as np

    if isinstance(value, np.ndarray):
        return torch.from_numpy(value if value.flags.writeable else value.copy())
    return None


def _load_torch(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True, mmap=_is_mapped(file))
    except (*_DAMAGES, RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{file} is damaged or holds more than tensors: {reason}") from error


class _ArrayUnpickler(pickle.Unpickler):
    """Rebuilds numpy arrays and plain containers, nothing else."""

    allowed = frozenset(
        {("numpy", "ndarray"), ("numpy", "dtype"), ("collections", "OrderedDict"), ("_codecs", "encode")}
        | {(f"numpy.{core}.multiarray", f) for core in ("core", "_core") for f in ("_reconstruct", "scalar")}
        | {(f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")}
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not part of a weight file")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _load_pkl(file: Path) -> Any:
    try:
        with file.open("rb") as handle:
            return _ArrayUnpickler(handle, encoding="latin1").load()
    except _DAMAGES as error:
        raise ValueError(f"{file} is damaged or unsafe: {error}") from error
    except MemoryError as error:  # a damaged length asks for more than there is
        raise ValueError(f"{file} is damaged, or too large for this machine's memory") from error
