"""Images and videos inside WebDataset shards (``.tar``) and Parquet tables."""

from __future__ import annotations

import functools
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from instructseg.files import name_fault, parse_json
from instructseg.results import Item

ARCHIVES = (".tar", ".parquet")
"""Suffixes of archives."""
_CONTENT = ("image", "video", "jpg", "jpeg", "png", "webp", "mp4", "bytes", "content")
_KEYS = ("__key__", "key", "id", "name", "file_name", "filename", "path")
_PROMPTS = ("prompts", "prompt", "instructions", "instruction")
_MAX_TEXT = 1 << 20


def members(path: Path, suffixes: Sequence[str]) -> list[Item]:
    """The images or videos of an archive, without their content.

    A member of a shard is called by its key (``0001`` of ``0001.jpg``); ``0001.txt`` (a prompt per line) or
    ``prompt`` in ``0001.json`` are its own prompts. A table has the content in the column ``image`` or
    ``video`` (bytes, or a record with ``bytes``), and names and prompts in columns such as ``key``, ``prompt``.

    Raises:
        ValueError: it is damaged, compressed, or has a name that leads out of a folder.
        ModuleNotFoundError: Parquet is not installed.
    """
    found = _shard(path, suffixes) if path.suffix.lower() == ".tar" else _table(path, suffixes)
    items = list(found)
    for item in items:
        if fault := name_fault(item.name):
            raise ValueError(f"{item} cannot be the name of a result: {fault}")
    return items


def read_member(item: Item) -> bytes:
    """Content of an item of :func:`members`.

    Raises:
        ValueError: the archive has changed.
    """
    assert item.place is not None
    if item.path.suffix.lower() == ".tar":
        offset, size = item.place
        with item.path.open("rb") as file:
            file.seek(offset)
            content = file.read(size)
        if len(content) < size:
            raise ValueError(f"{item} is cut: the shard is shorter than when it was listed")
        return content
    group, row = item.place
    value = _row_group(str(item.path), group)[row]
    held = value.get("bytes") if isinstance(value, Mapping) else value
    if not isinstance(held, bytes):
        raise ValueError(f"{item} holds no bytes: its column is the content of images or videos")
    return held


def _shard(path: Path, suffixes: Sequence[str]) -> Iterator[Item]:
    places: dict[str, tuple[str, tuple[int, int]]] = {}
    prompts: dict[str, tuple[str, ...]] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for entry in archive:
                if not entry.isfile():
                    continue
                place = PurePosixPath(entry.name)
                key = str(place.with_name(place.name.partition(".")[0]))
                if place.suffix.lower() in suffixes:
                    places.setdefault(key, (entry.name, (entry.offset_data, entry.size)))
                elif place.suffix.lower() in (".txt", ".json") and entry.size <= _MAX_TEXT:
                    file = archive.extractfile(entry)
                    assert file is not None
                    prompts[key] = _prompts(file.read(), f"{path}:{entry.name}") or prompts.get(key, ())
    except (tarfile.TarError, EOFError) as error:
        told = "no WebDataset shard, or compressed: shards are plain .tar files"
        raise ValueError(f"{path} is {told} ({error})") from error
    for key, (name, where) in places.items():
        yield Item(path, key.removeprefix("./"), f"{path}:{name}", prompts.get(key, ()), where)


def _prompts(content: bytes, where: str) -> tuple[str, ...]:
    """Prompts of a text, or of a JSON record."""
    if where.endswith(".json"):
        return _texts(parse_json(content, where))
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{where} is not encoded in UTF-8") from error
    return tuple(line.strip() for line in lines if line.strip())


def _texts(record: Any) -> tuple[str, ...]:
    """Prompts of a record; none without such a field."""
    if not isinstance(record, Mapping):
        return ()
    value = next((record[name] for name in _PROMPTS if record.get(name)), ())
    given = [value] if isinstance(value, str) else value
    return tuple(text for text in given if isinstance(text, str) and text.strip())


def _table(path: Path, suffixes: Sequence[str]) -> Iterator[Item]:
    table = _open_table(str(path))
    names = table.schema_arrow.names
    content = _content_column(str(path))
    if (content in ("video", "mp4")) != (".mp4" in suffixes):
        return
    wanted = [name for name in names if name in _KEYS + _PROMPTS]
    key = next((name for name in _KEYS if name in names), None)
    for group in range(table.num_row_groups):
        rows = table.read_row_group(group, columns=wanted).to_pylist()
        for row in range(table.metadata.row_group(group).num_rows):
            record = rows[row] if rows else {}
            number = f"{path.stem}-{group}-{row}"
            name = number if key is None else str(PurePosixPath(str(record[key])).with_suffix(""))
            yield Item(path, name, f"{path}:{record[key] if key else number}", _texts(record), (group, row))


@functools.lru_cache(maxsize=8)
def _open_table(path: str) -> Any:
    try:
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise ModuleNotFoundError(f"{path}: Parquet needs an extra package: pip install pyarrow") from error
    try:
        return ParquetFile(path)
    except (ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} is no Parquet table: {error}") from error


def _content_column(path: str) -> str:
    names = _open_table(path).schema_arrow.names
    found = next((name for name in _CONTENT if name in names), None)
    if found is None:
        raise ValueError(f"{path} has no column of images: call it one of {', '.join(_CONTENT)}")
    return found


@functools.lru_cache(maxsize=2)
def _row_group(path: str, group: int) -> list[Any]:
    """Content of a row group; the last ones are kept, as rows are read in order."""
    column = _content_column(path)
    values: list[Any] = _open_table(path).read_row_group(group, columns=[column])[column].to_pylist()
    return values
