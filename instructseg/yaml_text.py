"""YAML text to plain values, within size limits; errors are one line."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

MOST_BYTES = 1 << 20
MOST_VALUES = 50_000
DEEPEST = 40
MOST_FILLED = 1_000_000
"""Letters and values after interpolation."""
_UNKNOWN = MOST_FILLED // 100
"""Taken for the value of an interpolation that is not understood here."""
_REFERENCE = re.compile(r"\$\{([^${}]*)\}")
_BROKEN = (
    yaml.YAMLError,
    OmegaConfBaseException,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    AssertionError,
    OverflowError,
    RecursionError,
)
"""Exceptions of PyYAML and omegaconf on invalid text."""


def read_text(path: Path) -> str:
    """The text of a configuration, in UTF-8 or, with a byte order mark, UTF-16.

    Raises:
        ValueError: it is larger than :data:`MOST_BYTES` or encoded otherwise.
    """
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path}: more than {MOST_BYTES >> 20} MiB is no configuration: choose another file")
    raw = path.read_bytes()
    try:
        wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return raw.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not encoded in UTF-8 ({error.reason}): save it in UTF-8") from error


def parse(text: str, where: str) -> Any:
    """The value of a YAML document; interpolations stay as they are.

    Args:
        text: the document.
        where: the file, or the command line, for errors.

    Raises:
        ValueError: it is no YAML, or grows beyond the limits by its anchors; in one line.
    """
    try:
        _check_size(text, where)
        loaded = OmegaConf.create(text)
        return OmegaConf.to_container(loaded, resolve=False)
    except _TooMuch:
        raise
    except _BROKEN as error:
        raise ValueError(f"{where}: not YAML: {one_line(error)}") from error


def fill(tree: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Fills in the interpolations.

    Raises:
        ValueError: one leads nowhere or in a circle, or they grow beyond :data:`MOST_FILLED`; in one line.
    """
    try:
        if _Cost(tree).of(tree) > MOST_FILLED:
            raise ValueError(f"they grow beyond {MOST_FILLED:,} values and letters: write them out")
        filled: dict[str, Any] = OmegaConf.to_container(OmegaConf.create(dict(tree)), resolve=True)  # type: ignore[assignment]
    except _BROKEN as error:
        raise ValueError(f"{where}: cannot fill in an interpolation: {one_line(error)}") from error
    return filled


def one_line(error: Exception) -> str:
    """The error in one line of bounded length."""
    return " ".join(str(error).split())[:300] or type(error).__name__


class _TooMuch(ValueError):
    """The text grows beyond a limit."""


def _check_size(text: str, where: str) -> None:
    """Counts values as they are with all anchors written out, without writing them out.

    Raises:
        ValueError: too many or too deep, or an anchor inside itself.
    """
    sizes: dict[str, int] = {}
    open_ones: list[tuple[str | None, int]] = []  # anchor, values before it
    total = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        anchor = getattr(event, "anchor", None)
        if isinstance(event, yaml.AliasEvent):
            if anchor in {name for name, _ in open_ones}:
                raise _TooMuch(f"{where}: the anchor '{anchor}' is used inside itself: write it out")
            total += sizes.get(anchor or "", 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            open_ones.append((anchor, total))
            total += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            name, before = open_ones.pop()
            if name is not None:
                sizes[name] = total - before
        elif isinstance(event, yaml.ScalarEvent):
            total += 1 + len(event.value) // 100
        if len(open_ones) > DEEPEST:
            raise _TooMuch(f"{where}: nested more than {DEEPEST} deep, which no configuration is: flatten it")
        if total > MOST_VALUES:
            raise _TooMuch(
                f"{where}: more than {MOST_VALUES:,} values (anchors written out): no configuration is so large"
            )


class _Cost:
    """Size of a tree with interpolations filled in, computed without filling; capped at the limit."""

    def __init__(self, tree: Mapping[str, Any]) -> None:
        self.known: dict[str, int] = {}
        self.named: dict[str, list[Any]] = {}
        self._note("", tree)

    def _note(self, name: str, value: Any) -> None:
        self.named.setdefault(name, []).append(value)
        items = value.items() if isinstance(value, Mapping) else enumerate(value) if type(value) is list else ()
        for inner, item in items:
            self._note(str(inner), item)

    def of(self, value: Any) -> int:
        if isinstance(value, Mapping):
            return min(1 + sum(len(str(key)) + self.of(item) for key, item in value.items()), MOST_FILLED + 1)
        if isinstance(value, list):
            return min(1 + sum(map(self.of, value)), MOST_FILLED + 1)
        if not isinstance(value, str):
            return 1
        references = _REFERENCE.findall(value)
        nested = (value.count("${") - len(references)) * _UNKNOWN
        return min(1 + len(value) + nested + sum(map(self._target, references)), MOST_FILLED + 1)

    def _target(self, reference: str) -> int:
        """Largest cost of any value with the last name of a reference."""
        name = re.split(r"[.\[\]]", reference.strip().rstrip("]"))[-1]
        if name not in self.known:
            self.known[name] = 1  # while it is looked at: circles are found when they are filled in
            self.known[name] = max(map(self.of, self.named.get(name, [])), default=_UNKNOWN)
        return self.known[name]
