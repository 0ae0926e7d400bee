"""Validation of images, videos and instructions given to the predictors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.media import ImageLike, VideoSource, load_image, open_video

MAX_PIXELS = 178_956_970
"""Largest image: Pillow's limit for files, applied to arrays too."""


def take_image(image: ImageLike) -> np.ndarray:
    """Reads an image into a copy, ``uint8[H, W, 3]`` RGB.

    Arrays must be ``uint8[H, W, 3]``: grey, floats or masks given for a frame are usually mistakes.

    Args:
        image: a path, an address, bytes, an open file, a tensor, a Pillow image, or ``uint8[H, W, 3]`` RGB.

    Raises:
        FileNotFoundError, ValueError, TypeError: as of :func:`~instructseg.media.load_image`; an array of
            another shape or type, or more than :data:`MAX_PIXELS`.
    """
    if isinstance(image, np.ndarray):
        _check_array(image)
        return np.array(image)
    return np.array(load_image(image))


def take_video(video: VideoSource | ImageLike | Iterable[ImageLike] | int) -> VideoSource:
    """Opens a video; frames in memory are checked by :func:`take_image`.

    Raises:
        FileNotFoundError, ValueError, TypeError: as of :func:`~instructseg.media.open_video` and of
            :func:`take_image`; for later frames when they are read.
    """
    if isinstance(video, VideoSource):
        return video
    if (
        isinstance(video, int | str | Path | bytes | bytearray)
        or hasattr(video, "read")
        or hasattr(video, "getexif")
    ):
        return open_video(video)
    if getattr(video, "ndim", 4) < 4:
        return open_video(take_image(video))  # type: ignore[arg-type]
    if isinstance(video, dict) or not isinstance(video, Iterable):
        raise TypeError(f"a video is a path, an image or an iterable of images, got {_kind(video)}")
    fps = getattr(video, "fps", None)
    if isinstance(video, Iterator):
        return open_video(map(take_image, video), fps)
    return open_video(_SizedFrames(video) if isinstance(video, Sized) else _Frames(video), fps)


def take_instructions(instructions: str | Sequence[str]) -> tuple[str, ...]:
    """One instruction or several, as a tuple.

    Raises:
        TypeError: one is no text.
        ValueError: there is none.
    """
    if isinstance(instructions, str):
        return (instructions,)
    if not isinstance(instructions, Iterable) or isinstance(instructions, bytes):
        raise TypeError(f"instructions are a text or a list of texts, got {_kind(instructions)}")
    given = tuple(instructions)
    for place, text in enumerate(given):
        if not isinstance(text, str):
            raise TypeError(f"instruction {place} is no text but {_kind(text)}")
    if not given:
        raise ValueError("no instruction: say what to look for")
    return given


def _check_array(array: np.ndarray) -> None:
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise ValueError(
            f"an image array is uint8[H, W, 3] RGB, got {array.dtype}{list(array.shape)}: "
            "instructseg.media.load_image makes one of grey, RGBA, 16 bits and floats of 0..1"
        )
    height, width = array.shape[:2]
    if not array.size:
        raise ValueError(f"an image array of {height}x{width} pixels is empty")
    if height * width > MAX_PIXELS:
        raise ValueError(f"an image of {height}x{width} is too large: the limit is {MAX_PIXELS} pixels")


def _kind(value: Any) -> str:
    return type(value).__name__


class _Frames:
    """Images of an iterable, each checked by :func:`take_image`."""

    def __init__(self, images: Iterable[Any]) -> None:
        self._images = images

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(take_image, self._images)


class _SizedFrames(_Frames):
    """The same with a length."""

    def __len__(self) -> int:
        assert isinstance(self._images, Sized)
        return len(self._images)
