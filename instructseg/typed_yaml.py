"""Strict parsing of YAML files and command-line words to nested dataclasses.

A file may inherit from another by ``_base_: other.yaml`` (relative to itself, or of the package) and may use
the interpolations of omegaconf. An error names the file, the full dotted key and the closest valid key.
"""

from __future__ import annotations

import math
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from instructseg.files import printable
from instructseg.shipped import find_config
from instructseg.yaml_text import DEEPEST, fill, parse, read_text

LARGEST = 1 << 63
"""Whole numbers are smaller."""
T = TypeVar("T")
Tree = dict[str, Any]


class Origins:
    """Source (file or command line) of each dotted key.

    Args:
        main: source of what is not there.
    """

    def __init__(self, main: str | Path = "configuration") -> None:
        self._main, self._sources = str(main), dict[str, str]()

    def note(self, tree: Tree, source: str) -> None:
        """Records ``source`` for every key of ``tree``."""
        self._sources.update(dict.fromkeys(_keys(tree), source))

    def of(self, key: str) -> str:
        """The source of ``key``, or of the deepest known key around it."""
        while key not in self._sources and "." in key:
            key = key.rpartition(".")[0]
        return self._sources.get(key, self._main)


def read_tree(path: Path, origins: Origins) -> Tree:
    """Reads a file, or the shipped one of that name, over its bases; interpolations stay as they are.

    Raises:
        FileNotFoundError: when the file or a base of it is missing.
        ValueError: when it is no YAML mapping, or inherits from itself.
    """
    return _read(find_config(path), origins, ())


def read_words(words: Sequence[str], origins: Origins) -> Tree:
    """Reads ``dotted.key=value`` words; a value is written as in YAML."""
    tree: Tree = {}
    for word in words:
        key, equals, value = word.partition("=")
        parts = key.split(".")
        if not equals or not all(part and not set(part) & set("[]{}$") for part in parts):
            raise ValueError(f"command line: expected KEY=VALUE, got {_short(word)}")
        if len(parts) > DEEPEST:
            raise ValueError(f"command line: {_short(key)}: no key has more than {DEEPEST} parts")
        # as the value of a file, so that "a b", 1e-3 and [x] mean the same in both
        entries: Any = parse(f"- {value}", f"command line: {key}")
        if not isinstance(entries, list) or len(entries) != 1:
            raise ValueError(f"command line: {key}: expected one value, got {_short(value)}")
        (made,) = entries
        _check_values(made, "command line", key)
        for part in reversed(parts):
            made = {part: made}
        tree = merge(tree, made)
    origins.note(tree, "command line")
    return tree


def merge(base: Tree, top: Mapping[str, Any]) -> Tree:
    """``top`` over ``base``, mappings key by key, anything else as a whole; neither is changed."""
    merged = dict(base)
    for key, value in top.items():
        both = isinstance(merged.get(key), dict) and isinstance(value, dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def resolve(tree: Tree, where: str) -> Tree:
    """Fills in the interpolations; ``where`` names the file.

    Raises:
        ValueError: one cannot be filled in.
    """
    return fill(tree, where)


def build(cls: type[T], tree: Tree, origins: Origins) -> T:
    """Makes the dataclass ``cls`` and those inside it.

    Raises:
        ValueError: on an unknown key, a value of a wrong type, a missing value, or one that the
            dataclass refuses.
    """
    made: T = _Builder(cls, origins, "").make(cls, tree, "")
    return made


class _Builder:
    """Builds the dataclass ``root`` below the dotted key ``prefix``."""

    def __init__(self, root: Any, origins: Origins, prefix: str) -> None:
        self.valid = sorted(_valid_keys(root, prefix))
        self.origins = origins

    def make(self, cls: Any, tree: Any, key: str) -> Any:
        if not isinstance(tree, dict):
            raise self.error(key, f"expected a mapping, got {_short(tree)}")
        hints = get_type_hints(cls)
        required = {entry.name for entry in fields(cls) if entry.default is entry.default_factory is MISSING}
        for name in tree:
            if name not in hints:
                raise self.error(
                    wrong := _join(key, name), f"unknown key; the closest is '{self.closest(wrong)}'"
                )
        for name in sorted(required - tree.keys()):
            raise self.error(_join(key, name), "needs a value")
        values = {name: self.convert(hints[name], value, _join(key, name)) for name, value in tree.items()}
        try:
            return cls(**values)
        except (ValueError, TypeError, OverflowError) as error:
            raise self.error(key, str(error)) from error

    def convert(self, hint: Any, value: Any, key: str) -> Any:
        """Converts ``value`` to the type ``hint``; YAML has neither tuples, paths nor integral floats."""
        origin, arguments = get_origin(hint), get_args(hint)
        self.check_numbers(value, key)
        if hint is Any:
            return value
        if is_dataclass(hint):
            return self.make(hint, value, key)
        if origin in (Union, types.UnionType):
            if value is None and type(None) in arguments:
                return None
            inner = [argument for argument in arguments if argument is not type(None)]
            return self.convert(next((a for a in inner if type(value) is a), inner[0]), value, key)
        if origin is Literal and value in arguments:
            return value
        if origin is dict and isinstance(value, dict):
            kind: Any = arguments[1]
            keys = {name: _join(key, str(name)) for name in value}
            if is_dataclass(kind):  # its valid keys are searched on their own
                return {
                    n: _Builder(kind, self.origins, keys[n]).make(kind, v, keys[n]) for n, v in value.items()
                }
            return {name: self.convert(kind, item, keys[name]) for name, item in value.items()}
        if origin in (list, tuple) and isinstance(value, list):
            inner = list(arguments)
            if origin is list or arguments[1:] == (...,):
                inner = [arguments[0]] * len(value)
            if len(inner) == len(value):
                pairs = enumerate(zip(inner, value, strict=True))
                return origin(self.convert(kind, item, f"{key}.{place}") for place, (kind, item) in pairs)
        if hint is float and type(value) is int:
            return float(value)
        if hint is Path and isinstance(value, str):
            return Path(value)
        if isinstance(hint, type) and issubclass(hint, Enum):
            members = {member.value: member for member in hint}
            if isinstance(value, str) and value in members:
                return members[value]
            raise self.error(key, f"expected one of {', '.join(members)}, got {_short(value)}")
        if isinstance(hint, type) and type(value) is hint:
            return value
        wanted = hint.__name__ if isinstance(hint, type) and not arguments else str(hint).replace("typing.", "")
        raise self.error(key, f"expected {wanted}, got {_short(value)}")

    def check_numbers(self, value: Any, key: str) -> None:
        """Refuses infinity, NaN and integers beyond 64 bits."""
        if isinstance(value, float) and not math.isfinite(value):
            raise self.error(key, f"expected a finite number, got {value}")
        if isinstance(value, int) and abs(value) >= LARGEST:
            raise self.error(key, "a whole number of more than 64 bits is too large")
        items = value.items() if isinstance(value, dict) else enumerate(value) if type(value) is list else ()
        for name, item in items:
            self.check_numbers(item, f"{key}.{name}")

    def closest(self, key: str) -> str:
        """Key of the same name elsewhere, or else the most similar one."""
        elsewhere = [valid for valid in self.valid if valid.rpartition(".")[2] == key.rpartition(".")[2]]
        return get_close_matches(key, elsewhere or self.valid, n=1, cutoff=0.0)[0]

    def error(self, key: str, message: str) -> ValueError:
        where = printable(key, 200)
        return ValueError(": ".join(part for part in (self.origins.of(key), where, message) if part))


def _read(path: Path, origins: Origins, above: tuple[Path, ...]) -> Tree:
    if path.resolve() in [file.resolve() for file in above]:
        raise ValueError(f"{path}: inherits from itself, by way of {above[-1]}: take a _base_ out")
    if len(above) >= DEEPEST:
        raise ValueError(f"{path}: the {DEEPEST}th _base_ in a row: inherit from fewer files")
    tree = parse(read_text(path), str(path))
    if not isinstance(tree, dict):
        raise ValueError(f"{path}: expected a mapping, got {_short(tree)}")
    _check_values(tree, path, "")
    base = tree.pop("_base_", None)
    if not (base is None or isinstance(base, str)):
        raise ValueError(f"{path}: _base_: expected the name of a file, got {_short(base)}")
    below = _read(_base_of(path, base), origins, (*above, path)) if base else {}
    origins.note(tree, str(path))
    return merge(below, tree)


def _base_of(path: Path, base: str) -> Path:
    """The file that ``path`` inherits from: beside it, or of the package."""
    beside = path.parent / base
    try:
        return beside if beside.is_file() else find_config(base.lstrip("./"))
    except FileNotFoundError:
        raise FileNotFoundError(f"no configuration file {beside}, the base of {path}") from None


def _check_values(value: Any, path: Path | str, key: str) -> None:
    """Raises ``ValueError`` where a key of a mapping is no word."""
    if isinstance(value, dict):
        for name, item in value.items():
            if not isinstance(name, str):
                where = f"{path}: {key}" if key else str(path)
                raise ValueError(f"{where}: the key {_short(name)} is no word: put it in quotes, or correct it")
            _check_values(item, path, _join(key, name))
    for place, item in enumerate(value if isinstance(value, list) else ()):
        _check_values(item, path, f"{key}.{place}")


def _short(value: Any) -> str:
    """The value as it is shown in an error, in one line."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _keys(tree: Tree, prefix: str = "") -> Iterator[str]:
    for name, value in tree.items():
        yield _join(prefix, str(name))
        if isinstance(value, dict):
            yield from _keys(value, _join(prefix, str(name)))


def _valid_keys(cls: Any, prefix: str = "") -> Iterator[str]:
    for name, hint in get_type_hints(cls).items():
        yield _join(prefix, name)
        choices = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
        for choice in filter(is_dataclass, choices):  # also where a section may be left out
            yield from _valid_keys(choice, _join(prefix, name))
