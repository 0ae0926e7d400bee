"""Reads pickles of plain data and refuses everything else: nothing in a pickle is run."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

_BUILTINS = (
    "set",
    "frozenset",
    "list",
    "dict",
    "tuple",
    "str",
    "int",
    "float",
    "complex",
    "bytes",
    "bytearray",
)
_ALLOWED = {
    **{(module, name): (module, name) for module in ("__builtin__", "builtins") for name in _BUILTINS},
    **{("__builtin__", old): ("builtins", new) for old, new in (("unicode", "str"), ("long", "int"))},
    ("collections", "OrderedDict"): ("collections", "OrderedDict"),
    ("_codecs", "encode"): ("_codecs", "encode"),  # how Python 3 writes bytes for Python 2
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not plain data")
        return super().find_class(*_ALLOWED[module, name])


def load_plain(path: Path) -> Any:
    """The content of a pickle of containers, text, bytes and numbers, written by Python 2 or 3.

    Byte strings of Python 2 are read as UTF-8, or as Latin-1 where they are not.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or wants to build anything else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        return _load(path, "utf-8")
    except UnicodeDecodeError:
        return _load(path, "latin1")


def _load(path: Path, encoding: str) -> Any:
    try:
        with path.open("rb") as file:
            return _PlainUnpickler(file, encoding=encoding).load()
    except UnicodeDecodeError:
        raise
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, OverflowError,
            AttributeError, ImportError) as error:  # fmt: skip
        raise ValueError(f"{path} is damaged or unsafe: {error or type(error).__name__}") from error
    except MemoryError as error:  # a damaged length asks for more than there is
        raise ValueError(f"{path} is damaged, or too large for this machine's memory") from error
