"""Cameras of this machine as videos, by OpenCV."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


def camera_index(source: Any) -> int | None:
    """The camera that is meant by ``0``, ``"camera 0"`` or ``"/dev/video0"``; ``None`` for anything else."""
    if isinstance(source, int) and not isinstance(source, bool):
        return source
    if not isinstance(source, str | Path):
        return None
    found = re.fullmatch(r"(?:camera |/dev/video)(\d{1,4})", str(source))
    return int(found[1]) if found else None


class Camera:
    """An open camera, to be read once.

    Attributes:
        fps: frames per second as the camera says; ``None`` where it does not.
        first: ``uint8[H, W, 3]`` RGB, the frame that was read to see that there are some.

    Raises:
        FileNotFoundError: there is no such camera, or it gives no frame.
    """

    def __init__(self, index: int) -> None:
        import cv2

        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # the error is one line
        try:
            self._capture = cv2.VideoCapture(index)
        finally:
            cv2.utils.logging.setLogLevel(level)
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest frame, where reading is slower
        self._start = time.monotonic()
        first = self._read()
        if first is None:
            self._capture.release()
            raise FileNotFoundError(
                f"camera {index} gives no frame: connect it, allow its use, or end the program that uses it"
            )
        self.first = first
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps = fps if 0 < fps < 1000 else None

    def frames(self) -> Iterator[tuple[float, np.ndarray]]:
        """Times in seconds since the first frame, and frames, until the camera ends.

        Raises:
            ValueError: it has been read already.
        """
        if not self._capture.isOpened():
            raise ValueError("the camera was closed after it was read: open it again")
        try:
            yield 0.0, self.first
            while (frame := self._read()) is not None:
                yield time.monotonic() - self._start, frame
        finally:
            self._capture.release()

    def _read(self) -> np.ndarray | None:
        there, frame = self._capture.read()
        return np.ascontiguousarray(frame[..., ::-1]) if there else None
