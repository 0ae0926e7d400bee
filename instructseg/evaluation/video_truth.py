"""The truth of an expression on a video, as the official files give it: run lengths, or palette pictures.

::

    MeViS   meta_expressions.json          videos.<video>.{frames, expressions.<id>.{exp, anno_id}}
            mask_dict.json                 <anno_id>: [RLE or null per frame]
    ReVOS   meta_expressions_valid_.json   as MeViS, with type_id
            mask_dict.json, mask_dict_foreground.json    <video>.masks_rle: [RLE per frame]
    Ref-YouTube-VOS   meta_expressions.json    videos.<video>.{frames, expressions.<id>.{exp, obj_id}}
                      Annotations/<video>/<frame>.png    palette pictures, the value is obj_id
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.files import name_fault, read_json
from instructseg.masks import load_index_png, rle_to_mask

Rle = Mapping[str, Any]
Masks = Rle | Sequence[Rle] | None
"""What covers a frame: nothing, a mask, or several that are added."""


@dataclass(frozen=True, eq=False)
class Expression:
    """What was asked of a video, and the answer.

    Attributes:
        video: name, may be a nested path.
        name: id of the expression in the video.
        frames: names of the frames without suffix, in order.
        kind: ``type_id`` of ReVOS; 0 elsewhere.
        annotations: for each meant object, a mask or ``None`` per frame.
        foreground: per frame, the masks of all objects of the video; empty where the benchmark has none.
        pictures: folder of the palette pictures of this video, instead of ``annotations``.
        label: of the object in these pictures.
    """

    video: str
    name: str
    frames: tuple[str, ...]
    kind: int = 0
    annotations: tuple[tuple[Masks, ...], ...] = ()
    foreground: tuple[Masks, ...] = ()
    pictures: Path | None = None
    label: int = 0

    def load(self, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray | None]:
        """How many meant objects cover each pixel, ``uint8[T, H, W]``, and the foreground of the same shape.

        Args:
            size: ``(H, W)`` that the masks must have.

        Raises:
            ValueError: the masks are fewer than the frames, or of another size.
            FileNotFoundError: a picture is missing.
        """
        if self.pictures is not None:
            maps = [load_index_png(self.pictures / f"{frame}.png") for frame in self.frames]
            if any(labels.shape != size for labels in maps):
                raise ValueError(f"{self.pictures} has pictures of another size than {size[0]}x{size[1]}")
            return (np.stack(maps) == self.label).astype(np.uint8), None
        truth = np.zeros((len(self.frames), *size), np.uint8)
        for masks in self.annotations:
            self._add(truth, masks)
        if not self.foreground:
            return truth, None
        foreground = np.zeros_like(truth)
        self._add(foreground, self.foreground)
        return truth, foreground

    def _add(self, canvas: np.ndarray, masks: Sequence[Masks]) -> None:
        """Adds a mask per frame to ``uint8[T, H, W]``."""
        if len(masks) < len(self.frames):
            raise ValueError(f"{self.video} has {len(masks)} masks of an object for {len(self.frames)} frames")
        for frame, mask in zip(canvas, masks, strict=False):
            for part in mask if isinstance(mask, Sequence) else [mask]:
                if part:
                    frame += rle_to_mask(part, frame.shape)


def rle_expressions(meta: Path, masks: Path, foreground: Path | None = None) -> Iterator[Expression]:
    """The expressions of MeViS, or with ``foreground`` of ReVOS, in the order of the file.

    Args:
        meta: the file of expressions; it must list ``anno_id`` (the public ``valid`` of MeViS does not).
        masks: the file of masks.
        foreground: the file of foreground masks.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: an expression has no truth.
    """
    known = read_table(masks)
    everything = read_table(foreground) if foreground else {}
    for video, name, frames, record in _records(meta):
        place = f"{meta}, {video}/{name}"
        if "anno_id" not in record:
            raise ValueError(f"{meta} has no anno_id for {video}/{name}: this split has no public truth")
        numbers = _list(record["anno_id"], f"{place}: anno_id")
        if unknown := [number for number in numbers if str(number) not in known]:
            raise ValueError(f"{masks} has no masks of anno_id {unknown[0]}, which {video}/{name} means")
        if foreground and video not in everything:
            raise ValueError(f"{foreground} has no masks of video {video}")
        annotations = tuple(tuple(_list(known[str(number)], f"{masks}, object {number}")) for number in numbers)
        objects: tuple[Masks, ...] = ()
        if foreground:
            entry = _table(everything[video], f"{foreground}, video {video}")
            objects = tuple(_list(entry.get("masks_rle"), f"{foreground}, video {video}: masks_rle"))
        kind = record.get("type_id", 0)
        if type(kind) is not int:
            raise ValueError(f"{place}: type_id is no whole number, but {kind!r}")
        yield Expression(video, name, frames, kind, annotations, objects)


def picture_expressions(meta: Path, annotations: Path) -> Iterator[Expression]:
    """The expressions of Ref-YouTube-VOS, scored against palette pictures.

    Args:
        meta: the file of expressions; it must list ``obj_id``.
        annotations: the folder ``Annotations``; videos that it does not hold are left out (the official
            ``valid`` file lists the test videos too).

    Raises:
        FileNotFoundError: a file is missing, or none of the videos is there.
        ValueError: an expression has no truth.
    """
    found = False
    for video, name, frames, record in _records(meta):
        if not (annotations / video).is_dir():
            continue
        if "obj_id" not in record:
            raise ValueError(f"{meta} has no obj_id for {video}/{name}: this split has no public truth")
        found = True
        label = str(record["obj_id"])
        if not (label.isascii() and label.isdecimal() and 0 < int(label[:6]) < 256):
            raise ValueError(f"{meta}, {video}/{name}: obj_id is no number of 1 to 255, but {label[:60]!r}")
        yield Expression(video, name, frames, pictures=annotations / video, label=int(label))
    if not found:
        raise FileNotFoundError(f"{annotations} holds none of the videos of {meta}")


def _records(meta: Path) -> Iterator[tuple[str, str, tuple[str, ...], dict[str, Any]]]:
    videos = read_table(meta).get("videos")
    if not isinstance(videos, dict):
        raise ValueError(f"{meta} has no 'videos': it is no file of expressions")
    for video, value in videos.items():
        content = _table(value, f"{meta}, video {video}")
        frames = _list(content.get("frames"), f"{meta}, video {video}: frames")
        said = _table(content.get("expressions"), f"{meta}, video {video}: expressions")
        for label in (video, *said, *frames):
            if message := name_fault(label):
                raise ValueError(f"{meta}, video {video}: {label!r} names no file below the data: {message}")
        for name, record in said.items():
            yield video, name, tuple(frames), _table(record, f"{meta}, {video}/{name}")


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is no table by name")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{where} is no list")
    return value


def read_table(path: Path) -> dict[str, Any]:
    """A JSON file of an object; raises ``FileNotFoundError`` and ``ValueError``."""
    try:
        content = read_json(path)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {str(error).removeprefix(f'{path} ')}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, not a table by name")
    return content
