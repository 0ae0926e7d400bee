"""Ground truth of videos: palette images, or run lengths in a JSON file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from instructseg.data.clips import Clip, Truth
from instructseg.data.data_files import missing_files, read_json, require_file
from instructseg.data.records import DataError, Fault, Problem, shown
from instructseg.masks import load_index_png, mask_size, mask_to_rle, polygons_to_mask, rle_to_mask

ANY_OBJECT = "any"
"""Stands for everything but the background of a :class:`PaletteTruth`."""


class CompactRle(NamedTuple):
    """A mask as run lengths in COCO's compressed form; ``size`` is ``(height, width)`` in pixels."""

    size: tuple[int, int]
    counts: bytes


Track = tuple["CompactRle | None", ...]
"""One object's mask per frame; ``None`` where it is not visible."""


def compact_rle(entry: dict[str, Any]) -> Any:
    """Object hook of :func:`.read_json`: RLE dictionaries become :class:`CompactRle`.

    They take a third of the memory; uncompressed run lengths are compressed. What is no good RLE stays as it
    is, for the error of who knows its place.
    """
    if not {"size", "counts"} <= entry.keys():
        return entry
    try:
        size, counts = mask_size(entry["size"]), entry["counts"]
        if not isinstance(counts, str):
            counts = mask_to_rle(rle_to_mask(entry))["counts"]
        return CompactRle(size, counts.encode("ascii"))
    except ValueError:  # UnicodeEncodeError is one
        return entry


def to_track(
    segmentations: Sequence[Any], height: int, width: int, where: str | Path, lenient: bool = False
) -> Track:
    """The track of a YTVIS annotation.

    Args:
        segmentations: per frame ``None``, a :class:`CompactRle`, or polygons, ``x, y`` in turn; a frame without
            a polygon has no mask.
        height: of the frames, in pixels.
        width: of the frames, in pixels.
        lenient: drops polygons of fewer than three corners, as the official readers of converted files do.

    Raises:
        DataError: an entry is none of these.
    """
    track: list[CompactRle | None] = []
    for t, entry in enumerate(segmentations):
        place = f"{where}, frame {t}"
        if isinstance(entry, list):
            kept = [p for p in entry if not lenient or not isinstance(p, list) or _is_closed(p)]
            try:
                found = mask_to_rle(polygons_to_mask(kept, height, width))["counts"] if kept else ""
            except ValueError as error:
                raise DataError(Fault.MASK, place, str(error)) from error
            track.append(CompactRle((height, width), found.encode("ascii")) if kept else None)
        elif entry is None or isinstance(entry, CompactRle):
            track.append(entry)
        else:
            raise DataError(Fault.MASK, place, f"{_why(entry)}; a segmentation is an RLE, polygons or null")
    return tuple(track)


def _is_closed(polygon: list[Any]) -> bool:
    return len(polygon) >= 6 and len(polygon) % 2 == 0


def _why(entry: Any) -> str:
    """Fault of a segmentation that was not converted."""
    try:
        rle_to_mask(entry)
    except ValueError as error:
        return str(error)
    return shown(entry)


@dataclass(frozen=True, eq=False)
class RleTruth(Truth):
    """Objects as tracks of run lengths.

    Attributes:
        tracks: object id -> its track, one entry per frame of the video; usually shared by all videos.
    """

    file: Path
    tracks: Mapping[str, Track]

    def mask(self, obj: str, t: int) -> np.ndarray | None:
        """See :meth:`Truth.mask`."""
        track = self._track(obj)
        if t >= len(track):
            raise DataError(Fault.MASK, self.where(obj, t), f"there are masks of {len(track)} frames only")
        rle = track[t]
        if rle is None:
            return None
        try:
            return rle_to_mask(rle._asdict()).astype(np.uint8)
        except ValueError as error:
            raise DataError(Fault.MASK, self.where(obj, t), str(error)) from error

    def where(self, obj: str, t: int) -> str:
        """See :meth:`Truth.where`."""
        return f"{self.file}, object {obj}, frame {t}"

    def only(self, objects: Sequence[str]) -> RleTruth:
        """See :meth:`Truth.only`."""
        return replace(self, tracks={obj: self.tracks[obj] for obj in objects if obj in self.tracks})

    def never_visible(self, obj: str) -> bool:
        """Whether the track is all null."""
        return not any(self.tracks.get(obj, (True,)))

    def inspect(self, clip: Clip) -> Iterator[Problem]:
        """Ids that do not join, tracks of another length than the video, masks of another size."""
        for obj in clip.meant:
            track, where = self.tracks.get(obj), f"{self.file}, object {obj}"
            if track is None:
                yield Problem(Fault.ID, where, f"is missing, but {clip.name} refers to it")
                continue
            if len(track) != len(clip):
                message = f"masks of {len(track)} frames, but {clip.name} has {len(clip)}"
                yield Problem(Fault.MASK, where, message)
            sizes = {rle.size for rle in track if rle is not None}
            expected = clip.recorded_size or next(iter(sizes), (0, 0))
            for h, w in sorted(sizes - {expected}):
                size = f"{expected[0]} x {expected[1]} (height x width)"
                yield Problem(Fault.MASK, where, f"a mask of {h} x {w} for {clip.name} of {size}")

    def files(self) -> Iterator[Path]:
        """See :meth:`Truth.files`."""
        yield self.file

    def _track(self, obj: str) -> Track:
        if obj not in self.tracks:
            where = f"{self.file}, object {obj}"
            raise DataError(Fault.ID, where, "is missing, but an expression refers to it")
        return self.tracks[obj]


@dataclass(frozen=True, eq=False)
class PaletteTruth(Truth):
    """Objects as images of one channel, one per frame: a pixel is the number of its object.

    Attributes:
        names: their names without ``.png``, one per frame of the video.
    """

    folder: Path
    names: tuple[str, ...]

    def mask(self, obj: str, t: int) -> np.ndarray | None:
        """See :meth:`Truth.mask`."""
        numbers = read_palette(self.folder / f"{self.names[t]}.png")
        if obj == ANY_OBJECT:
            return (numbers > 0).astype(np.uint8)
        if not (obj.isdecimal() and len(obj) < 6 and 0 < int(obj) < 256):
            raise DataError(Fault.ID, self.where(obj, t), f"object {obj!r} is not a number of 1 to 255")
        return (numbers == int(obj)).astype(np.uint8)

    def where(self, obj: str, t: int) -> str:
        """See :meth:`Truth.where`."""
        return str(self.folder / f"{self.names[t]}.png")

    def inspect(self, clip: Clip) -> Iterator[Problem]:
        """Missing files."""
        return missing_files(self.files())

    def files(self) -> Iterator[Path]:
        """See :meth:`Truth.files`."""
        return (self.folder / f"{name}.png" for name in self.names)


@dataclass(frozen=True, eq=False)
class FolderTruth(Truth):
    """Objects as folders of images: every pixel above 0 belongs to the folder's object.

    Attributes:
        folder: holds a folder per object.
        names: of the images without ``.png``, one per frame of the video.
        sparse: whether an object without an image in its folder is invisible in that frame.
    """

    folder: Path
    names: tuple[str, ...]
    sparse: bool = False

    def mask(self, obj: str, t: int) -> np.ndarray | None:
        """See :meth:`Truth.mask`."""
        file = Path(self.where(obj, t))
        if self.sparse and file.parent.is_dir() and not file.is_file():
            return None
        return (read_palette(file) > 0).astype(np.uint8)

    def where(self, obj: str, t: int) -> str:
        """See :meth:`Truth.where`."""
        return str(self.folder / obj / f"{self.names[t]}.png")

    def inspect(self, clip: Clip) -> Iterator[Problem]:
        """Missing files; of objects with some frames alone, missing folders."""
        names = [""] if self.sparse else [f"{name}.png" for name in self.names]
        return missing_files(self.folder / obj / name for obj in clip.meant for name in names)


def read_palette(path: Path) -> np.ndarray:
    """``uint8[H, W]``, the object numbers in an image of one channel, with a palette or without.

    Raises:
        FileNotFoundError, DataError: it is missing or damaged, or has colours instead of numbers.
    """
    try:
        return load_index_png(require_file(path))
    except ValueError as error:
        raise DataError(Fault.MASK, path, str(error).removeprefix(f"{path} ")) from error


def read_tracks(path: Path, wanted: set[str]) -> dict[str, Track]:
    """The tracks of a ``mask_dict.json``: ``{"<annotation id>": [null | {"size", "counts"}, ...]}``.

    Args:
        wanted: ids to keep; the rest of the file is dropped.

    Raises as :func:`.read_json`, and for a track that is none.
    """
    found = read_json(path, dict, compact_rle)
    return {obj: to_rles(track, f"{path}, object {obj}") for obj, track in found.items() if obj in wanted}


def to_rles(track: Any, where: str) -> Track:
    """A track of run lengths; a list of them in a frame is their union.

    Raises:
        DataError: it is anything else, or the masks of a frame differ in size.
    """
    if not isinstance(track, list):
        raise DataError(Fault.RECORD, where, "is not a list of nulls and {size, counts}")
    return tuple(
        _united(rle, f"{where}, frame {t}") if isinstance(rle, list) else _rle(rle, where)
        for t, rle in enumerate(track)
    )


def _rle(entry: Any, where: str) -> CompactRle | None:
    if entry is not None and not isinstance(entry, CompactRle):
        raise DataError(Fault.RECORD, where, "is not a list of nulls and {size, counts}")
    return entry


def _united(parts: list[Any], where: str) -> CompactRle | None:
    """The union of the masks of one frame."""
    masks = [rle for part in parts if (rle := _rle(part, where)) is not None]
    if not masks:
        return None
    if len({rle.size for rle in masks}) > 1:
        raise DataError(Fault.MASK, where, "masks of several sizes")
    try:
        union = np.any([rle_to_mask(rle._asdict()) for rle in masks], axis=0)
    except ValueError as error:
        raise DataError(Fault.MASK, where, str(error)) from error
    return CompactRle(masks[0].size, mask_to_rle(union)["counts"].encode("ascii"))
