"""Any clip to frames, one at a time: a video file, a folder of frames, a picture, or frames in memory.

How a file becomes frames is told in :mod:`instructseg.media.decoding`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.media.decoding import DEFAULT_FPS, TruncatedVideoError, decode, probe
from instructseg.media.images import ImageLike, load_image

FRAME_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
"""Files of a folder that are frames; others are passed over, and so are hidden ones."""


class VideoSource:
    """A clip: iterate over it for its frames, ``uint8[H, W, 3]`` RGB each, decoded when asked for.

    Memory does not grow with the length. Every iteration starts at the first frame, unless the clip was made
    from an iterator, which can be read once.

    Attributes:
        size: ``(height, width)`` of every frame in pixels, upright.
        fps: frames per second.
        timed: whether ``fps`` is known, and not :data:`DEFAULT_FPS`.
        length: how many frames are announced; ``None`` where the source does not tell, and ``len()`` is a
            TypeError. A damaged file has fewer.
        about: the same, or how many there are by the duration of a file that does not announce them.
        name: for messages and names of results.
        frame_names: of the files that the frames of a folder are, in order; empty for other sources.
    """

    def __init__(
        self,
        frames: Callable[[], Iterator[np.ndarray]],
        *,
        size: tuple[int, int],
        fps: float | None,
        length: int | None,
        name: str,
        about: int | None = None,
        frame_names: Sequence[str] = (),
    ) -> None:
        self._frames = frames
        self.size = size
        self.fps = fps or DEFAULT_FPS
        self.timed = fps is not None
        self.length = length
        self.about = about if length is None else length
        self.name = name
        self.frame_names = frame_names

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

    def passed_through(self, through: Callable[[VideoSource], Iterator[np.ndarray]]) -> VideoSource:
        """The same clip, each iteration of which goes through a function, such as one that reads ahead."""
        clip = copy(self)
        clip._frames = lambda: through(self)
        return clip


def open_video(source: ImageLike | Iterable[ImageLike], fps: float | None = None) -> VideoSource:
    """Opens a clip.

    Args:
        source: a video file; a folder of frames (:data:`FRAME_SUFFIXES`), taken in natural order (``2.jpg``
            before ``10.jpg``); a picture, which is a clip of one frame; or any iterable of pictures as
            :func:`load_image` takes them, ``uint8[T, H, W, 3]`` included.
        fps: frames per second; ``None`` for the source's own, which a file has and an iterable with an
            attribute ``fps``, or :data:`DEFAULT_FPS` where there is none.

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
            return _open_folder(path, fps)
        if path.suffix.lower() in FRAME_SUFFIXES:
            return _open_pictures([load_image(path)], fps, path.name)
        return _open_file(path, fps)
    if isinstance(source, Image.Image) or (isinstance(source, np.ndarray) and source.ndim < 4):
        return _open_pictures([source], fps, "picture")
    if isinstance(source, Iterable):
        return _open_pictures(source, fps or getattr(source, "fps", None), "clip")
    raise TypeError(f"a clip is a path, a picture or an iterable of pictures, got {type(source).__name__}")


def _open_pictures(pictures: Iterable[Any], fps: float | None, name: str) -> VideoSource:
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


def _open_folder(folder: Path, fps: float | None) -> VideoSource:
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

    names = [path.name for path in files]
    return VideoSource(frames, size=size, fps=fps, length=len(files), name=folder.name, frame_names=names)


def _open_file(path: Path, fps: float | None) -> VideoSource:
    header = probe(path)
    return VideoSource(
        lambda: decode(path, header),
        size=header.size,
        fps=fps or header.fps,
        length=header.length,
        name=path.name,
        about=header.about,
    )
