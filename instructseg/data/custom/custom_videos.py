"""Custom videos with instructions and, for training and evaluation, masks.

A table, ``.csv``, ``.json`` (a list of objects) or ``.jsonl``, with paths relative to it::

    my_data/  instructions.csv
              videos/street/00000.jpg ...      a folder of frames, in natural order
              videos/park.mp4                  or a video file
              masks/street/00000.png ...       one per frame, named as it; frames of a file are 00000, 00001 ...

    video,instruction,mask,object
    videos/street,the red car,masks/street,1             a pixel value of the PNGs; empty: all that is not 0
    videos/street,all cars,masks/street,1;2              several objects
    videos/street,the bus,tracks.json,17                 an annotation id of a YTVIS file
    videos/park.mp4,the elephant,none,                   nothing in the video answers
    videos/park.mp4,the dog,,                            the truth is unknown

Further columns: ``id`` (results are stored under it; by default the expressions of a video are counted from 0)
and ``split``. Without a table, a YTVIS file::

    {"videos": [{"id": 1, "height": 480, "width": 854, "file_names": ["street/00000.jpg", ...]}],
     "annotations": [{"id": 17, "video_id": 1, "category_id": 3, "instruction": "the bus",
                      "segmentations": [<RLE, polygons or null>, one per frame]}],
     "categories": [{"id": 3, "name": "bus"}]}

with frames beside it, or in ``JPEGImages`` or ``videos`` beside it. ``instruction`` is a text or a list of
texts; annotations without one are asked for by their category, all of a video at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np

from instructseg.data.clips import Clip, Expression, FrameFiles, Truth
from instructseg.data.custom.tables import SOURCES, TRAIN, VAL, find_source, part_of, read_table, several
from instructseg.data.custom.ytvis import YtvisFile, result_name
from instructseg.data.data_files import read_json, require_file
from instructseg.data.records import DataError, Fault, MissingFile, Problem, path_name, shown
from instructseg.data.referring_videos import ReferringVideos, VideoSampling, check_result_names
from instructseg.data.video_masks import ANY_OBJECT, PaletteTruth, RleTruth, compact_rle
from instructseg.files import name_fault
from instructseg.media import open_video
from instructseg.media.random_access import read_frame
from instructseg.media.reading import FRAME_SUFFIXES, frame_files
from instructseg.structures import Task

COLUMNS = ("video", "instruction", "mask", "object", "id", "split")


class CustomVideos(ReferringVideos):
    """Instructions on custom videos; see :class:`~instructseg.data.referring_videos.ReferringVideos`.

    Attributes:
        source: the table or YTVIS file; ``None`` where the videos are not from a file.
    """

    source: Path | None = None

    @classmethod
    def open(
        cls,
        source: str | Path,
        split: str | None = None,
        task: Task = Task.RVOS,
        sampling: VideoSampling | None = None,
    ) -> CustomVideos:
        """Opens a table, a YTVIS file, or a folder that holds ``instructions.*`` or ``annotations.json``.

        Args:
            split: the rows whose ``split`` says so; ``None`` for all. Where no row names a split, ``train`` and
                ``val`` are made by video (see :func:`~instructseg.data.custom.tables.part_of`), of the videos
                whose truth is known.
            task: ``RVOS`` or ``REASON_VOS``; selects the prompt.

        Raises:
            FileNotFoundError: there is nothing to read, or a video is missing.
            DataError: an entry lacks something, has an unknown column, or an id does not join; or results of
                two videos or instructions would be stored under the same name.
        """
        file = find_source(Path(source))
        if not file.is_file():
            raise FileNotFoundError(f"{source} is missing, or holds none of {', '.join(SOURCES)}")
        if file.suffix.lower() == ".json" and isinstance(content := read_json(file, object, compact_rle), dict):
            clips, made = YtvisFile(file, content).clips(), True
        else:
            rows = list(read_table(file, COLUMNS, ("video", "instruction")))
            made = not any(entry.get("split") for _, entry in rows)
            if not made:
                rows = [row for row in rows if split is None or row[1].get("split") == split]
            clips = _from_table(file.parent, rows)
        if made and split is not None:
            chosen = part_of([clip.name for clip in clips], split) if split in (TRAIN, VAL) else ()
            clips = [clip for clip in clips if clip.name in chosen and clip.truth is not None]
        name = file.parent.name if split is None else f"{file.parent.name}/{split}"
        if not clips:
            raise DataError(
                Fault.RECORD, file, f"no instructions{'' if split is None else f' of split {split!r}'}"
            )
        check_result_names(str(file), clips)  # here, so that the file is named
        found = cls(name, clips, task, sampling)
        found.source = file
        return found

    def sources(self) -> Iterator[Path]:
        """The table or YTVIS file, the frames and the mask files; see :meth:`Dataset.sources`."""
        if self.source is not None:
            yield self.source
        for clip in self.clips:
            if isinstance(clip.frames, FrameFiles):
                yield from (clip.frames.path(t) for t in range(len(clip.frames)))
            elif isinstance(clip.frames, VideoFrames):
                yield clip.frames.file
            if clip.truth is not None:
                yield from clip.truth.files()


@dataclass(frozen=True)
class VideoFrames(Sequence[np.ndarray]):
    """The frames of a video file, ``uint8[H, W, 3]`` RGB.

    Going through them decodes each once. A single one is sought (see :mod:`instructseg.media.random_access`);
    for training on long videos, frames in a folder are still faster.
    """

    file: Path

    @cached_property
    def length(self) -> int:
        """Number of readable frames; decodes the file if its header has no number."""
        video = open_video(self.file)
        return sum(1 for _ in video) if video.length is None else video.length

    @cached_property
    def fps(self) -> float | None:
        """Frames per second, for the spacing of references; ``None`` if unknown."""
        clip = open_video(self.file)
        return clip.fps if clip.timed else None

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(open_video(self.file))

    @overload
    def __getitem__(self, t: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, t: slice) -> list[np.ndarray]: ...
    def __getitem__(self, t: int | slice) -> np.ndarray | list[np.ndarray]:
        """Frame ``t``; a slice is decoded at once.

        Raises:
            IndexError: there is no such frame.
            DataError: the file is damaged.
        """
        if isinstance(t, slice):
            return [self[i] for i in range(*t.indices(len(self)))]
        wanted = t + len(self) if t < 0 else t
        try:
            return read_frame(self.file, wanted)
        except ValueError as error:
            raise DataError(Fault.IMAGE, self.file, str(error)) from error
        except IndexError as error:
            raise IndexError(f"frame {t} of {len(self)} in {self.file}") from error


@dataclass(frozen=True, eq=False)
class ManyTruths(Truth):
    """Objects from several sources, named ``<source>:<object there>``."""

    places: Mapping[str, Truth]

    def mask(self, obj: str, t: int) -> np.ndarray | None:
        """See :meth:`Truth.mask`."""
        truth, inside = self._locate(obj)
        return truth.mask(inside, t)

    def where(self, obj: str, t: int) -> str:
        """See :meth:`Truth.where`."""
        truth, inside = self._locate(obj)
        return truth.where(inside, t)

    def never_visible(self, obj: str) -> bool:
        """See :meth:`Truth.never_visible`."""
        truth, inside = self._locate(obj)
        return truth.never_visible(inside)

    def files(self) -> Iterator[Path]:
        """See :meth:`Truth.files`."""
        for truth in self.places.values():
            yield from truth.files()

    def inspect(self, clip: Clip) -> Iterator[Problem]:
        """Problems of all sources."""
        for place, truth in self.places.items():
            meant = [
                Expression(
                    e.id, e.text, tuple(o.rpartition(":")[2] for o in e.objects if o.startswith(f"{place}:"))
                )
                for e in clip.expressions
            ]
            there = Clip(clip.name, clip.frames, clip.frame_names, tuple(meant), truth, clip.recorded_size)
            yield from truth.inspect(there)

    def _locate(self, obj: str) -> tuple[Truth, str]:
        place, _, inside = obj.rpartition(":")
        return self.places[place], inside


def _from_table(folder: Path, entries: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Clip]:
    tracks: dict[Path, YtvisFile] = {}
    groups: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for where, entry in entries:
        video = path_name(entry["video"], where, "video")
        groups.setdefault(os.path.normpath(video), []).append((where, entry))
    return [_table_clip(folder, video, rows, tracks) for video, rows in groups.items()]


def _table_clip(
    folder: Path, video: str, rows: Sequence[tuple[str, Mapping[str, Any]]], tracks: dict[Path, YtvisFile]
) -> Clip:
    frames, names = open_frames(folder / video)
    places: dict[str, Truth] = {}
    expressions = []
    known = {bool(several(entry.get("mask"))) for _, entry in rows}
    if len(known) == 2:
        message = f"{video} has a mask in some rows only; leave unknown ones out, or write none"
        raise DataError(Fault.RECORD, rows[0][0], message)
    for number, (where, entry) in enumerate(rows):
        objects: list[str] = []
        for mask in several(entry.get("mask")):
            if mask == "none":
                continue
            places.setdefault(mask, _open_masks(folder / path_name(mask, where, "mask"), names, tracks))
            objects += [f"{mask}:{obj}" for obj in several(entry.get("object")) or [ANY_OBJECT]]
        given = entry.get("id")
        name = str(number if given in (None, "") else given)
        if message := name_fault(name, nested=False):
            raise DataError(Fault.ID, where, f"id {shown(name)} names no folder of results: {message}")
        expressions.append(Expression(name, entry["instruction"], tuple(objects)))
    truth = ManyTruths(places) if known == {True} else None
    return Clip(_result_name(folder, video), frames, names, tuple(expressions), truth)


def _result_name(folder: Path, video: str) -> str:
    """The path without the suffix of a file."""
    path = Path(video)
    return result_name(str(path if (folder / video).is_dir() or not path.name else path.with_suffix("")))


def open_frames(path: Path) -> tuple[Sequence[np.ndarray], tuple[str, ...]]:
    """The frames of a folder, in natural order, or of a video file, and their names.

    Raises:
        FileNotFoundError: there is no such file or folder.
        DataError: there are no frames in it, or it is no video.
    """
    if path.is_dir():
        files = tuple(file.name for file in frame_files(path))
        if not files:
            raise DataError(Fault.IMAGE, path, f"the folder has no frames ({', '.join(FRAME_SUFFIXES)})")
        frames = FrameFiles(path, files)
        return frames, frames.names
    video = VideoFrames(require_file(path))
    try:
        return video, tuple(f"{t:05d}" for t in range(len(video)))
    except ValueError as error:
        raise DataError(Fault.IMAGE, path, str(error)) from error


def _open_masks(path: Path, names: tuple[str, ...], tracks: dict[Path, YtvisFile]) -> Truth:
    if path.suffix.lower() != ".json":
        if not path.is_dir():
            raise MissingFile(path)
        return PaletteTruth(path, names)
    if path not in tracks:
        tracks[path] = YtvisFile(path, read_json(path, dict, compact_rle))
    return RleTruth(path, tracks[path].tracks)
