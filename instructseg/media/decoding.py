"""A video file to frames: decord reads sound files, PyAV all others.

decord is the field's reader, but it cannot open a file that was cut in two, ends quietly where data is
missing, repeats the last frame where an edit list hides some, and gets frames wrong that are rotated by a
quarter or a few pixels wide. So it is used where its count of frames is the announced one, nothing is
rotated and its frames have the right shape. PyAV tells the frames that a file has from those that it only
announces: of a damaged file all the good frames come out, then an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

DEFAULT_FPS = 24.0
"""Frames per second of a clip that does not tell (a folder, a picture): that of cinema and of DAVIS."""


class TruncatedVideoError(ValueError):
    """A clip ends before its announced end, or a frame of it cannot be read; the frames before were good."""


@dataclass(frozen=True)
class Header:
    """What a file says of itself.

    Attributes:
        size: ``(height, width)`` of the upright frames in pixels.
        fps: frames per second; ``None`` where it does not tell.
        length: how many frames it announces; ``None`` where it does not tell.
        about: how many there are by its duration; ``None`` where it tells none.
        rotated: whether its frames are stored lying or upside down.
    """

    size: tuple[int, int]
    fps: float | None
    length: int | None
    about: int | None
    rotated: bool


def probe(path: Path) -> Header:
    """Reads the header and the first frame.

    Raises:
        ValueError: it is no video, has none in it, or has no frames.
    """
    import av

    try:
        with av.open(str(path)) as container:
            stream = _video_stream(container)
            if stream is None:
                raise ValueError(f"{path} has no video in it")
            fps = float(stream.average_rate or stream.guessed_rate or 0) or None
            length = _announced(stream, fps)
            about = round(container.duration / 1e6 * fps) if container.duration and fps else None
    except av.error.FFmpegError as error:
        raise ValueError(f"{path} is no video that can be read, or a damaged one: {error.strerror}") from error
    first = next(_frames(path, length), None)
    if first is None:
        raise ValueError(f"{path} has no frames")
    height, width = _pixels(first).shape[:2]
    return Header((height, width), fps, length, about, rotated=bool(first.rotation))


def decode(path: Path, header: Header) -> Iterator[np.ndarray]:
    """The good frames of a file, ``uint8[H, W, 3]`` RGB, upright, decoded one at a time.

    Raises:
        TruncatedVideoError: behind the last good frame of a damaged file.
    """
    done = 0
    if not header.rotated:
        for frame in _decord_frames(path, header):
            yield frame
            done += 1
    if done == 0 or done != header.length:  # PyAV goes on behind the frames that came out
        for frame in islice(_frames(path, header.length), done, None):
            yield _pixels(frame)


def _decord_frames(path: Path, header: Header) -> Iterator[np.ndarray]:
    """Frames by decord, where it is installed and finds as many as are announced, until it fails."""
    try:
        import decord
    except ImportError:
        return
    try:
        reader = decord.VideoReader(str(path))
        if len(reader) != header.length:
            return
        for _ in range(len(reader)):
            frame = reader.next().asnumpy()
            if frame.shape != (*header.size, 3):
                return
            yield frame
    except (decord.DECORDError, RuntimeError):
        return


def _video_stream(container: Any) -> Any:
    """The first video of a file; the cover picture of a song is none. ``None`` where there is none."""
    from av.stream import Disposition

    streams = container.streams.video
    return next((one for one in streams if not one.disposition & Disposition.attached_pic), None)


def _announced(stream: Any, rate: float | None) -> int | None:
    """Frames that the header promises to show; fewer than it stores where an edit list hides some."""
    if not stream.frames:
        return None
    if not stream.duration or rate is None:
        return int(stream.frames)
    shown = round(float(stream.duration * stream.time_base) * rate)
    return shown if 0 < shown < stream.frames - 1 else int(stream.frames)


def _frames(path: Path, announced: int | None) -> Iterator[Any]:
    """The good frames of a file as PyAV has them.

    Raises:
        TruncatedVideoError: at the first damaged packet, or when the packets end before the announced end.
    """
    import av

    count, end, last_dts, damage = 0, 0.0, None, ""
    with av.open(str(path)) as container:
        stream = _video_stream(container)
        stream.thread_type = "AUTO"
        try:
            for packet in container.demux():
                if packet.is_corrupt:  # usually the last one, cut in two
                    damage = "damaged data"
                    break
                if not packet.size:  # a frame that was dropped in recording, or the end
                    continue
                end = max(end, _end(packet))
                if packet.stream is stream:
                    for frame in packet.decode():
                        yield frame
                        count += 1
                    last_dts = packet.dts if packet.pts is not None else None
            damage = damage or _missing(container, stream, end)
            for frame in stream.decode(None):
                # frames are stored in another order than shown: of what is lost, some may belong in between
                if damage and (last_dts is None or frame.pts is None or frame.pts > last_dts):
                    break
                yield frame
                count += 1
        except av.error.FFmpegError as error:
            damage = error.strerror or "damaged data"
    if damage:
        of = f" of {announced}" if announced else ""
        raise TruncatedVideoError(f"{path} breaks off after {count}{of} frames: {damage}")


def _end(packet: Any) -> float:
    """When a packet's frame or sound has been shown, in seconds."""
    start = packet.pts if packet.pts is not None else packet.dts
    return 0.0 if start is None else float((start + (packet.duration or 0)) * packet.time_base)


def _missing(container: Any, stream: Any, end: float) -> str:
    """What to say of packets that end earlier than announced, by more than muxers' roundings explain."""
    if not container.duration:
        return ""
    missing = (container.duration + (container.start_time or 0)) / 1_000_000 - end
    tolerance = max(0.25, 2 / float(stream.average_rate or DEFAULT_FPS))
    return f"the last {missing:.2f} seconds are missing" if missing > tolerance else ""


def _pixels(frame: Any) -> np.ndarray:
    """``uint8[H, W, 3]`` RGB; phones store upright pictures lying, with a note of the rotation."""
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)))
