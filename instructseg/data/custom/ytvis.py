"""YTVIS files of custom data: videos as lists of images, and objects as a segmentation per frame."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from instructseg.data.clips import Clip, Expression, FrameFiles
from instructseg.data.custom.mask_files import NOTHING, instructions, named, read_categories
from instructseg.data.records import DataError, Fault, Id, Record, by_id, file_kind, once, path_name
from instructseg.data.video_masks import RleTruth, Track, to_track
from instructseg.files import name_fault

FRAME_FOLDERS = ("", "JPEGImages", "videos")
"""Where the frames of a YTVIS file may be, relative to it."""


class YtvisFile:
    """A YTVIS file: videos, and objects as a segmentation per frame.

    Args:
        content: its JSON, run lengths made compact.

    Raises:
        DataError: it is no YTVIS file, an id does not join, or two entries have one id.
    """

    def __init__(self, file: Path, content: Any) -> None:
        self.file = file
        record = Record.of(content, file)
        with file_kind(file, "not a YTVIS file"):
            videos = [named(file, "video", video) for video in record.records("videos")]
            entries = [named(file, "annotation", entry) for entry in record.records("annotations")]
        self.videos = by_id(((video.id("id"), video, video.where) for video in videos), "video", _same)
        self.annotations = by_id(
            ((str(entry.id("id")), entry, entry.where) for entry in entries), "annotation", _same
        )
        self.categories = read_categories(file, record)
        self.tracks = {number: self._track(entry) for number, entry in self.annotations.items()}

    def clips(self) -> list[Clip]:
        """A clip per video, with all instructions of its annotations."""
        said: dict[Id, dict[str, list[str]]] = {}  # the same words in a video mean all of them
        for number, entry in self.annotations.items():
            words = instructions(entry, self.categories)
            if not words:
                raise DataError(Fault.RECORD, entry.where, "it has neither instruction nor category")
            if not any(self.tracks[number]):
                raise DataError(Fault.MASK, entry.where, f"every frame is empty; {NOTHING}")
            for text in words:
                said.setdefault(entry.id("video_id"), {}).setdefault(text, []).append(number)
        folders = {number: str(Path(self._files(self.videos[number])[0]).parent) for number in said}
        shared = Counter(folders.values())
        names = {n: folder if shared[folder] == 1 else f"{folder}/{n}" for n, folder in folders.items()}
        return [self._clip(names[number], self.videos[number], texts) for number, texts in said.items()]

    def _files(self, video: Record) -> tuple[str, ...]:
        files = tuple(path_name(file, video.where, "file_names") for file in video.list("file_names"))
        if not files:
            raise DataError(Fault.RECORD, video.where, "file_names is empty")
        return once(files, video.where, "file_names")

    def _clip(self, name: str, video: Record, texts: Mapping[str, Sequence[str]]) -> Clip:
        files = self._files(video)
        places = [self.file.parent / folder for folder in FRAME_FOLDERS]
        folder = next((p for p in places if any((p / file).is_file() for file in files)), places[0])
        expressions = tuple(
            Expression(str(i), text, tuple(objs)) for i, (text, objs) in enumerate(texts.items())
        )
        frames = FrameFiles(folder, files)
        truth = RleTruth(self.file, self.tracks)
        return Clip(result_name(name), frames, frames.names, expressions, truth, video.size())

    def _track(self, entry: Record) -> Track:
        number = entry.id("video_id")
        if number not in self.videos:
            raise DataError(Fault.ID, entry.where, f"video_id {number} is not in 'videos'")
        return to_track(entry.list("segmentations"), *self.videos[number].size(), entry.where)


def _same(one: Record, other: Record) -> bool:
    return one.value == other.value


def result_name(path: str) -> str:
    """Safe name for the results of a video, from any path.

    A path below the data is its own name; a part that leads up is called ``_up``, and what is absolute lies
    below ``_root``. Parts that no folder can be called are changed.
    """
    if not name_fault(path):
        return path
    parts = ["_root"] if Path(path).is_absolute() else []
    for part in Path(path).parts[len(parts) :]:
        plain = re.sub(r"[\\\x00-\x1f\x7f:]", "_", "_up" if part == ".." else part)
        parts.append(f"_{plain}" if name_fault(plain) else plain)
    return "/".join(parts) or "_"
