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

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

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
    known = _read(masks)
    everything = _read(foreground) if foreground else {}
    for video, name, frames, record in _records(meta):
        if "anno_id" not in record:
            raise ValueError(f"{meta} has no anno_id for {video}/{name}: this split has no public truth")
        if unknown := [number for number in record["anno_id"] if str(number) not in known]:
            raise ValueError(f"{masks} has no masks of anno_id {unknown[0]}, which {video}/{name} means")
        if foreground and video not in everything:
            raise ValueError(f"{foreground} has no masks of video {video}")
        annotations = tuple(tuple(known[str(number)]) for number in record["anno_id"])
        objects = tuple(everything[video]["masks_rle"]) if foreground else ()
        yield Expression(video, name, frames, record.get("type_id", 0), annotations, objects)


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
        yield Expression(video, name, frames, pictures=annotations / video, label=int(record["obj_id"]))
    if not found:
        raise FileNotFoundError(f"{annotations} holds none of the videos of {meta}")


def _records(meta: Path) -> Iterator[tuple[str, str, tuple[str, ...], dict[str, Any]]]:
    videos = _read(meta).get("videos")
    if not isinstance(videos, dict):
        raise ValueError(f"{meta} has no 'videos': it is no file of expressions")
    for video, content in videos.items():
        for name, record in content["expressions"].items():
            yield video, name, tuple(content["frames"]), record


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, not a table by name")
    return content
