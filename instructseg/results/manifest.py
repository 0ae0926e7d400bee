"""Record of the results in a folder: replaceable files, finished inputs, active runs.

It is a hidden, append-only file of JSON lines in that folder. Before writing, a run adds a line ``begun``
with its targets (names of files or folders below that folder); after each input, a line ``done`` (or
``partial``) with their content. Lines have one order for all processes: of two runs that begin the same target,
the first has it, and the second raises an error.

Nothing in the file is trusted. Its names only serve to recognize files found within a result folder: a missing
or forged record can make a file ours or foreign, but leads nowhere else.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from instructseg.files import host, is_abandoned, is_running, parse_json, remove_abandoned

NAME = ".instructseg.jsonl"
"""File name of the record."""
MAX_BYTES = 256 << 20
"""Largest record that is read."""

_NUMBER = re.compile(r"\d{5,9}")
_FURTHER = re.compile(r"-\d+(?=$|\.\w+$)")
_SUFFIXES = (".png", ".txt", ".xml", ".json", ".csv")


@dataclass(frozen=True)
class Content:
    """Files within a result folder.

    A name stands for further objects, too: ``1-dog`` for ``1-dog-2``.

    Attributes:
        files: names of files right in it.
        frames: names of the folders in it (``""`` for itself) that hold a file per frame.
        stems: names of these files without suffix; empty for ``00000`` and so on.
        suffix: of these files.
    """

    files: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    stems: tuple[str, ...] = ()
    suffix: str = ".png"

    def owns(self, inside: Path) -> bool:
        """True for files of this content, by path relative to the folder."""
        *folders, name = inside.parts
        if not folders and {name, _FURTHER.sub("", name)} & set(self.files):
            return inside.suffix in _SUFFIXES
        folder = folders[0] if folders else ""
        if len(folders) > 1 or not {folder, _FURTHER.sub("", folder)} & set(self.frames):
            return False
        stem = name.removesuffix(self.suffix)
        known = stem in self.stems if self.stems else bool(_NUMBER.fullmatch(stem))
        return known and name.endswith(self.suffix) and self.suffix in _SUFFIXES


@dataclass
class Target:
    """Latest state of one file or folder.

    Attributes:
        contents: content of all runs.
        run: the last run.
        owner: ``(machine, process, since)`` of that run while active.
        job: its inputs and settings, once done.
    """

    contents: list[Content] = field(default_factory=list)
    run: str = ""
    owner: tuple[str, int, str] | None = None
    job: dict[str, Any] | None = None

    def is_busy(self) -> bool:
        """True while another run of this machine is writing it."""
        if self.owner is None or self.owner[0] != host():
            return False
        return is_running(self.owner[1]) and _since(self.owner[1]) == self.owner[2]


class Manifest:
    """Record of one folder, for one run.

    Args:
        folder: of the results; need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / NAME
        self.run = uuid.uuid4().hex[:16]
        self.targets: dict[str, Target] = {}
        """Recorded state by name of the target."""
        self._begun: dict[str, Content | None] = {}
        self.refresh()

    def refresh(self) -> None:
        """Reads the record anew."""
        self.targets = {}
        for row in self._rows():
            self._take(row)

    def begin(self, targets: Mapping[Path, Content | None]) -> None:
        """Reserves targets for this run, before the first is written.

        Args:
            targets: with the future content of folders.

        Raises:
            ValueError: another run is writing one.
            OSError: the record cannot be written.
        """
        contents = {self.name(path): content for path, content in targets.items()}
        self.folder.mkdir(parents=True, exist_ok=True)
        self._append("begun", contents)
        first: dict[str, str] = {}
        busy: dict[str, Target] = {}
        for row in self._rows():
            for name in row["targets"]:
                self._follow(first, busy, name, row)
        for name in contents:
            if first.get(name, self.run) != self.run:
                self._append("released", contents)
                raise ValueError(busy_line(self.folder / name, busy[name]))
        self._begun |= contents
        self.refresh()

    def finish(self, paths: Sequence[Path], job: dict[str, Any], complete: bool) -> None:
        """Records the results of one input.

        Args:
            paths: its targets.
            job: inputs and settings.
            complete: whether all frames are written.
        """
        names = {self.name(path): self._begun.get(self.name(path)) for path in paths}
        self._append("done" if complete else "partial", names, job)

    def release(self) -> None:
        """Releases targets begun and not finished by this run."""
        if self._begun:
            self._append("released", dict.fromkeys(self._begun))

    def name(self, path: Path) -> str:
        """Name of a target in the record."""
        return path.relative_to(self.folder).as_posix()

    def of(self, path: Path) -> Target:
        """Recorded state of a target."""
        return self.targets.get(self.name(path), Target())

    def strangers(self, folder: Path) -> Iterator[Path]:
        """Files in a result folder outside of all recorded contents; those of this run count once it began."""
        contents = self.of(folder).contents
        for path in _files(folder):
            inside = path.relative_to(folder)
            if not any(content.owns(inside) for content in contents) and not is_abandoned(path):
                yield path

    def clear(self, folder: Path) -> None:
        """Removes files of recorded runs from a result folder, and folders emptied by that."""
        contents = self.of(folder).contents
        for path in list(_files(folder)):
            if any(content.owns(path.relative_to(folder)) for content in contents) and not path.is_symlink():
                path.unlink()
        for path in [*(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()), folder]:
            remove_abandoned(path)
            if path != folder and not any(path.iterdir()):
                path.rmdir()

    def _append(
        self, state: str, targets: Mapping[str, Content | None], job: dict[str, Any] | None = None
    ) -> None:
        row: dict[str, Any] = {
            "run": self.run,
            "state": state,
            "owner": [host(), os.getpid(), _since(os.getpid())],
            "targets": {
                name: None if content is None else asdict(content) for name, content in targets.items()
            },
        }
        if job is not None:
            row["job"] = job
        line = json.dumps(row) + "\n"  # in ASCII, in one call: lines of two processes never mix
        torn = not self.path.is_symlink() and _is_torn(self.path)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        file = os.open(self.path, flags, 0o666)
        try:
            os.write(file, ("\n" * torn + line).encode("ascii"))
        finally:
            os.close(file)

    def _rows(self) -> Iterator[dict[str, Any]]:
        """All valid lines; others, such as a torn one, are ignored."""
        if self.path.is_symlink() or not self.path.is_file() or self.path.stat().st_size > MAX_BYTES:
            return
        for line in self.path.read_bytes().splitlines():
            try:
                row = parse_json(line, str(self.path))
            except ValueError:
                continue
            if (
                isinstance(row, dict)
                and isinstance(row.get("run"), str)
                and isinstance(row.get("targets"), dict)
            ):
                yield row

    def _take(self, row: dict[str, Any]) -> None:
        state, owner = row.get("state"), _owner(row.get("owner"))
        for name, given in row["targets"].items():
            target = self.targets.setdefault(name, Target())
            content = _content(given)
            if content is not None and content not in target.contents:
                target.contents.append(content)
            if state == "begun":
                if target.run == row["run"] or not target.is_busy():
                    target.run, target.owner, target.job = row["run"], owner, None
            elif target.run == row["run"]:
                target.owner = None
                if state in ("done", "partial"):
                    job = row.get("job")
                    target.job = job if state == "done" and isinstance(job, dict) else None

    def _follow(self, first: dict[str, str], busy: dict[str, Target], name: str, row: dict[str, Any]) -> None:
        """Updates, by one line, the first active run of a target."""
        if row.get("state") != "begun":
            if first.get(name) == row["run"]:
                del first[name]
            return
        target = Target(run=row["run"], owner=_owner(row.get("owner")))
        if name not in first and (row["run"] == self.run or target.is_busy()):
            first[name], busy[name] = row["run"], target


def busy_line(path: Path, target: Target) -> str:
    """Message for a target in use."""
    process = target.owner[1] if target.owner else "?"
    return f"another run (process {process}) is writing {path}: wait for it, or choose another --output"


def _is_torn(path: Path) -> bool:
    """True for a last line without end: its writer was killed, or the disk was full."""
    if not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _content(given: Any) -> Content | None:
    """Content of a folder by a line; anything but plain names is ignored."""
    if not isinstance(given, dict):
        return None
    lists = [given[key] if isinstance(given.get(key), list) else [] for key in ("files", "frames", "stems")]
    files, frames, stems = (tuple(name for name in names if isinstance(name, str)) for names in lists)
    return Content(files, frames, stems, str(given.get("suffix", ".png")))


def _owner(given: Any) -> tuple[str, int, str] | None:
    if isinstance(given, list) and len(given) == 3:
        machine, process, since = given
        if isinstance(machine, str) and isinstance(process, int) and isinstance(since, str) and process > 0:
            return machine, process, since
    return None


def _files(folder: Path) -> Iterator[Path]:
    """All files and links in a folder; links are not followed."""
    for parent, folders, names in os.walk(folder, followlinks=False):
        yield from (Path(parent, name) for name in names)
        yield from (Path(parent, name) for name in folders if Path(parent, name).is_symlink())


def _since(process: int) -> str:
    """Start of a process, in ticks since boot; empty if unknown (Linux only)."""
    try:
        text = Path(f"/proc/{process}/stat").read_bytes().decode("ascii", "replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[19]
