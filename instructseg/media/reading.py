"""Any clip to frames, one at a time: a video file, a folder of frames, a picture, or frames in memory.

PyAV reads the files. It tells the frames that a file has from those that it only announces: of a damaged
file all the good frames come out, then an error; decord cannot open such a file, and repeats the last frame
where an edit list hides some.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sized
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.media.images import ImageLike, load_image

FRAME_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
"""Files of a folder that are frames; others are passed over, and so are hidden ones."""

DEFAULT_FPS = 24.0
"""Frames per second of a clip that does not tell (a folder, a picture): that of cinema and of DAVIS."""


class TruncatedVideoError(ValueError):
    """A clip ends before its announced end, or a frame of it cannot be read; the frames before were good."""


class VideoSource:
    """A clip: iterate over it for its frames, ``uint8[H, W, 3]`` RGB each, decoded when asked for.

    Memory does not grow with the length. Every iteration starts at the first frame, unless the clip was made
    from an iterator, which can be read once.

    Attributes:
        size: ``(height, width)`` of every frame in pixels, upright.
        fps: frames per second.
        length: how many frames are announced; ``None`` where the source does not tell, and ``len()`` is a
            TypeError. A damaged file has fewer.
        name: for messages and names of results.
    """

    def __init__(
        self,
        frames: Callable[[], Iterator[np.ndarray]],
        *,
        size: tuple[int, int],
        fps: float,
        length: int | None,
        name: str,
    ) -> None:
        self._frames = frames
        self.size = size
        self.fps = fps
        self.length = length
        self.name = name

    def __iter__(self) -> Iterator[np.ndarray]:
        """The frames in order.

        Raises:
            ValueError: a frame is of another size than the first.
            TruncatedVideoError: after the last good frame of a damaged clip.
        """
        for i, frame in enumerate(self._frames()):
            if frame.shape[:2] != self.size:
                raise ValueError(
                    f"{self.name}: frame {i} is {frame.shape[0]}x{frame.shape[1]}, "
                    f"the first is {self.size[0]}x{self.size[1]}"
                )
            yield frame

    def __len__(self) -> int:
        if self.length is None:
            raise TypeError(f"{self.name} does not tell how many frames it has")
        return self.length

    def __bool__(self) -> bool:
        return True  # a clip has a frame, whether or not it tells how many


def open_video(source: ImageLike | Iterable[ImageLike], fps: float | None = None) -> VideoSource:
    """Opens a clip.

    Args:
        source: a video file; a folder of frames (:data:`FRAME_SUFFIXES`), taken in natural order (``2.jpg``
            before ``10.jpg``); a picture, which is a clip of one frame; or any iterable of pictures as
            :func:`load_image` takes them, ``uint8[T, H, W, 3]`` included.
        fps: frames per second; ``None`` for the file's own, or :data:`DEFAULT_FPS` where there is none.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: the clip has no frames, or is none; ``fps`` is not positive.
    """
    from PIL import Image

    if fps is not None and not 0 < fps < float("inf"):
        raise ValueError(f"fps must be positive, got {fps}")
    if isinstance(source, str | Path):
        path = Path(source)
        if not path.exists():
            raise FileNotFoundError(f"no such video, folder or picture: {path}")
        if path.is_dir():
            return _open_folder(path, fps or DEFAULT_FPS)
        if path.suffix.lower() in FRAME_SUFFIXES:
            return _open_pictures([load_image(path)], fps or DEFAULT_FPS, path.name)
        return _open_file(path, fps)
    if isinstance(source, Image.Image) or (isinstance(source, np.ndarray) and source.ndim < 4):
        return _open_pictures([source], fps or DEFAULT_FPS, "picture")
    if isinstance(source, Iterable):
        return _open_pictures(source, fps or DEFAULT_FPS, "clip")
    raise TypeError(f"a clip is a path, a picture or an iterable of pictures, got {type(source).__name__}")


def _open_pictures(pictures: Iterable[Any], fps: float, name: str) -> VideoSource:
    iterator = iter(pictures)
    try:
        first = load_image(next(iterator))
    except StopIteration:
        raise ValueError(f"{name} has no frames") from None
    length = len(pictures) if isinstance(pictures, Sized) else None
    once = iter([itertools.chain([first], iterator)])

    def frames() -> Iterator[np.ndarray]:
        again = iter(pictures) if iterator is not pictures else next(once, None)
        if again is None:
            raise ValueError(f"{name} was made from an iterator and has been read already")
        return (load_image(picture) for picture in again)

    return VideoSource(frames, size=first.shape[:2], fps=fps, length=length, name=name)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts digits by their number; the text itself breaks ties such as ``1`` and ``01``."""
    parts = re.findall(r"\d+|\D+", path.name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts] + [(-2, path.name)]


def _open_folder(folder: Path, fps: float) -> VideoSource:
    files = sorted(
        (
            path
            for path in folder.iterdir()
            if path.suffix.lower() in FRAME_SUFFIXES and not path.name.startswith(".")
        ),
        key=_natural,
    )
    if not files:
        raise ValueError(f"{folder} has no frames ({', '.join(FRAME_SUFFIXES)})")
    size = load_image(files[0]).shape[:2]

    def frames() -> Iterator[np.ndarray]:
        for i, path in enumerate(files):
            try:
                frame = load_image(path)
            except (ValueError, OSError) as error:
                raise TruncatedVideoError(
                    f"{folder} breaks off after {i} of {len(files)} frames: {error}"
                ) from error
            if frame.shape[:2] != size:
                raise ValueError(
                    f"{path} is {frame.shape[0]}x{frame.shape[1]}, {files[0].name} is {size[0]}x{size[1]}: "
                    "the frames of a folder are of one size"
                )
            yield frame

    return VideoSource(frames, size=size, fps=fps, length=len(files), name=folder.name)


def _open_file(path: Path, fps: float | None) -> VideoSource:
    import av

    try:
        with av.open(str(path)) as container:
            stream = _video_stream(container)
            if stream is None:
                raise ValueError(f"{path} has no video in it")
            rate = float(stream.average_rate or stream.guessed_rate or 0) or DEFAULT_FPS
            length = _announced(stream, rate)
    except av.error.FFmpegError as error:
        raise ValueError(f"{path} is no video that can be read, or a damaged one: {error.strerror}") from error
    first = next(_decode(path, length), None)
    if first is None:
        raise ValueError(f"{path} has no frames")
    return VideoSource(
        lambda: _decode(path, length),
        size=first.shape[:2],
        fps=fps or rate,
        length=length,
        name=path.name,
    )


def _video_stream(container: Any) -> Any:
    """The first video of a file; the cover picture of a song is none. ``None`` where there is none."""
    from av.stream import Disposition

    streams = container.streams.video
    return next((one for one in streams if not one.disposition & Disposition.attached_pic), None)


def _announced(stream: Any, rate: float) -> int | None:
    """Frames that the header promises to show; fewer than it stores where an edit list hides some."""
    if not stream.frames:
        return None
    if not stream.duration:
        return int(stream.frames)
    shown = round(float(stream.duration * stream.time_base) * rate)
    return shown if 0 < shown < stream.frames - 1 else int(stream.frames)


def _decode(path: Path, announced: int | None) -> Iterator[np.ndarray]:
    """The good frames of a file, upright.

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
                        yield _pixels(frame)
                        count += 1
                    last_dts = packet.dts if packet.pts is not None else None
            damage = damage or _missing(container, stream, end)
            for frame in stream.decode(None):
                # frames are stored in another order than shown: of what is lost, some may belong in between
                if damage and (last_dts is None or frame.pts is None or frame.pts > last_dts):
                    break
                yield _pixels(frame)
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
