"""Results folder of a run: replaces nothing of the user's, and repeats nothing already done."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from instructseg.files import remove_abandoned
from instructseg.results.formats import FORMATS
from instructseg.results.manifest import Content, Manifest, busy_line
from instructseg.results.writer import ResultPaths, format_of_file


@dataclass(frozen=True)
class Item:
    """One image or video.

    Attributes:
        path: a file, or a folder of frames; the archive of a member.
        name: of its results, without suffix; includes folders if inputs are searched recursively.
        source: as it is called, if that is not the path: an address, or a member of an archive.
        prompts: its own; empty for those of the run.
        place: offset and size in an archive, or row of a table; ``None`` for the file itself.
        camera: its number, if it is one.
    """

    path: Path
    name: str
    source: str = ""
    prompts: tuple[str, ...] = ()
    place: tuple[int, ...] | None = None
    camera: int | None = None

    def __str__(self) -> str:
        return self.source or str(self.path)


@dataclass
class Inputs:
    """All images or videos of a run.

    Attributes:
        items: in order, each once, with distinct names.
        batch: whether several inputs are possible; one failure then does not end the run.
        notes: remarks on skipped files.
        folders: the searched folders.
        deep: whether they were searched recursively.
        beside: other files that the run reads.
        kept: whatever must live as long, such as a folder of downloads.
    """

    items: list[Item] = field(default_factory=list)
    batch: bool = False
    notes: list[str] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    deep: bool = False
    beside: list[Path] = field(default_factory=list)
    kept: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class PlannedResult:
    """One input with the places of its results."""

    item: Item
    places: ResultPaths
    instructions: tuple[str, ...]

    def contents(self) -> dict[Path, Content | None]:
        """All places, with the future content of folders."""
        return self.places.contents(self.instructions)


class ResultFolder:
    """Results of one run; a context manager around all writing.

    Args:
        output: a folder, or one file.
        inputs: of the run.
        places: of the results of each input.
        instructions: the prompts.
        options: settings that affect the results, as JSON values.
        overwrite: whether existing results are replaced.

    Attributes:
        todo: remaining inputs.
        instructions: as given.
        done: number of inputs done already, by the record of an earlier run.

    Raises:
        ValueError: a result would replace an input or a foreign file, two inputs share a result, or another
            run is writing one.
    """

    def __init__(
        self,
        output: Path,
        inputs: Inputs,
        places: Sequence[ResultPaths],
        instructions: Sequence[str],
        options: dict[str, Any],
        overwrite: bool,
    ) -> None:
        self.instructions, self._options, self._overwrite = tuple(instructions), options, overwrite
        self._batch = inputs.batch
        plans = [
            PlannedResult(item, one, item.prompts or self.instructions)
            for item, one in zip(inputs.items, places, strict=True)
        ]
        _check_twice(plans)
        check_place(output)
        _check_inputs_stay(output, inputs, plans)
        single = format_of_file(output) is not None
        remove_abandoned(output.parent if single else output)
        self._manifest = None if single else Manifest(output)
        self.todo = [plan for plan in plans if not self._is_done(plan)]
        self.done = len(plans) - len(self.todo)
        for plan in self.todo:
            self._check_room(plan)
        self._plans = plans
        self._output = output
        if self._manifest is not None:
            check_room(self._manifest, dict.fromkeys(_gathered(output, plans).values()))
        self._begun = False

    def __enter__(self) -> ResultFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._manifest is not None and self._begun:
            self._manifest.release()

    def begin(self, plan: PlannedResult) -> None:
        """Makes room for the results of one input; reserves the targets of all before the first.

        Raises:
            ValueError: another run has reserved one of them, or a foreign file is in the way.
        """
        if self._manifest is None:
            return
        if not self._begun:
            targets = [one.contents() for one in self.todo]
            self._manifest.begin({path: content for one in targets for path, content in one.items()})
            self._begun = True
        self._check_room(plan)
        for path, content in plan.contents().items():
            if content is not None and path.is_dir():
                self._manifest.clear(path)

    def finish(self, plan: PlannedResult, complete: bool = True) -> None:
        """Records the written results of one input, if any."""
        if self._manifest is not None and self._begun and plan.places.paths:
            self._manifest.finish(plan.places.paths, self._job(plan), complete)

    def gather(self, others: Sequence[ResultFolder] = ()) -> list[Path]:
        """Writes the files about all inputs, of formats that have one, from the results that are there.

        Args:
            others: of further inputs with results in the same folder.

        Returns:
            The files.
        """
        written = []
        plans = [plan for one in (self, *others) for plan in one._plans]
        for name, path in (_gathered(self._output, plans) if self._manifest else {}).items():
            parts = {plan.item.name: plan.places.targets[name] for plan in plans if name in plan.places.targets}
            done = {item: part for item, part in parts.items() if part.exists()}
            if done and self._manifest is not None:
                self._manifest.begin({path: None})
                FORMATS[name].gather(path, done, self.instructions)
                self._manifest.finish([path], {}, complete=True)
                written.append(path)
        return written

    def _is_done(self, plan: PlannedResult) -> bool:
        """True if an earlier run made the same results of this input.

        Raises:
            ValueError: its results exist and may not be replaced.
        """
        paths = [path for path in plan.places.paths if path.exists() or path.is_symlink()]
        manifest = self._manifest
        for path in plan.places.paths if manifest else ():
            assert manifest is not None
            if manifest.of(path).is_busy():
                raise ValueError(busy_line(path, manifest.of(path)))
        if not paths or self._overwrite:
            return False
        why = "exists"
        if manifest is not None:
            recorded = [manifest.of(path) for path in paths]
            jobs = [target.job for target in recorded]
            unfinished = all(target.run and target.job is None for target in recorded)
            if self._batch and unfinished:
                return False
            other = _differences(jobs[0], self._job(plan)) if jobs[0] else []
            if (
                self._batch
                and not other
                and jobs[0]
                and paths == plan.places.paths
                and jobs.count(jobs[0]) == len(jobs)
            ):
                return True
            why += (
                f", made with {', '.join(other)}" if other else ", left by a run that did not end" * unfinished
            )
        raise ValueError(f"{paths[0]} {why}: choose another --output, or add --overwrite")

    def _check_room(self, plan: PlannedResult) -> None:
        """Checks that only files of recorded runs are replaced."""
        if self._manifest is not None:
            check_room(self._manifest, plan.contents())
            return
        for path in plan.places.paths:
            _check_file(path)

    def _job(self, plan: PlannedResult) -> dict[str, Any]:
        """Everything that results depend on."""
        return {"input": _item_mark(plan.item), "prompts": list(plan.instructions), **self._options}


def check_room(manifest: Manifest, contents: Mapping[Path, Content | None]) -> None:
    """Checks that only files of recorded runs would be replaced.

    Raises:
        ValueError: a foreign file, folder or link is in the way.
    """
    for path, content in contents.items():
        if content is None:
            _check_file(path)
            if path.exists() and not manifest.of(path).run:
                raise ValueError(
                    f"{path} exists, and no recorded run wrote it: move it away, or choose another --output"
                )
            continue
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise ValueError(f"{path} is a link or a file, and would be a folder: choose another --output")
        stranger = next(manifest.strangers(path), None)
        if stranger is not None:
            raise ValueError(
                f"{path} holds {stranger.relative_to(path)}, which no recorded run wrote: move it away, or "
                "choose another --output"
            )


def check_place(output: Path) -> None:
    """Checks that an output can be created.

    Raises:
        ValueError: a file is in the way, or the folder is not writable.
    """
    for place in (output, *output.parents):
        if place.is_dir():
            if not os.access(place, os.W_OK | os.X_OK):
                raise ValueError(f"{place} cannot be written to: choose another --output")
            return
        if place != output and os.path.lexists(place):
            raise ValueError(f"{output} cannot be made: {place} is no folder")


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise ValueError(f"{path} is a folder, and would be a file: choose another --output")


def _differences(earlier: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Settings that differ between two runs, in words."""
    names = [name for name in now if earlier.get(name) != now[name]]
    words = {"input": "another input of that name", "prompts": "other prompts", "model": "another model"}
    return [words.get(name, f"another --{name.replace('_', '-')}") for name in names]


def _item_mark(item: Item) -> list[Any]:
    """Fingerprint of an input: of its file and place, or its address."""
    if item.place is None and item.source:
        return [item.source]
    return [*_mark(item.path), *(item.place or ())]


def _mark(path: Path) -> list[int]:
    """Fingerprint of an input: size and modification time; of a folder, of all its files; empty if missing."""
    if path.is_dir():
        rows = [(file.name, *_mark(file)) for file in sorted(path.iterdir()) if file.is_file()]
        return [len(rows), zlib.crc32(repr(rows).encode("utf-8", "surrogateescape"))]
    if not path.exists():
        return []
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _gathered(output: Path, plans: Sequence[PlannedResult]) -> dict[str, Path]:
    """Files about all inputs, by format."""
    names = dict.fromkeys(name for plan in plans for name in plan.places.targets)
    forms = {name: FORMATS[name] for name in names if FORMATS[name].gathered}
    return {name: output / one.gathered for name, one in forms.items() if len(plans) > 1 or one.gathers_one}


def _check_twice(plans: Iterable[PlannedResult]) -> None:
    """Checks that no two inputs share a result."""
    seen: set[Path] = set()
    for plan in plans:
        for path in plan.places.paths:
            if path in seen:
                raise ValueError(
                    f"two images would be written to {path}: give --output a folder, and rename one where "
                    "their names differ in the suffix only"
                )
            seen.add(path)


def _check_inputs_stay(output: Path, inputs: Inputs, plans: Sequence[PlannedResult]) -> None:
    """Checks that no result is an input or a folder around one, under any name or link.

    Nor may results become inputs of the next run.
    """
    paths = [*(item.path for item in inputs.items), *inputs.folders]
    paths = [path for path in paths if path.exists()]  # an address is not downloaded yet
    kept = {_identity(path) for path in paths}
    near = {place.parent for path in paths for place in (path.absolute(), path.resolve())}
    above = {_identity(folder) for folder in near | {far for folder in near for far in folder.parents}}
    beside = {_identity(path) for path in inputs.beside if path.exists()}
    for path in (path for plan in plans for path in plan.places.paths if path.exists()):
        if _identity(path) in kept | beside:
            what = "the input" if _identity(path) in kept else "a file that the run reads"
            raise ValueError(f"{path} is {what}: choose another --output, which does not replace it")
        if _identity(path) in above:
            raise ValueError(f"{path} would hold results, and holds the input: choose another --output")
    place = output.resolve()
    around = [place, *(place.parents if inputs.deep else ())]
    places = {_identity(folder) for folder in around if folder.exists()}
    for folder in inputs.folders:
        if _identity(folder) in places:
            raise ValueError(
                f"{output} is in the folder of the inputs, where results would be inputs: choose another "
                "--output"
            )


def _identity(path: Path) -> tuple[int, int]:
    """Device and inode, shared by all names and links of a file."""
    status = path.stat()
    return status.st_dev, status.st_ino
