"""Places of results, and writing all formats of one input frame by frame."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from instructseg.prediction import FrameResult
from instructseg.results.formats import FORMATS
from instructseg.results.manifest import Content
from instructseg.results.result_format import Format, Layout, ResultInfo

_OTHER_SUFFIXES = (
    ".gif", ".webp", ".apng", ".avif", ".bmp", ".tif", ".tiff", ".jp2", ".heic", ".heif", ".svg", ".pdf",
    ".psd", ".avi", ".mkv", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".mp3", ".wav",
    ".txt", ".tsv", ".jsonl", ".yaml", ".yml", ".html", ".npy", ".zip", ".tar", ".gz",
)  # fmt: skip
"""Suffixes of files that no format writes."""


@dataclass(frozen=True)
class ResultPaths:
    """Places of the results of one image or video.

    Attributes:
        targets: file or folder by name of the format.
        video: whether the input is a video.
        stems: names of its frames, if not numbers.
    """

    targets: Mapping[str, Path] = field(default_factory=dict)
    video: bool = False
    stems: tuple[str, ...] = ()

    @property
    def paths(self) -> list[Path]:
        """All places."""
        return list(self.contents(()))

    def contents(self, instructions: Sequence[str]) -> dict[Path, Content | None]:
        """All places, with the future content of folders."""
        layout, found = Layout(instructions, self.video, self.stems), dict[Path, Content | None]()
        for name, target in self.targets.items():
            found |= FORMATS[name].contents(target, layout)
        return found


def format_of_file(output: Path, formats: Sequence[str] = ()) -> str | None:
    """Format of an ``output`` that is one file; ``None`` for a folder, also one named like a file.

    Args:
        output: a path.
        formats: preferred ones, where several write such a file.
    """
    suffix = output.suffix.lower()
    if output.is_dir():
        return None
    fitting = [name for name, one in FORMATS.items() if suffix in one.image_files + one.video_files]
    return next((name for name in (*formats, *fitting) if name in fitting), None)


def plan_paths(
    name: str, output: Path, formats: Iterable[str], video: bool, stems: tuple[str, ...] = ()
) -> ResultPaths:
    """Chooses the places of one input's results.

    Args:
        name: of the input, without suffix.
        output: a folder, or one file of a format, e.g. a ``.png``, ``.jpg`` or ``.mp4`` for the overlay.
        formats: names of :data:`FORMATS`.
        video: whether the input is a video.
        stems: names of its frames, if not numbers.

    Raises:
        ValueError: a file cannot hold the formats.
    """
    wanted = [one for one in FORMATS if one in set(formats)]
    single = format_of_file(output, wanted)
    if single is None:
        check_folder_name(output)
        return ResultPaths({one: FORMATS[one].place(output, name, video) for one in wanted}, video, stems)
    form, suffix = FORMATS[single], output.suffix.lower()
    if suffix not in (form.video_files if video else form.image_files):
        kind = "a video" if video else "an image"
        fit = " or ".join(form.video_files if video else form.image_files[:2])
        named = f"name a {fit} file or a folder" if fit else "name a folder"
        raise ValueError(f"{output}: the result of {kind} is no {suffix}: {named}")
    if wanted != [single]:
        raise ValueError(
            f"{output} is one file and holds {form.title} alone: add -f {single}, or give a folder"
        )
    return ResultPaths({single: output}, video, stems)


def check_folder_name(output: Path) -> None:
    """Checks that an output is meant as a folder.

    Raises:
        ValueError: named like a file, or an existing file.
    """
    if output.is_dir():
        return
    if output.suffix.lower() in _OTHER_SUFFIXES:
        raise ValueError(
            f"{output}: no {output.suffix} file is written: name a .png or .jpg (image) or .mp4 (video) for "
            "the overlay, a .json for run lengths, or a folder"
        )
    if os.path.lexists(output):
        raise ValueError(f"{output} is no folder: choose another --output")


def check_free(paths: Iterable[Path], advice: str = "choose another --output, or add --overwrite") -> None:
    """Raises a ValueError with advice if a path exists."""
    for path in paths:
        if path.exists():
            raise ValueError(f"{path} exists: {advice}")


class ResultWriter:
    """Writes results frame by frame to :class:`ResultPaths`, replacing files there.

    Use it in a ``with`` block. Nothing is created before the first frame. After an exception (Ctrl-C
    included), the video of the frames so far plays, and images and run lengths are complete.

    Args:
        places: of the results.
        info: describes the input.
        before: called before the first file is written; makes room.

    Raises:
        OSError: the disk is full, or a file cannot be written.
    """

    def __init__(self, places: ResultPaths, info: ResultInfo, before: Callable[[], None] | None = None) -> None:
        self.places, self._before = places, before
        self.count = 0
        """Number of frames written."""
        self._formats: list[Format] = [FORMATS[name](path, info) for name, path in places.targets.items()]

    def __enter__(self) -> ResultWriter:
        return self

    def write(self, result: FrameResult) -> None:
        """Writes one frame's results."""
        if not self.count and self._before is not None:
            self._before()
        for one in self._formats:
            one.write(result)
        self.count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in self._formats:
            one.close(error)

    def notes(self) -> list[str]:
        """Remarks of all formats about the written files."""
        return [note for one in self._formats for note in one.notes()]
