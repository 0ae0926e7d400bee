"""Any video to frames, one at a time: a file, a folder of frames, an image, a camera, or frames in memory.

How a file becomes frames is told in :mod:`instructseg.media.decoding`.
"""

from __future__ import annotations

import itertools
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import suppress
from copy import copy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from instructseg.media.animations import decode_animation, probe_animation
from instructseg.media.camera import Camera, camera_index
from instructseg.media.decoding import DEFAULT_FPS, TruncatedVideoError, decode, probe
from instructseg.media.images import MAX_PIXELS, ImageLike, load_image
from instructseg.media.incoming import is_content, store
from instructseg.media.kinds import FILE_SUFFIXES, is_image

FRAME_SUFFIXES = FILE_SUFFIXES
"""Files of a folder that are frames; others are passed over, and so are hidden ones."""


class VideoSource:
    """A video: iterate over it for its frames, ``uint8[H, W, 3]`` RGB each, decoded when asked for.

    Memory does not grow with the length. Every iteration starts at the first frame, unless the video was made
    from an iterator, which can be read once.

    Attributes:
        size: ``(height, width)`` of every frame in pixels, upright.
        fps: frames per second.
        timed: whether ``fps`` is known, and not :data:`DEFAULT_FPS`.
        length: how many frames there are; ``None`` where nobody knows before it is read to its end. ``len()``
            of a file reads it for that; of an iterator, it is a TypeError.
        announced: how many a file promises, which may not be true; ``None`` where it does not.
        about: the same, or how many there are by the duration of a file that does not announce them.
        read: frames that came out of the last iteration, so far.
        start: when the source begins by its own clock, in seconds; that of frames without times is 0.
        sound: codec of the sound of a file; ``None`` where there is none.
        name: for messages and names of results.
        live: whether it is a camera, which waits for its frames and ends when it is stopped.
        frame_names: of the files that the frames of a folder are, in order; empty for other sources.
    """

    def __init__(
        self,
        frames: Callable[[], Iterator[Any]],
        *,
        size: tuple[int, int],
        fps: float | None,
        length: int | None,
        name: str,
        announced: int | None = None,
        about: int | None = None,
        start: float = 0.0,
        sound: str | None = None,
        own_times: bool = False,
        frame_names: Sequence[str] = (),
    ) -> None:
        self._frames = frames
        self.size = size
        self.fps = fps or DEFAULT_FPS
        self.timed = fps is not None
        self.announced = announced if length is None else length
        self.about = about if self.announced is None else self.announced
        self.name, self.start, self.sound = name, start, sound
        self._own_times = own_times  # frames come as (time, frame)
        self._countable = False
        self._known = _Known(length)
        self.frame_names = frame_names
        self.live = False
        self.kept: object = None  # whatever must live as long as the video

    def __iter__(self) -> Iterator[np.ndarray]:
        """The frames in order.

        Raises:
            ValueError: a frame is of another size than the first.
            TruncatedVideoError: after the last good frame of a damaged video.
        """
        known, i = self._known, 0
        known.read = 0
        for item in self._frames():
            time, frame = item if self._own_times else (None, item)
            if frame.shape[:2] != self.size:
                raise ValueError(
                    f"{self.name}: frame {i} is {frame.shape[0]}x{frame.shape[1]}, "
                    f"the first is {self.size[0]}x{self.size[1]}"
                )
            if self._own_times and i == len(known.times):
                known.times.append(i / self.fps if time is None else time)
            i += 1
            known.read = i
            yield frame
        known.length = i

    @property
    def length(self) -> int | None:
        """See above."""
        return self._known.length

    @property
    def read(self) -> int:
        """See above."""
        return self._known.read

    def time(self, index: int) -> float:
        """When a frame that was read is shown, in seconds by the clock of its source."""
        times = self._known.times
        return times[index] if index < len(times) else self.start + index / self.fps

    def __len__(self) -> int:
        """How many frames come out; a file that was not read yet is decoded for it, once.

        Raises:
            TypeError: nobody knows, as of an iterator or a camera.
        """
        if self.length is None and not self.live and (self._own_times or self._countable):
            with suppress(TruncatedVideoError):
                for _ in self:
                    pass
            self._known.length = self.read
        if self.length is None:
            raise TypeError(f"{self.name} does not tell how many frames it has")
        return self.length

    def __bool__(self) -> bool:
        return True  # a video has a frame, whether or not it tells how many

    def _at(self, fps: float | None) -> VideoSource:
        """Itself, with even times where frames per second were asked for."""
        if fps is not None:
            timed, self.start = self._frames, 0.0
            self._frames = lambda: (frame for _, frame in timed())
            self._countable, self._own_times = True, False
        return self

    def passed_through(self, through: Callable[[VideoSource], Iterator[np.ndarray]]) -> VideoSource:
        """The same video, each iteration of which goes through a function, such as one that reads ahead."""
        video = copy(self)  # what is known of it is shared
        video._frames = lambda: through(self)
        video._countable, video._own_times = self._own_times or self._countable, False
        return video


class _Known:
    """What reading a video has shown: its times (8 bytes a frame), and how many frames there are."""

    def __init__(self, length: int | None) -> None:
        self.length = length
        self.read = 0
        self.times = array("d")


def open_video(
    source: ImageLike | Iterable[ImageLike] | int, fps: float | None = None, max_pixels: int = MAX_PIXELS
) -> VideoSource:
    """Opens a video.

    Args:
        source: a video file; a folder of frames (:data:`FRAME_SUFFIXES`), taken in natural order (``2.jpg``
            before ``10.jpg``); an animated GIF, PNG, WebP or AVIF, or a TIFF of several pages; an image,
            which is a video of one frame; the number of a camera, from 0; or any iterable of images as
            :func:`load_image` takes them, ``uint8[T, H, W, 3]`` included.
        fps: frames per second; ``None`` for the source's own, which a file has and an iterable with an
            attribute ``fps``, or :data:`DEFAULT_FPS` where there is none. Given, frames are that far apart
            instead of their own times.
        max_pixels: the most pixels of a frame; larger ones are refused before they are decoded.

    Raises:
        FileNotFoundError: there is no such file, folder or camera.
        ValueError: the video has no frames, or is none; ``fps`` is not positive.
    """
    from PIL import Image

    if fps is not None and not 0 < fps < float("inf"):
        raise ValueError(f"fps must be positive, got {fps}")
    if (camera := camera_index(source)) is not None:
        return _open_camera(camera, fps)
    if is_content(source):
        return _open_content(source, fps, max_pixels)
    if isinstance(source, str | Path):
        path = Path(source)
        if not path.exists():
            raise FileNotFoundError(f"no such video, folder or image: {path}")
        if path.is_dir():
            return _open_folder(path, fps, max_pixels)
        return _open_animation(path, fps, max_pixels) or _open_file(path, fps, max_pixels)
    if isinstance(source, Image.Image) or getattr(source, "ndim", 4) < 4:
        return _open_images([source], fps, "image", max_pixels)
    if isinstance(source, Iterable):
        return _open_images(source, fps or getattr(source, "fps", None), "video", max_pixels)
    raise TypeError(f"a video is a path, an image or an iterable of images, got {type(source).__name__}")


def _open_content(source: Any, fps: float | None, max_pixels: int) -> VideoSource:
    """A video from an address, bytes or an open file, in a temporary file that lives as long."""
    folder = TemporaryDirectory(prefix="instructseg-")
    path = store(source, folder.name)
    try:
        video = open_video(path, fps, max_pixels)
    except ValueError as error:
        told = source if isinstance(source, str) else "the content"
        raise ValueError(str(error).replace(str(path), told)) from error
    video.kept = folder
    return video


def _open_camera(index: int, fps: float | None) -> VideoSource:
    camera = Camera(index)
    size, name = camera.first.shape[:2], f"camera {index}"
    video = VideoSource(
        camera.frames, size=size, fps=fps or camera.fps, length=None, name=name, own_times=True
    )._at(fps)
    video.live = True
    return video


def _open_images(
    images: Iterable[Any], fps: float | None, name: str, max_pixels: int = MAX_PIXELS
) -> VideoSource:
    iterator = iter(images)
    try:
        first = load_image(next(iterator), max_pixels)
    except StopIteration:
        raise ValueError(f"{name} has no frames") from None
    length = len(images) if isinstance(images, Sized) else None
    once = iter([itertools.chain([first], iterator)])

    def frames() -> Iterator[np.ndarray]:
        again = iter(images) if iterator is not images else next(once, None)
        if again is None:
            raise ValueError(f"{name} was made from an iterator and has been read already")
        return (load_image(image, max_pixels) for image in again)

    return VideoSource(frames, size=first.shape[:2], fps=fps, length=length, name=name)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts digits by their number; the text itself breaks ties such as ``1`` and ``01``."""
    parts = re.findall(r"\d+|\D+", path.name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts] + [(-2, path.name)]


def frame_files(folder: Path) -> list[Path]:
    """The frames of a folder in natural order (``2.jpg`` before ``10.jpg``), without hidden files."""
    paths = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted((path for path in paths if path.suffix.lower() in FRAME_SUFFIXES), key=_natural)


def _open_folder(folder: Path, fps: float | None, max_pixels: int) -> VideoSource:
    files = frame_files(folder)
    if not files:
        raise ValueError(f"{folder} has no frames ({', '.join(FRAME_SUFFIXES)})")
    size = load_image(files[0], max_pixels).shape[:2]

    def frames() -> Iterator[np.ndarray]:
        for i, path in enumerate(files):
            try:
                frame = load_image(path, max_pixels)
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

    names = [path.name for path in files]
    return VideoSource(frames, size=size, fps=fps, length=len(files), name=folder.name, frame_names=names)


def _open_animation(path: Path, fps: float | None, max_pixels: int) -> VideoSource | None:
    """An animation, or an image as a video of one frame; ``None`` where it is neither."""
    animation = probe_animation(path, max_pixels)
    if animation is not None:
        return VideoSource(
            lambda: decode_animation(animation, max_pixels),
            size=animation.size,
            fps=fps or (animation.fps if animation.timed else None),
            length=None,
            name=path.name,
            announced=animation.announced,
            own_times=True,
        )._at(fps)
    if is_image(path):
        return _open_images([load_image(path, max_pixels)], fps, path.name)
    return None


def _open_file(path: Path, fps: float | None, max_pixels: int) -> VideoSource:
    header = probe(path, max_pixels)
    return VideoSource(
        lambda: decode(path, header, max_pixels),
        size=header.size,
        fps=fps or header.fps,
        length=None,
        name=path.name,
        announced=header.announced,
        about=header.about,
        start=header.start,
        sound=header.sound,
        own_times=True,
    )._at(fps)
