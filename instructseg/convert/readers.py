"""Tensors of a checkpoint on disk, one at a time, in any file format.

Understood: ``model.safetensors`` and ``pytorch_model.bin``, whole or in shards with an index; any single
``.safetensors``, ``.bin``, ``.pt`` or ``.pth`` file; the ``.pkl`` files of the Mask2Former model zoo. Nothing
in a checkpoint is executed: pickles may rebuild tensors, numpy arrays and plain containers only.
"""

from __future__ import annotations

import pickle
import re
import struct
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import torch

from instructseg.convert.safetensors_file import StoredTensor, list_safetensors, read_safetensors
from instructseg.files import printable, read_object
from instructseg.safe_pickle import check_lengths

_INDEXED = ("model.safetensors", "pytorch_model.bin")
_WRAPPERS = ("model", "state_dict", "module", "model_state_dict")
_DAMAGES = (
    pickle.UnpicklingError, struct.error, EOFError, ValueError, TypeError, LookupError, OverflowError,
    AttributeError, ImportError, AssertionError, RecursionError,
)  # fmt: skip
"""Errors of unpicklers on damaged bytes."""
_GROUP_BYTES = 32 << 20
"""Files are reopened after so many bytes: pages of a mapped file count as used memory while it is open."""


@dataclass(frozen=True)
class Weights:
    """The tensors of a checkpoint.

    Attributes:
        entries: name to place, shape and type; nothing else is in memory.
        transform: applied to each tensor when it is read.
    """

    entries: Mapping[str, StoredTensor]
    transform: Callable[[str, torch.Tensor], torch.Tensor] | None = None

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name to shape."""
        return {name: entry.shape for name, entry in self.entries.items()}

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Names and tensors, file by file. A tensor may be a view of the file: copy it to keep it."""
        for name, tensor in _read(self.entries):
            yield name, tensor if self.transform is None else self.transform(name, tensor)


def open_weights(path: str | Path) -> Weights:
    """Lists the tensors of a checkpoint folder or file.

    The index decides: a tensor is read from the shard that it names, even if others hold it too.

    Raises:
        FileNotFoundError: no checkpoint there, or a shard is missing.
        ValueError: a file is damaged or of an unknown kind, an index points outside its folder or names a
            tensor that its shard lacks, or two checkpoints lie in one folder.
    """
    path = Path(path)
    if path.is_file():
        return Weights(_list(path))
    if not path.is_dir():
        raise FileNotFoundError(f"no checkpoint at {path}")
    for name in _INDEXED:
        whole, index = path / name, path / f"{name}.index.json"
        if index.is_file() and whole.is_file():
            raise ValueError(f"{path} holds both {name} and {index.name}: remove the one that is out of date")
        if index.is_file():
            return Weights(_list_shards(index))
        if whole.is_file():
            return Weights(_list(whole))
    raise FileNotFoundError(
        f"{path} has no weights: it holds none of {', '.join(_INDEXED)} (whole or in shards with an index)"
    )


def _list_shards(index: Path) -> dict[str, StoredTensor]:
    """The tensors that an index names, each in the shard that it names."""
    mapping = read_object(index).get("weight_map")
    if not isinstance(mapping, dict) or not mapping:
        raise ValueError(f"{index} has no 'weight_map' from tensors to files")
    listed: dict[str, dict[str, StoredTensor]] = {}
    entries = {}
    for name, file in mapping.items():
        if not isinstance(file, str):
            raise ValueError(f"{index}: weight_map.{name} must be the name of a file, not {file!r:.60}")
        if file not in listed:
            listed[file] = _list(_shard(index, file))
        if name not in listed[file]:
            raise ValueError(f"{index} places {name} in {file}, which lacks it: download both again")
        entries[name] = listed[file][name]
    return entries


def _shard(index: Path, name: str) -> Path:
    """The shard of that name beside its index."""
    if Path(name).name != name or name in (".", "..") or "\0" in name or len(name) > 200:
        raise ValueError(f"{index} points outside its folder: {name!r:.200}")
    file = index.parent / name
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing, though {index.name} lists it")
    return file


def _list(file: Path) -> dict[str, StoredTensor]:
    if file.suffix == ".safetensors":
        return list_safetensors(file)
    return {name: StoredTensor(file, name, tuple(t.shape), t.dtype) for name, t in load_pickled(file).items()}


def _read(entries: Mapping[str, StoredTensor]) -> Iterator[tuple[str, torch.Tensor]]:
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


def _groups(names: list[str], entries: Mapping[str, StoredTensor]) -> Iterator[list[str]]:
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
        yield from read_safetensors(file, keys)
    else:
        tensors = load_pickled(file)
        for name, key in keys.items():
            yield name, tensors[key]


def load_pickled(file: Path) -> dict[str, torch.Tensor]:
    """Tensors of a ``.bin``, ``.pt``, ``.pth``, ``.ckpt`` or ``.pkl`` file (mapped from disk where possible).

    The dictionary of tensors may be under ``model``, ``state_dict``, ``module`` or ``model_state_dict``.

    Raises:
        ValueError: the file is damaged, of an unknown kind, or builds something other than tensors.
    """
    if file.suffix == ".pkl":
        content = _load_pkl(file)
    elif file.suffix in (".bin", ".pt", ".pth", ".ckpt"):
        content = _load_torch(file)
    else:
        raise ValueError(
            f"{file}: unknown kind of checkpoint; give .safetensors, .bin, .pt, .pth, .ckpt or .pkl"
        )
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds a {type(content).__name__}, not a dictionary of tensors")
    tensors = {}
    for name, value in content.items():
        try:
            tensor = value if isinstance(value, torch.Tensor) else _from_numpy(value)
        except (TypeError, ValueError) as error:  # an array of texts, or of bytes in another order
            raise ValueError(f"{file}: {name} is no array of numbers ({error})") from error
        if tensor is None:
            continue
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise ValueError(f"{file}: {name} is no plain tensor (sparse, quantized or without values)")
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
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # damaged bytes look like a new protocol, which torch explains at length
            return torch.load(file, map_location="cpu", weights_only=True, mmap=_is_mapped(file))
    except MemoryError as error:  # a damaged length asks for more than there is
        raise ValueError(f"{file} is damaged, or too large for this machine's memory") from error
    except (*_DAMAGES, RuntimeError, OSError) as error:
        raise ValueError(f"{file} is damaged or holds more than tensors: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """Why torch refused, in one line, without its advice to read the file unsafely."""
    text = str(error).strip()
    asked = re.search(r"GLOBAL ([\w.]+)", text)
    if asked:
        return f"it asks for {asked[1]}, which is not part of a weight file"
    first = next(iter(text.splitlines()), "")
    if not first or "weights_only" in text or "Weights only" in text:
        return "it cannot be read as tensors alone, and nothing else in it is run"
    return printable(first)


class _ArrayUnpickler(pickle.Unpickler):
    """Rebuilds numpy arrays and plain containers, nothing else."""

    allowed = frozenset(
        {("numpy", "ndarray"), ("numpy", "dtype"), ("collections", "OrderedDict"), ("_codecs", "encode")}
        | {(f"numpy.{core}.multiarray", f) for core in ("core", "_core") for f in ("_reconstruct", "scalar")}
        | {(f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")}
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            asked = printable(f"{module}.{name}", 100)
            raise pickle.UnpicklingError(f"it asks for {asked}, which is not part of a weight file")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _load_pkl(file: Path) -> Any:
    try:
        with file.open("rb") as handle:
            with mmap(handle.fileno(), 0, access=ACCESS_READ) as content:
                check_lengths(content)
            return _ArrayUnpickler(handle, encoding="latin1").load()
    except _DAMAGES as error:
        raise ValueError(f"{file} is damaged or unsafe: {_reason(error)}") from error
    except MemoryError as error:  # a damaged length asks for more than there is
        raise ValueError(f"{file} is damaged, or too large for this machine's memory") from error
