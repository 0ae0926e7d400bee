"""Safe reading of untrusted safetensors files, tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from instructseg.files import printable

FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""Types of a model's values, by their names in the file."""
_TYPES = {
    **FLOATS, "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
    "BOOL": torch.bool,
}  # fmt: skip


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file: where it is and its name there, its shape and its type."""

    file: Path
    key: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


def list_safetensors(file: Path) -> dict[str, StoredTensor]:
    """Names, shapes and types of a file's tensors; no value is read.

    Raises:
        ValueError: the file is damaged, or a tensor has a type that no model of this package has.
    """
    listed = {}
    with opened(file) as handle:
        for name in handle.keys():  # noqa: SIM118  (not a dict)
            piece = handle.get_slice(name)
            kind = str(piece.get_dtype())
            if kind not in _TYPES:
                raise ValueError(f"{file}: {name} has type {kind}, not one of {', '.join(_TYPES)}")
            listed[name] = StoredTensor(file, name, tuple(piece.get_shape()), _TYPES[kind])
    return listed


def read_safetensors(file: Path, keys: Mapping[str, str]) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors of a file: ``keys`` are the names that are wanted and those in the file."""
    with opened(file) as handle:
        for name, key in keys.items():
            yield name, handle.get_tensor(key)


@contextmanager
def opened(file: Path) -> Iterator[Any]:
    """Opens a file; faults are a ``ValueError`` that names it."""
    try:
        # the header's bounds, overlaps and sizes are checked by the library when it opens
        with safe_open(file, framework="pt") as handle:
            yield handle
    except (SafetensorError, OSError) as error:
        why = printable(str(error))
        raise ValueError(f"{file} is damaged or not a safetensors file ({why}); download it again") from error


def check_types(
    what: str, found: Mapping[str, StoredTensor], wanted: Mapping[str, torch.dtype], named: Any = None
) -> None:
    """Compares the types in the files with those of the model, before a value is read.

    A header may lie about a type without changing a size: a whole number for a float, or one 16-bit float for
    the other, which would give other values without an error.

    Args:
        wanted: name to the type in the model; values of a float type may be stored in any float type.
        named: the type that ``config.json`` names, if it does.

    Raises:
        ValueError: a type is of another kind, or there are two kinds of 16-bit floats.
    """
    halves: dict[torch.dtype, str] = {}
    if named in (torch.float16, torch.bfloat16):
        halves[named] = "config.json"
    for name, target in wanted.items():
        entry = found[name]
        fits = entry.dtype in FLOATS.values() if target.is_floating_point else entry.dtype == target
        if not fits:
            needed = "a floating-point type" if target.is_floating_point else _word(target)
            raise ValueError(
                f"{what}: {name} is stored as {_word(entry.dtype)} in {entry.file.name}, but the model needs "
                f"{needed}: the file is damaged or of another model"
            )
        if target.is_floating_point and entry.dtype.itemsize == 2:
            halves.setdefault(entry.dtype, name)
    if len(halves) > 1:
        one, other = (f"{_word(kind)} by {where}" for kind, where in halves.items())
        raise ValueError(
            f"{what}: its values are {one} but {other}: one of them is wrong, and 16-bit floats of the wrong "
            "type are other numbers; save it again in one type"
        )


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
