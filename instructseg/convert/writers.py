"""Atomic writing of checkpoint folders, shard by shard."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from instructseg.files import share, temporary_path
from instructseg.out_of_memory import gib

SHARD_BYTES = 2 << 30
"""Largest shard, and most memory while writing."""


@contextmanager
def new_folder(
    target: str | Path, overwrite: bool, nbytes: int = 0, sources: Sequence[Path] = ()
) -> Iterator[Path]:
    """A temporary folder beside ``target`` that takes its place when the block ends without an error.

    Args:
        nbytes: expected size in bytes.
        sources: files and folders being read, which must not be replaced.

    Raises:
        FileExistsError: ``target`` exists and ``overwrite`` is false.
        ValueError: ``target`` is one of the sources, or holds one.
        OSError: the disk has less room than ``nbytes``.
    """
    target = Path(target)
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists; choose another place or pass overwrite=True")
    place = target.resolve()
    for source in sources:
        if place == source.resolve() or place in source.resolve().parents:
            raise ValueError(f"{target} holds {source}, which is read: choose another place to write to")
    target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free
    if free < nbytes:
        needed = f"{gib(nbytes)} needed, {gib(free)} free"
        raise OSError(errno.ENOSPC, f"not enough room for a checkpoint ({needed})", str(target))
    temporary = temporary_path(target)
    temporary.mkdir()  # not by tempfile: others may read the result as the user's umask says
    try:
        yield temporary
        replace_folder(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_folder(source: Path, target: Path) -> None:
    """Puts ``source`` in the place of ``target``, whose old content is removed."""
    if target.exists():
        old = temporary_path(target)
        target.replace(old)
        source.replace(target)
        if old.is_dir():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.unlink()
    else:
        source.replace(target)


def write_tensors(file: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Writes one safetensors file; raises ``OSError`` that names it where the disk refuses."""
    try:
        save_file({k: v.contiguous() for k, v in tensors.items()}, file, metadata={"format": "pt"})
        share(file)
    except (SafetensorError, OSError) as error:
        raise OSError(f"writing {file} failed ({error}); is the disk full?") from error


def write_json(file: Path, value: Any) -> None:
    """Writes ``value`` indented, keys in order."""
    file.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


class ShardWriter:
    """Writes ``model.safetensors``, in shards with an index where it is larger than :data:`SHARD_BYTES`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, torch.Tensor] = {}
        self._held_bytes = 0
        self._shards: list[list[str]] = []
        self.nbytes = 0

    def add(self, name: str, tensor: torch.Tensor) -> None:
        """Takes a copy of ``tensor``."""
        if self._held and self._held_bytes + tensor.nbytes > SHARD_BYTES:
            self._flush()
        self._held[name] = tensor.clone(memory_format=torch.contiguous_format)
        self._held_bytes += tensor.nbytes
        self.nbytes += tensor.nbytes

    def close(self) -> None:
        """Writes the remaining tensors, gives the shards their final names and writes the index."""
        self._flush()
        if len(self._shards) == 1:
            self._part(0).replace(self._folder / "model.safetensors")
            return
        mapping = {}
        for i, names in enumerate(self._shards):
            file = f"model-{i + 1:05d}-of-{len(self._shards):05d}.safetensors"
            self._part(i).replace(self._folder / file)
            mapping.update(dict.fromkeys(names, file))
        index = {"metadata": {"total_size": self.nbytes}, "weight_map": mapping}
        write_json(self._folder / "model.safetensors.index.json", index)

    def _part(self, number: int) -> Path:
        return self._folder / f"part-{number}.safetensors"

    def _flush(self) -> None:
        write_tensors(self._part(len(self._shards)), self._held)
        self._shards.append(list(self._held))
        self._held, self._held_bytes = {}, 0
