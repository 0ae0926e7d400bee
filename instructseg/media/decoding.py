"""A video file to frames with their times, by PyAV; what decodes counts, not what the file promises.

Each packet of a video gives a frame, with few exceptions: those that an edit list hides, empty ones, frames
that are stored for others to look at (VP8, VP9), and frames at the beginning of a cut recording whose
references were cut off. A packet that gives none otherwise is a lost frame, and so is one that the index
names and the file lacks. Behind damage, frames are built on what is missing, so reading goes on at the next
key frame. Of a damaged file all the good frames come out, then an error.

decord is not used here: it repeats the last frame for each one that does not decode, and does not tell. Single
frames of files on which both agree come by it, see :mod:`instructseg.media.random_access`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.media.kinds import refusal
from instructseg.media.matroska import broken_structure
from instructseg.media.walk import Walk

DEFAULT_FPS = 24.0
"""Frames per second of a video that does not tell (a folder, an image): that of cinema and of DAVIS."""

_IN_METADATA = "replace"
"""What becomes of bytes in titles and tags that are no UTF-8; no frame depends on them."""


class TruncatedVideoError(ValueError):
    """A video ends before its announced end, or frames of it cannot be read; those that came out were good."""


@dataclass(frozen=True)
class Header:
    """What a file says of itself.

    Attributes:
        size: ``(height, width)`` of the upright frames in pixels.
        fps: frames per second, the mean where they vary; ``None`` where it does not tell.
        announced: how many frames its index promises to show; ``None`` where it has none.
        about: how many there are by its duration; ``None`` where it tells none.
        start: when the file begins by its own clock, in seconds.
        sound: codec of its sound; ``None`` where it has none.
    """

    size: tuple[int, int]
    fps: float | None
    announced: int | None
    about: int | None
    start: float = 0.0
    sound: str | None = None


def probe(path: Path, max_pixels: int) -> Header:
    """Reads the header and the first frame.

    Raises:
        ValueError: it is no video, has none in it, no frames, or frames of more than ``max_pixels``.
    """
    import av

    if told := refusal(path, "video"):  # text, too: a list of files would be opened as a video
        raise ValueError(told)
    try:
        with av.open(str(path), metadata_errors=_IN_METADATA) as container:
            stream = _video_stream(container)
            if stream is None:
                raise ValueError(f"{path} has no video in it")
            if stream.codec_context is None:
                raise ValueError(f"{path} holds a video of a kind that is not known, or is damaged")
            height, width = stream.height, stream.width
            if height * width > max_pixels:
                raise ValueError(
                    f"{path} has frames of {height}x{width} pixels, more than {max_pixels}: raise max_pixels"
                )
            fps = float(stream.average_rate or stream.guessed_rate or 0) or None
            about = round(container.duration / 1e6 * fps) if container.duration and fps else None
            announced, start = _announced(stream, path), (container.start_time or 0) / 1e6
            sound = container.streams.audio[0].codec_context.name if container.streams.audio else None
    except av.error.FFmpegError as error:
        told = (
            refusal(path, "video") or f"{path} is no video that can be read, or a damaged one: {error.strerror}"
        )
        raise ValueError(told) from error
    first = next(_Reading(path, announced, max_pixels).frames(), None)
    if first is None:
        raise ValueError(f"{path} has no frames that can be decoded")
    height, width = _pixels(first).shape[:2]
    return Header((height, width), fps, announced, about, start, sound)


def decode(path: Path, header: Header, max_pixels: int) -> Iterator[tuple[float | None, np.ndarray]]:
    """The good frames of a file, one at a time: ``(seconds or None, uint8[H, W, 3] RGB, upright)``.

    Raises:
        TruncatedVideoError: behind the last good frame of a damaged file.
    """
    from av.video.reformatter import VideoReformatter

    reformatter = VideoReformatter()
    reading = _Reading(path, header.announced, max_pixels)
    for frame in reading.frames():
        yield reading.time(frame), _pixels(frame, reformatter)


@dataclass
class _Reading:
    """One way through a file, which counts what came and what should have.

    Attributes:
        path, announced, max_pixels: as above.
        read: frames that came out.
        damage: what is wrong, once something is.
    """

    path: Path
    announced: int | None
    max_pixels: int
    read: int = 0
    damage: str = ""
    _tick: Any = None
    _clock: list[int] = field(default_factory=list)
    _given: int = 0
    _frames: int = 0
    _expected: list[int] = field(default_factory=list)
    _interlaced: bool = False
    _since: int = 0
    _holes: int = 0

    def frames(self) -> Iterator[Any]:
        """The good frames as PyAV has them.

        Raises:
            TruncatedVideoError: behind the last one, where frames were lost.
        """
        # threads decode fast, but tell late which packet failed: where one does, one thread goes on
        careful = False
        for frame in self._pass(careful):
            yield frame
            self.read += 1
        if self.damage:
            done, careful = self.read, True
            fresh = _Reading(self.path, self.announced, self.max_pixels)
            for frame in islice(fresh._pass(careful), done, None):
                if done and fresh._clock:  # those of the frames that came before
                    fresh._clock = sorted(fresh._clock)[done:]
                self._clock, done = fresh._clock, 0
                yield frame
                self.read += 1
            self.damage, self._since = fresh.damage, fresh._since
        if self.damage:
            raise TruncatedVideoError(self._message())

    def time(self, frame: Any) -> float | None:
        """When it is shown, in seconds; those that come last know no time base themselves."""
        ticks = frame.pts
        if (
            ticks is not None and self._clock
        ):  # times of storing, of which the earliest is that of the first shown
            ticks = heapq.heappop(self._clock)
        return None if ticks is None else float(ticks * self._tick)

    def _message(self) -> str:
        of = f" of {self.announced}" if self.announced else ""
        if self.read <= self._since:
            return f"{self.path} breaks off after {self.read}{of} frames: {self.damage}"
        announced = f"announced {self.announced}, " if self.announced else ""
        return (
            f"{self.path} is damaged: {announced}read {self.read} frames, those after the first {self._since} "
            f"with gaps: {self.damage}"
        )

    def _hurt(self, what: str) -> None:
        if not self.damage:
            self.damage, self._since = what, self._frames

    def _pass(self, careful: bool) -> Iterator[Any]:
        import av

        with av.open(str(self.path), metadata_errors=_IN_METADATA) as container:
            stream = _video_stream(container)
            stream.thread_type = "NONE" if careful else "AUTO"
            # explode: a frame that is patched up is an error, not a frame
            stream.codec_context.options = {"err_detect": "explode", "max_pixels": str(self.max_pixels)}
            self._tick = stream.time_base
            # an AVI has no times of showing, those of its packets are guessed in the order of storing
            walk = Walk(stream.codec_context.name, ordered="avi" not in container.format.name)
            end, packets, empty = 0.0, 0, 0
            try:
                for packet in container.demux():
                    end = max(end, _end(packet))
                    if packet.stream is not stream:
                        continue
                    if not packet.size:  # a frame that was dropped in recording, or the end
                        empty += packet.dts is not None
                        continue
                    packets += 1
                    yield from self._decoded(stream, packet, walk, careful)
                    if self.damage and not careful:
                        return
            except av.error.FFmpegError as error:
                self._hurt(error.strerror or "damaged data")
            yield from self._drained(stream, walk, careful)
            self._judge(container, stream, end, packets, empty)

    def _decoded(self, stream: Any, packet: Any, walk: Walk, careful: bool) -> Iterator[Any]:
        """The frames that come out behind one packet of the video."""
        import av

        began = walk.begin(packet)
        if walk.skipping:
            if not (packet.is_keyframe and not packet.is_corrupt):
                return
            walk.skipping = False
            walk.start = packet.pts  # what is shown before it is built on what is missing
        if packet.is_corrupt:  # usually the last one, cut in two
            self._hurt("damaged data")
            yield from self._to_next_key(stream, walk, careful)
            return
        if began and walk.shows(packet):
            self._given += 1
            if packet.pts is not None and walk.ordered:
                heapq.heappush(self._expected, packet.pts)
        if packet.pts is not None and not walk.ordered:
            heapq.heappush(self._clock, packet.pts)
        try:
            for frame in packet.decode():
                yield from self._out(frame, walk, careful)
            walk.last_dts = packet.dts if packet.pts is not None else None
        except av.error.FFmpegError as error:
            if (
                not began
                or (walk.cut and not self._frames)
                or (walk.start is not None and packet.pts is not None and packet.pts < walk.start)
            ):
                return  # a cut recording: what this one refers to was cut off
            self._hurt(error.strerror or "damaged data")
            yield from self._to_next_key(stream, walk, careful)

    def _to_next_key(self, stream: Any, walk: Walk, careful: bool) -> Iterator[Any]:
        if careful:
            walk.limit = walk.last_dts
            yield from self._drained(stream, walk, careful)
            walk.limit = None
            stream.codec_context.flush_buffers()
            walk.skipping = walk.keyed
            self._holes += 1
            if self._holes == 1:
                self._since = self._frames
            self._expected.clear()
            self._given = self._frames

    def _drained(self, stream: Any, walk: Walk, careful: bool) -> Iterator[Any]:
        """Frames that wait in the decoder; behind damage those before it."""
        import av

        if self.damage and not careful:
            return
        try:
            waiting = stream.decode(None)
        except av.error.FFmpegError as error:
            self._hurt(error.strerror or "damaged data")
            return
        for frame in waiting:
            yield from self._out(frame, walk, careful)

    def _out(self, frame: Any, walk: Walk, careful: bool) -> Iterator[Any]:
        if frame.is_corrupt and walk.began:
            self._hurt("a frame that was decoded in parts only")
            return
        if walk.limit is not None and (not walk.ordered or (frame.pts is not None and frame.pts > walk.limit)):
            return  # frames are stored in another order than shown: of what is lost, some belong in between
        self._interlaced = self._interlaced or frame.interlaced_frame
        if frame.pts is not None:
            while self._expected and self._expected[0] < frame.pts:
                heapq.heappop(self._expected)
                if walk.cut and not self._frames:  # it takes some frames until an image is whole
                    self._given -= 1
                elif not self._interlaced:  # two fields of a frame may be stored as two packets
                    self._hurt(f"a frame before {float(frame.pts * self._tick):.2f} s does not decode")
            if self._expected and self._expected[0] == frame.pts:
                heapq.heappop(self._expected)
        if self.damage and not careful:
            return
        self._frames += 1
        yield frame

    def _judge(self, container: Any, stream: Any, end: float, packets: int, empty: int) -> None:
        """Looks for frames that never came, once all packets are through."""
        lost = max(self._given - self._frames, len(self._expected))
        if lost > 0 and not (self._interlaced and 2 * self._frames >= self._given):
            self._hurt(f"{lost} frames do not decode")
        broken = broken_structure(self.path) if "matroska" in container.format.name else ""
        early = _missing(container, stream, end, bool(broken))
        if early or (broken and "at its end" not in broken):  # of a cut index alone, no frame is lost
            self._hurt(early or broken)
        # a cut AVI has lost its index, which what is read so far stands for
        indexed = min(len(stream.index_entries), stream.frames)
        if container.format.name == "avi":
            indexed = max(indexed, self.announced or 0)
        if packets + empty < indexed:
            self._hurt(f"{indexed - packets - empty} frames of the index are missing")


def _video_stream(container: Any) -> Any:
    """The first video of a file; the cover image of a song is none. ``None`` where there is none."""
    from av.stream import Disposition

    streams = container.streams.video
    return next((one for one in streams if not one.disposition & Disposition.attached_pic), None)


def _announced(stream: Any, path: Path) -> int | None:
    """Frames that the index promises to show: fewer than it stores where an edit list hides some."""
    with path.open("rb") as file:
        head = file.read(8)
    # the index of an AVI lies at its end: of one that was cut, only the header promises something
    cut = head[:4] == b"RIFF" and 8 + int.from_bytes(head[4:], "little") > path.stat().st_size
    if not stream.frames:
        return None
    shown = sum(1 for entry in stream.index_entries if not entry.is_discard and entry.size)
    return shown if shown > 1 and not cut else int(stream.frames)


def _end(packet: Any) -> float:
    """When a packet's frame or sound has been shown, in seconds."""
    start = packet.pts if packet.pts is not None else packet.dts
    return 0.0 if start is None else float((start + (packet.duration or 0)) * packet.time_base)


def _missing(container: Any, stream: Any, end: float, broken: bool) -> str:
    """What to say of packets that end earlier than announced, by more than muxers' roundings explain.

    Some containers count their duration from 0, others from their first frame: what suits both is believed.
    """
    if not container.duration:
        return ""
    missing = container.duration / 1_000_000 - end
    rate = float(stream.average_rate or DEFAULT_FPS)
    tolerance = 0.6 / rate if broken else max(0.25, 2 / rate)
    return f"the last {missing:.2f} seconds are missing" if missing > tolerance else ""


def _pixels(frame: Any, reformatter: Any = None) -> np.ndarray:
    """``uint8[H, W, 3]`` RGB; phones store upright images lying, with a note of the rotation."""
    pixels = frame if reformatter is None else reformatter.reformat(frame, format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels.to_ndarray(format="rgb24"), round(frame.rotation / 90)))
