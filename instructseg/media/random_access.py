"""Single frames of a video file by decord, where it agrees with what decodes.

decord seeks to the key frame before the wanted one. But it goes by what a file announces and repeats the last
good frame in place of one that does not decode. So a file is read once in full first: only where decord has the
same number of frames at the same times is it trusted. Elsewhere, and without it, frames are decoded in order.
"""

from __future__ import annotations

import os
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.media.reading import open_video

_OPEN_FILES = 4
"""Files that decord keeps open in a process."""


def read_frame(path: Path, number: int) -> np.ndarray:
    """Reads one frame of a video file, ``uint8[H, W, 3]`` RGB.

    Args:
        path: the file.
        number: of the frame, from 0.

    Raises:
        IndexError: there is no such frame.
        FileNotFoundError, ValueError: there is no such file, or it is damaged before that frame.
    """
    if number < 0:
        raise IndexError(f"{path} has no frame {number}")
    stamp = path.stat().st_mtime_ns if path.is_file() else 0
    if number and _agrees(path, stamp):
        reader = _reader(path, stamp)
        if number >= len(reader):
            raise IndexError(f"{path} has {len(reader)} frames, so no frame {number}")
        return np.asarray(reader[number].asnumpy())
    for frame in islice(open_video(path), number, None):
        return frame
    raise IndexError(f"{path} has no frame {number}")


@lru_cache(maxsize=4096)
def _agrees(path: Path, stamp: int) -> bool:
    """Whether decord has the frames that decode, at their times; the file is decoded once to know them."""
    try:
        import decord
    except ImportError:
        return False
    video = open_video(path)
    try:
        count = len(video)
        reader = decord.VideoReader(str(path), num_threads=1)
        if len(reader) != count or reader[0].shape != (*video.size, 3):
            return False
        times = reader.get_frame_timestamp(range(count))[:, 0]
    except (ValueError, RuntimeError, decord.DECORDError):  # damage is reported where frames are read in order
        return False
    ours = np.array([video.time(number) for number in range(count)])
    return bool(np.abs((times - times[0]) - (ours - ours[0])).max() < 0.4 / video.fps)


def _opened(path: Path, stamp: int) -> Any:
    """An open file."""
    import decord

    return decord.VideoReader(str(path), num_threads=1)


_reader = lru_cache(maxsize=_OPEN_FILES)(_opened)
_inherited: list[Any] = []


def _leave_inherited() -> None:
    """Begins a forked process without open files: its parent's have no threads, and closing one crashes."""
    global _reader
    _inherited.append(_reader)
    _reader = lru_cache(maxsize=_OPEN_FILES)(_opened)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_inherited)
