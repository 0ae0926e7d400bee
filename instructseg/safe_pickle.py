"""Safe reader of pickles of plain data: runs no code, allocates no more than the file's size."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from mmap import mmap
from pathlib import Path
from types import MappingProxyType
from typing import Any

_Scalar = (str, bytes, int, float, complex, type(None))
_LATIN1 = ("latin1", "latin-1", "iso-8859-1")


def _refuse(name: str, given: tuple[Any, ...]) -> pickle.UnpicklingError:
    kinds = ", ".join(type(value).__name__ for value in given) or "nothing"
    return pickle.UnpicklingError(f"it calls {name} with {kinds}, which no plain data needs")


def _collected(name: str, build: Callable[..., Any], hashed: bool = False) -> Callable[..., Any]:
    """A container from one list or tuple; of scalars where they are hashed, for nested tuples hash for ages."""

    def make(*given: Any) -> Any:
        if not given:
            return build()
        fits = len(given) == 1 and type(given[0]) in (list, tuple)
        if not fits or (hashed and not all(isinstance(value, _Scalar) for value in given[0])):
            raise _refuse(name, given)
        return build(given[0])

    return make


def _converted(name: str, build: Callable[..., Any], *kinds: type) -> Callable[..., Any]:
    """A scalar from one scalar (a complex number from two)."""

    def make(*given: Any) -> Any:
        if len(given) > (2 if build is complex else 1) or not all(type(value) in kinds for value in given):
            raise _refuse(name, given)
        return build(*given)

    return make


def _bytes_like(name: str, build: Callable[..., Any]) -> Callable[..., Any]:
    """Bytes from bytes or from Latin-1 text, never from a length."""

    def make(*given: Any) -> Any:
        if not given:
            return build()
        if len(given) == 1 and isinstance(given[0], bytes):
            return build(given[0])
        if len(given) == 2 and isinstance(given[0], str) and given[1] in _LATIN1:
            return build(given[0].encode("latin-1"))
        raise _refuse(name, given)

    return make


def _encode(*given: Any) -> bytes:
    """``_codecs.encode``, by which Python 3 writes bytes for Python 2."""
    if len(given) == 2 and isinstance(given[0], str) and given[1] in _LATIN1:
        return given[0].encode("latin-1")
    raise _refuse("_codecs.encode", given)


_MAKERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "set": _collected("set", set, hashed=True),
        "frozenset": _collected("frozenset", frozenset, hashed=True),
        "list": _collected("list", list),
        "tuple": _collected("tuple", tuple),
        "dict": _collected("dict", dict),
        "str": _converted("str", str, str),
        "unicode": _converted("unicode", str, str),
        "int": _converted("int", int, int, float, str),
        "long": _converted("long", int, int, float, str),
        "float": _converted("float", float, int, float, str),
        "complex": _converted("complex", complex, int, float),
        "bytes": _bytes_like("bytes", bytes),
        "bytearray": _bytes_like("bytearray", bytearray),
    }
)
_ALLOWED: Mapping[tuple[str, str], Callable[..., Any]] = MappingProxyType(
    {
        **{(module, name): make for module in ("__builtin__", "builtins") for name, make in _MAKERS.items()},
        ("collections", "OrderedDict"): _collected("OrderedDict", OrderedDict),
        ("_codecs", "encode"): _encode,
    }
)

_LINES = {**dict.fromkeys(b"FILSVgp", 1), **dict.fromkeys(b"ci", 2)}
"""Opcode -> lines of text after it."""
_FIXED = dict(zip(b"GJKMhjr\x80q", (8, 4, 1, 2, 1, 4, 4, 1, 1), strict=True))
"""Opcode -> bytes after it."""
_COUNTED = {
    **dict.fromkeys(b"UC\x8a\x8c", 1),
    **dict.fromkeys(b"TBX\x8b", 4),
    **dict.fromkeys(b"\x8d\x8e\x96\x95", 8),
}
"""Opcode -> bytes of the length field after it."""
_FOREIGN = frozenset(b"PQ\x82\x83\x84\x97\x98")
"""Opcodes of content outside the pickle: persistent ids, registered extensions, foreign buffers."""
_FRAME = 0x95


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            asked = ascii(f"{module}.{name}"[:100])[1:-1]
            raise pickle.UnpicklingError(f"it asks for {asked}, which is not plain data")
        return _ALLOWED[module, name]


def load_plain(path: Path) -> Any:
    """The content of a pickle of containers, text, bytes and numbers, written by Python 2 or 3.

    Byte strings of Python 2 are read as UTF-8, or as Latin-1 where they are not. What is allocated is bounded
    by the size of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or builds anything else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    content = path.read_bytes()
    try:
        check_lengths(content)
        try:
            return _PlainUnpickler(io.BytesIO(content), encoding="utf-8").load()
        except UnicodeDecodeError:
            return _PlainUnpickler(io.BytesIO(content), encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, OverflowError,
            AttributeError, ImportError, RecursionError) as error:  # fmt: skip
        raise ValueError(f"{path} is damaged or unsafe: {error or type(error).__name__}") from error
    except MemoryError as error:
        raise ValueError(f"{path} is damaged, or too large for this machine's memory") from error


def check_lengths(content: bytes | mmap) -> None:
    """Checks every length and memo index, which the unpickler allocates before it reads.

    Raises:
        UnpicklingError: a length exceeds the file, or a memo index exceeds its size.
    """
    at, end = 0, len(content)
    lines, fixed, counted, foreign = _LINES, _FIXED, _COUNTED, _FOREIGN  # looked up ten million times
    while at < end:
        opcode = content[at]
        at += 1
        if opcode in fixed:
            if opcode == 0x72 and int.from_bytes(content[at : at + 4], "little") > end:  # LONG_BINPUT
                raise pickle.UnpicklingError(f"it notes a value at a place beyond its {end} bytes")
            at += fixed[opcode]
        elif opcode in counted:
            width = counted[opcode]
            length = int.from_bytes(content[at : at + width], "little", signed=opcode in b"T\x8b")
            at += width
            if not 0 <= length <= end - at:
                raise pickle.UnpicklingError(f"a value of {length} bytes, but {max(0, end - at)} are left")
            at += 0 if opcode == _FRAME else length
        elif opcode in lines:
            for _ in range(lines[opcode]):
                start, at = at, content.find(b"\n", at) + 1
                if not at:
                    raise pickle.UnpicklingError("a line without an end")
            if opcode == 0x70 and (at - start > 12 or int(content[start:at]) > end):  # PUT
                raise pickle.UnpicklingError(f"it notes a value at a place beyond its {end} bytes")
        elif opcode == 0x2E:  # STOP
            return
        elif opcode in foreign:
            raise pickle.UnpicklingError("it refers to content outside the file, which is not plain data")
