"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def temporary_path(path: str | Path) -> Path:
    """A new name beside ``path``, to be renamed to it when the file is whole; makes the folders above.

    Beside it, because a file can only be renamed in one step within a file system. It keeps the suffix,
    from which many writers tell the format, and starts with a dot, so that no reader of frame folders takes
    it for a frame.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.with_name(f".{uuid.uuid4().hex}{target.suffix}")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path to write to; it becomes ``path`` when the block ends well and is removed when not.

    Args:
        path: the file to write; an older one is replaced, missing folders are made.

    Raises:
        FileNotFoundError: the block wrote nothing.
    """
    temporary = temporary_path(path)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes_atomic(path: str | Path, content: bytes) -> None:
    """Writes ``content``; see :func:`atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text_atomic(path: str | Path, text: str) -> None:
    """Writes ``text`` as UTF-8 with plain line feeds; see :func:`atomic_path`."""
    write_bytes_atomic(path, text.encode("utf-8"))


def write_json_atomic(path: str | Path, content: Any, indent: int | None = None) -> None:
    """Writes ``content`` as JSON that ends in a line feed; see :func:`atomic_path`.

    Args:
        path: the file to write.
        content: what :mod:`json` can write; letters beyond ASCII stay as they are.
        indent: spaces per level; ``None`` for one line.
    """
    write_text_atomic(path, json.dumps(content, ensure_ascii=False, indent=indent) + "\n")
