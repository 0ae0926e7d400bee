"""Which results a run may write: nothing of the user's is replaced, and nothing that is done is done again."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from instructseg.cli.checks import check_place
from instructseg.cli.inputs import Inputs, Item
from instructseg.cli.manifest import Manifest, busy_line
from instructseg.cli.outputs import Layout, is_file_name
from instructseg.files import remove_abandoned


@dataclass(frozen=True)
class Plan:
    """One input and where its results go."""

    item: Item
    layout: Layout


class Results:
    """The results of one run; in a ``with`` block around all that is written.

    Args:
        output: a folder, or one file.
        inputs: of the run.
        layouts: of each input.
        instructions: the prompts.
        options: settings that the results depend on, as JSON holds them.
        overwrite: whether existing results are replaced.

    Attributes:
        todo: what is left to do.
        done: how many inputs are done already, by the record of an earlier run.

    Raises:
        ValueError: a result would replace an input, or something that may not be replaced; two inputs have one
            result; another run is at work on one.
    """

    def __init__(
        self,
        output: Path,
        inputs: Inputs,
        layouts: Sequence[Layout],
        instructions: Sequence[str],
        options: dict[str, Any],
        overwrite: bool,
    ) -> None:
        self._instructions, self._options, self._overwrite = instructions, options, overwrite
        self._batch = inputs.batch
        plans = [Plan(item, layout) for item, layout in zip(inputs.items, layouts, strict=True)]
        _check_twice(plans)
        check_place(output)
        _check_inputs_stay(output, inputs, plans)
        single = is_file_name(output)
        remove_abandoned(output.parent if single else output)
        self._manifest = None if single else Manifest(output)
        self.todo = [plan for plan in plans if not self._is_done(plan)]
        self.done = len(plans) - len(self.todo)
        for plan in self.todo:
            self._check_room(plan.layout)
        self._begun = False

    def __enter__(self) -> Results:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._manifest is not None and self._begun:
            self._manifest.release()

    def begin(self, layout: Layout) -> None:
        """Makes room for the results on one input; before the first, takes the targets of all.

        Raises:
            ValueError: another run has taken one of them, or a stranger's file is in the way.
        """
        if self._manifest is None:
            return
        if not self._begun:
            targets = [plan.layout.contents(self._instructions) for plan in self.todo]
            self._manifest.begin({path: content for one in targets for path, content in one.items()})
            self._begun = True
        self._check_room(layout)
        for path, content in layout.contents(self._instructions).items():
            if content is not None and path.is_dir():
                self._manifest.clear(path)

    def finish(self, plan: Plan, complete: bool = True) -> None:
        """Records what was written on one input; does nothing where nothing was."""
        if self._manifest is not None and self._begun and plan.layout.paths:
            self._manifest.finish(plan.layout.paths, self._job(plan.item), complete)

    def _is_done(self, plan: Plan) -> bool:
        """Whether an input of several is done, the same way.

        Raises:
            ValueError: its results exist and may not be replaced.
        """
        paths = [path for path in plan.layout.paths if path.exists() or path.is_symlink()]
        manifest = self._manifest
        for path in plan.layout.paths if manifest else ():
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
            other = _differences(jobs[0], self._job(plan.item)) if jobs[0] else []
            if (
                self._batch
                and not other
                and jobs[0]
                and paths == plan.layout.paths
                and jobs.count(jobs[0]) == len(jobs)
            ):
                return True
            why += (
                f", made with {', '.join(other)}" if other else ", left by a run that did not end" * unfinished
            )
        raise ValueError(f"{paths[0]} {why}: choose another --output, or add --overwrite")

    def _check_room(self, layout: Layout) -> None:
        """Makes sure that what is replaced is ours."""
        for path, content in layout.contents(self._instructions).items():
            if content is None:
                if path.is_dir():
                    raise ValueError(f"{path} is a folder, and would be a file: choose another --output")
                continue
            if path.is_symlink() or (path.exists() and not path.is_dir()):
                raise ValueError(f"{path} is a link or a file, and would be a folder: choose another --output")
            assert self._manifest is not None
            stranger = next(self._manifest.strangers(path, content), None)
            if stranger is not None:
                raise ValueError(
                    f"{path} holds {stranger.relative_to(path)}, which no recorded run wrote: move it away, or "
                    "choose another --output"
                )

    def _job(self, item: Item) -> dict[str, Any]:
        """What results depend on."""
        return {"input": _mark(item.path), "prompts": list(self._instructions), **self._options}


def _differences(earlier: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """In which settings two runs differ, in words."""
    names = [name for name in now if earlier.get(name) != now[name]]
    words = {"input": "another input of that name", "prompts": "other prompts", "model": "another model"}
    return [words.get(name, f"another --{name.replace('_', '-')}") for name in names]


def _mark(path: Path) -> list[int]:
    """What an input is recognized by: size and time of change; of a folder, the sum of its files'."""
    if path.is_dir():
        rows = [(file.name, *_mark(file)) for file in sorted(path.iterdir()) if file.is_file()]
        return [len(rows), zlib.crc32(repr(rows).encode("utf-8", "surrogateescape"))]
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _check_twice(plans: Iterable[Plan]) -> None:
    """No two inputs have the same result."""
    seen: set[Path] = set()
    for plan in plans:
        for path in plan.layout.paths:
            if path in seen:
                raise ValueError(
                    f"two pictures would be written to {path}: give --output a folder, and rename one where "
                    "their names differ in the suffix only"
                )
            seen.add(path)


def _check_inputs_stay(output: Path, inputs: Inputs, plans: Sequence[Plan]) -> None:
    """No result is an input, or a folder that an input lies in, by whatever name or link.

    Nor do results become inputs of the next run.
    """
    paths = [*(item.path for item in inputs.items), *inputs.folders]
    kept = {_identity(path) for path in paths}
    near = {place.parent for path in paths for place in (path.absolute(), path.resolve())}
    above = {_identity(folder) for folder in near | {far for folder in near for far in folder.parents}}
    for path in (path for plan in plans for path in plan.layout.paths if path.exists()):
        if _identity(path) in kept:
            raise ValueError(f"{path} is the input: choose another --output, which does not replace it")
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
    """Device and number of a file, which all its names and links share."""
    status = path.stat()
    return status.st_dev, status.st_ino
