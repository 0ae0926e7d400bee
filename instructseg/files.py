"""Files that are written whole or not at all, the one reader of JSON, and names that stay below a folder."""

from __future__ import annotations

import json
import os
import platform
import re
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def temporary_path(path: str | Path) -> Path:
    """A new name beside ``path``, to be renamed to it when the file is whole; makes the folders above.

    Beside it, because a file can only be renamed in one step within a file system. It keeps the suffix,
    from which many writers tell the format, and starts with a dot, so that no reader of frame folders takes
    it for a frame. It also names this machine and process, so that :func:`is_abandoned` can tell when nobody
    is left to rename it.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.with_name(f".instructseg-{host()}-{os.getpid()}-{uuid.uuid4().hex[:16]}{target.suffix}")


_TEMPORARY = re.compile(r"\.instructseg-([0-9a-f]{8})-(\d{1,10})-[0-9a-f]{16}(\.\w+)?")


def host() -> str:
    """This machine in eight hexadecimal digits."""
    return f"{zlib.crc32(platform.node().encode('utf-8', 'replace')):08x}"


def is_running(process: int) -> bool:
    """Whether a process of this machine runs; true where the system cannot be asked without harm (Windows)."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def is_abandoned(path: Path) -> bool:
    """Whether a path is a temporary file (:func:`temporary_path`) of an ended process of this machine."""
    name = _TEMPORARY.fullmatch(path.name)
    return name is not None and name[1] == host() and not is_running(int(name[2]))


def remove_abandoned(folder: Path) -> int:
    """Removes the temporary files that killed processes left right in ``folder``; returns how many.

    Only plain files of the names that :func:`temporary_path` gives, of this machine, whose process has ended.
    """
    count = 0
    for path in folder.glob(".instructseg-*") if folder.is_dir() else ():
        if is_abandoned(path) and path.is_file() and not path.is_symlink():
            path.unlink(missing_ok=True)
            count += 1
    return count


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path to write to; it becomes ``path`` when the block ends well and is removed when not.

    Args:
        path: the file to write; an older one is replaced, missing folders are made.

    Raises:
        FileNotFoundError: the block wrote nothing.
        OSError: the disk is full, for example; names ``path``.
    """
    temporary = temporary_path(path)
    try:
        yield temporary
        if temporary.is_file():
            share(temporary)
        temporary.replace(path)
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # a write knows its descriptor alone
    finally:
        temporary.unlink(missing_ok=True)


def share(path: str | Path) -> None:
    """Gives a file the permissions that files made here have, as the user's umask says.

    Writers that make their files by themselves, such as that of safetensors, leave them to their owner alone.
    """
    file = Path(path)
    probe = temporary_path(file)
    try:
        probe.touch()
        file.chmod(probe.stat().st_mode & 0o777)
    finally:
        probe.unlink(missing_ok=True)


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


def read_json(
    path: str | Path,
    object_hook: Callable[[dict[str, Any]], Any] | None = None,
    pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None,
) -> Any:
    """Returns the content of a JSON file; every JSON file of the package is read here.

    Args:
        path: a file in UTF-8, UTF-16 or UTF-32, with or without a byte order mark (Windows programs write one).
        object_hook: applied to every object as it is parsed, so that it need not be kept as it is.
        pairs_hook: likewise, but given keys and values in order, so that a key may be seen twice.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as :func:`parse_json`; names the file.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing")
    return parse_json(file.read_bytes(), str(file), object_hook, pairs_hook)


def read_object(path: str | Path) -> dict[str, Any]:
    """The object in a JSON file; raises as :func:`read_json`, and for another value."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds a {type(value).__name__}, not an object")
    return value


def parse_json(
    raw: str | bytes,
    where: str,
    object_hook: Callable[[dict[str, Any]], Any] | None = None,
    pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None,
) -> Any:
    """Returns the value of a JSON document, or of one line of a JSON-lines file.

    Args:
        raw: the document; bytes in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.
        where: the file, and the line where it has several, for the error.
        object_hook: as of :func:`json.loads`.
        pairs_hook: its ``object_pairs_hook``.

    Raises:
        ValueError: it is no JSON, is encoded otherwise, holds text that UTF-8 cannot express (half of a
            surrogate pair), or is nested too deeply; in one line.
    """
    try:
        text = raw if isinstance(raw, str) else raw.decode(json.detect_encoding(raw))
        text = text.removeprefix("\ufeff")
        value = json.loads(text, object_hook=object_hook, object_pairs_hook=pairs_hook)
        if "\\ud" in text or "\\uD" in text:  # the only way by which half a pair gets into decoded text
            json.dumps(value, ensure_ascii=False, default=str).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{where} holds text that is no Unicode (half of a surrogate pair): write it again in UTF-8"
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{where} is not encoded in UTF-8 ({error.reason}): save it in UTF-8") from error
    except RecursionError as error:
        raise ValueError(f"{where} is nested too deeply for a file of its kind: it is damaged") from error
    except ValueError as error:
        raise ValueError(f"{where} is not valid JSON ({error})") from error
    return value


def printable(text: str, most: int = 1000) -> str:
    """One line that any terminal can print, whatever was in a file: other letters are written as escapes.

    Of more than ``most`` letters the middle is left out.
    """
    if len(text) > most:
        text = f"{text[: most // 2]} .. {text[-most // 2 :]}"
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


_LONGEST_NAME = 255  # bytes, of the usual file systems
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def name_fault(name: object, nested: bool = True) -> str:
    """Why a name out of a file cannot become a path below a folder; empty where it can.

    Args:
        name: what the file says.
        nested: whether it may be of several parts, with slashes between.
    """
    if not isinstance(name, str) or not name:
        return "it is no text" if not isinstance(name, str) else "it is empty"
    if any(ord(letter) < 32 or letter == "\x7f" or "\ud800" <= letter <= "\udfff" for letter in name):
        return "it has a letter that no file name has"
    if "\\" in name or name.startswith("/") or re.match("[A-Za-z]:", name):
        return "it has a backslash" if "\\" in name else "it is an absolute path"
    parts = name.split("/")
    if len(parts) > 1 and not nested:
        return "it has a slash"
    for part in parts:
        if part in ("", ".", ".."):
            return f"it has the part {part!r}"
        if len(part.encode()) > _LONGEST_NAME:
            return "it is longer than a file name may be"
        if _DEVICES.fullmatch(part):
            return f"{part!r} is the name of a device on Windows"
    return ""


def path_below(folder: str | Path, name: str, links: bool = False) -> Path:
    """A path below ``folder`` from a name that a file says; every such name becomes a path here.

    Args:
        folder: to stay in.
        name: parts with slashes between.
        links: whether symbolic links may lead out of the folder, as they may where files are read.

    Raises:
        ValueError: it would lead elsewhere, or is no name of a file; names it.
    """
    if fault := name_fault(name):
        raise ValueError(f"{name!r} is no name of a file below {folder}: {fault}")
    path = Path(folder) / name
    if not links and not path.resolve().is_relative_to(Path(folder).resolve()):
        raise ValueError(f"{path} leads out of {folder} by a symbolic link: remove the link")
    return path
