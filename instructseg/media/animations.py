"""Animated GIF, PNG, WebP and AVIF, and TIFF of several pages, as frames with their times.

Pillow draws the frames over each other as browsers do. It ends quietly where such a file is cut or damaged, so
the blocks that the file consists of are counted first.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.media.decoding import TruncatedVideoError
from instructseg.media.images import BoundedFile, check_pixels, damage_errors, open_pillow, pillow_to_rgb

DEFAULT_DURATION = 0.1
"""Seconds of a frame that says less than 0.02: what browsers make of it."""
PAGE_FPS = 24.0
"""Pages of a TIFF per second, which tells no time."""


@dataclass(frozen=True)
class Animation:
    """What an animated file says of itself.

    Attributes:
        path: of the file.
        size: ``(height, width)`` of its frames.
        announced: how many frames it promises.
        damage: what is wrong with its blocks; empty where they are whole.
        timed: whether its frames have durations.
        fps: the mean over the frames that are there.
    """

    path: Path
    size: tuple[int, int]
    announced: int
    damage: str
    timed: bool
    fps: float


def probe_animation(path: Path, max_pixels: int) -> Animation | None:
    """Reads the blocks of a file; ``None`` where it is no animation, but an image or a video.

    Raises:
        ValueError: it has more than ``max_pixels``, or its first frame cannot be read.
    """
    with BoundedFile(path) as file:
        head = file.read(40)
        if not _may_move(head):
            return None
        file.seek(0)
        image: Any = open_pillow(file, path, max_pixels)
        count, damage = _blocks(path, head)
        try:
            known = int(getattr(image, "n_frames", 1))
        except damage_errors() as error:
            known, damage = max(1, count), damage or str(error)
        if max(known, count) < 2 and not (head[:3] in (b"GIF", b"II*", b"MM\0") and damage):
            return None
        try:
            image.seek(0)
            image.load()
        except damage_errors() as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        size = pillow_to_rgb(image, str(path)).shape[:2]
        timed = image.format != "TIFF"
        durations = []
        if timed:  # of the first frames only: a long one is not decoded to know its rate
            for i in range(min(known, 50)):
                try:
                    image.seek(i)
                    image.load()
                except damage_errors():
                    break
                durations.append(_duration(image))
    fps = len(durations) / sum(durations) if durations else PAGE_FPS
    return Animation(path, size, max(known, count), damage, timed, fps)


def decode_animation(animation: Animation, max_pixels: int) -> Iterator[tuple[float, np.ndarray]]:
    """``(seconds, uint8[H, W, 3] RGB)`` of each frame.

    Raises:
        TruncatedVideoError: behind the last good frame of a damaged file.
    """
    time, read, damage = 0.0, 0, ""
    with BoundedFile(animation.path) as file:
        image: Any = open_pillow(file, animation.path, max_pixels)
        while read < animation.announced:
            try:
                image.seek(read)
                check_pixels(image.size, max_pixels, str(animation.path))
                image.load()
                frame = pillow_to_rgb(image.copy(), str(animation.path))
            except damage_errors() as error:
                damage = str(error) or "damaged data"
                break
            if frame.shape[:2] != animation.size:
                damage = f"frame {read} is {frame.shape[0]}x{frame.shape[1]}, not {animation.size}"
                break
            yield time, frame
            read += 1
            time += _duration(image) if animation.timed else 1 / animation.fps
    if damage or animation.damage:
        of = f"{read} of {animation.announced} frames"
        raise TruncatedVideoError(f"{animation.path} breaks off after {of}: {damage or animation.damage}")


def frames_in(path: Path) -> int:
    """How many frames an animated image or a TIFF of several pages has; 1 for other files."""
    with BoundedFile(path) as file:
        head = file.read(40)
        if not _may_move(head):
            return 1
        count, _ = _blocks(path, head)
        if count or head[:1] in b"GR\x89":
            return max(1, count)
        try:
            file.seek(0)
            image: Any = open_pillow(file, path, 1 << 62)
            return int(getattr(image, "n_frames", 1))
        except damage_errors():
            return 1


def _duration(image: Any) -> float:
    seconds = float(image.info.get("duration") or 0) / 1000
    return seconds if seconds >= 0.02 else DEFAULT_DURATION


def _may_move(head: bytes) -> bool:
    return (
        head[:6] in (b"GIF87a", b"GIF89a")
        or head[:8] == b"\x89PNG\r\n\x1a\n"
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
        or head[4:12] == b"ftypavis"
    )


def _blocks(path: Path, head: bytes) -> tuple[int, str]:
    """Frames by the blocks of a file, and what is wrong with them."""
    if head[:3] == b"GIF":
        return _gif_blocks(path.read_bytes())
    if head[:4] == b"\x89PNG":
        return _png_chunks(path)
    if head[:4] == b"RIFF":
        return _webp_chunks(path)
    return _tiff_pages(path, head) if head[:2] in (b"II", b"MM") else (0, "")


def _gif_blocks(data: bytes) -> tuple[int, str]:
    """Images up to the trailer."""
    count, at = 0, 13
    try:
        at += 3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0
        while data[at] != 0x3B:
            if data[at] == 0x2C:
                count += 1
                at += 10 + (3 << (data[at + 9] & 7) + 1 if data[at + 9] & 0x80 else 0) + 1
            elif data[at] == 0x21:
                at += 2
            else:
                return count, f"data at byte {at} is damaged"
            while data[at]:
                at += data[at] + 1
            at += 1
    except IndexError:
        return count, "its end is missing"
    return count, ""


def _png_chunks(path: Path) -> tuple[int, str]:
    """Frames that the animation promises; every chunk has a checksum."""
    promised = shown = 0
    with path.open("rb") as file:
        file.seek(8)
        while True:
            at, head = file.tell(), file.read(8)
            if len(head) < 8:
                return promised, "its end is missing"
            size, kind = struct.unpack(">I4s", head)
            body = file.read(size) if at + size <= path.stat().st_size else b""
            told = file.read(4)
            if len(body) < size or len(told) < 4:
                return promised, "its end is missing"
            if zlib.crc32(body, zlib.crc32(kind)) != int.from_bytes(told, "big"):
                return promised, f"data at byte {at} is damaged"
            if kind == b"acTL" and size >= 4:
                promised = int.from_bytes(body[:4], "big")
            elif kind == b"fcTL":
                shown += 1
            elif kind == b"IDAT" and not promised:
                return 0, ""  # an image
            elif kind == b"IEND":
                return promised, "" if shown >= promised else f"it has {shown} of {promised} frames"


def _webp_chunks(path: Path) -> tuple[int, str]:
    """Frames of an animation by its chunks."""
    count, length = 0, path.stat().st_size
    with path.open("rb") as file:
        end = 8 + int.from_bytes(file.read(8)[4:], "little")
        if end > length:
            return 0, f"{end - length} bytes at its end are missing"
        at = 12
        while at + 8 <= end:
            file.seek(at)
            head = file.read(8)
            if not head[:4].isascii() or not head[:4].decode().strip().isalnum():
                return count, f"data at byte {at} is damaged"
            if sum(a != b for a, b in zip(head[:4], b"ANMF", strict=True)) == 1:
                return count, f"data at byte {at} is damaged"  # no chunk has such a name
            count += head[:4] == b"ANMF"
            size = int.from_bytes(head[4:], "little")
            at += 8 + size + size % 2
    return count, "" if at <= end + 1 else "data at its end is damaged"


def _tiff_pages(path: Path, head: bytes) -> tuple[int, str]:
    """Pages by the chain of their directories; each says where the next one lies, the last one 0."""
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in (b"+\0", b"\0+")
    number, entries, width = ("Q", "Q", 20) if big else ("I", "H", 12)
    size, begin = struct.calcsize(number), 8 if big else 4
    (at,) = struct.unpack(order + number, head[begin : begin + size])
    seen: set[int] = set()
    with path.open("rb") as file:
        while at:
            if at in seen:
                return len(seen), "its pages go round in a circle"
            file.seek(min(at, path.stat().st_size))
            told = file.read(struct.calcsize(entries))
            if len(told) < struct.calcsize(entries):
                return len(seen), f"page {len(seen)} lies behind its end"
            file.seek(struct.unpack(order + entries, told)[0] * width, 1)
            following = file.read(size)
            if len(following) < size:
                return len(seen), f"page {len(seen)} is cut"
            seen.add(at)
            (at,) = struct.unpack(order + number, following)
    return len(seen), ""
