"""Limits of a server, and uploads checked against them."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from instructseg.media import VideoSource, image_size, load_image, open_video
from instructseg.questions import wants_words
from instructseg.serve.failures import without_folder


@dataclass(frozen=True)
class Limits:
    """Limits of a server; each is at least 1.

    Attributes:
        upload: bytes of a request.
        pixels: of an image or frame.
        frames: of a video.
        instructions: of a request.
        length: characters of an instruction.
        seconds: until an image is answered.
        video_seconds: until a video is done.
        waiting: images in the queue.
        videos: at once.
    """

    upload: int = 200 * 2**20
    pixels: int = 4096 * 4096
    frames: int = 1800
    instructions: int = 16
    length: int = 500
    seconds: float = 120
    video_seconds: float = 600
    waiting: int = 64
    videos: int = 4

    def __post_init__(self) -> None:
        for entry in fields(self):
            if not 1 <= getattr(self, entry.name) < math.inf:
                raise ValueError(f"{entry.name} must be at least 1, got {getattr(self, entry.name)}")

    @property
    def late_image(self) -> str:
        """What is said when the time for an image is over."""
        return f"not done after {self.seconds:g} seconds: try a smaller image, or later"

    @property
    def late_video(self) -> str:
        """What is said when the time for a video is over."""
        return f"not done after {self.video_seconds:g} seconds: cut the video, or give fewer instructions"

    def check_instructions(self, given: Sequence[str]) -> list[str]:
        """The instructions without blanks around them.

        Raises:
            ValueError: there is none, or one is empty, too long, or not text in UTF-8; or they are too many.
        """
        found = [" ".join(text.split()) for text in given]
        if not found or not all(found):
            raise ValueError("an instruction is empty: describe an object, as in 'the red circle'")
        if len(found) > self.instructions:
            raise ValueError(
                f"{len(found)} instructions are too many at once: give at most {self.instructions}"
            )
        for text in found:
            if len(text) > self.length:
                raise ValueError(f"an instruction has {len(text)} characters: give at most {self.length}")
            if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
                raise ValueError("an instruction has characters that are no text: leave them out")
        return found

    def check_video_instructions(self, given: Sequence[str]) -> list[str]:
        """As :meth:`check_instructions`, of a video.

        Raises:
            ValueError: also where one asks for words.
        """
        found = self.check_instructions(given)
        asked = next((text for text in found if wants_words(text)), None)
        if asked is not None:
            raise ValueError(f"'{asked}' asks for words, which are written about images only")
        return found

    def open_image(self, path: Path) -> np.ndarray:
        """Reads an uploaded image, ``uint8[H, W, 3]``.

        Raises:
            ValueError: it is damaged, of a format that is not read, or too large.
        """
        try:
            self._check_size(image_size(path), "image")
            return load_image(path, self.pixels)
        except (ValueError, OSError) as error:
            raise without_folder(error, path) from error

    def open_video(self, path: Path) -> VideoSource:
        """Opens an uploaded video.

        Raises:
            ValueError: it is damaged, of a format that is not read, too large or too long.
        """
        try:
            video = open_video(path)
        except (ValueError, OSError) as error:
            raise without_folder(error, path) from error
        self._check_size(video.size, "video")
        if video.about is not None and video.about > self.frames:
            raise ValueError(f"the video has {video.about} frames: cut it to at most {self.frames}")
        return video

    def _check_size(self, size: tuple[int, int], kind: str) -> None:
        height, width = size
        if height * width > self.pixels:
            raise ValueError(f"the {kind} of {height} x {width} pixels is too large: make it smaller")
