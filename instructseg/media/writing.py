"""Frames to an mp4 that plays everywhere."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from instructseg.files import temporary_path


class VideoWriter:
    """Writes frames to an H.264 ``yuv420p`` mp4, through a temporary file beside it.

    H.264 in 4:2:0, which is what every player and browser shows, has even sizes only: an odd height or width
    is made even by repeating its last row or column, so that no pixel is lost or moved.

    Use it in a ``with`` block. When the block is left by an exception (Ctrl-C included), the frames so far
    become a video that plays, unless ``keep_partial`` is false or there is none. After an error of the
    disk there is no video and no temporary file.

    Args:
        path: the ``.mp4`` to write; an older one is replaced at the end.
        fps: frames per second; 23.976, 29.97, 59.94 .. become the exact 24000/1001, 30000/1001, 60000/1001.
        size: ``(height, width)`` of every frame.
        keep_partial: whether an interrupted video is kept.

    Raises:
        ValueError: the suffix, ``fps`` or ``size`` is wrong; in the end, when no frame was written.
        OSError: the file cannot be written.
    """

    def __init__(
        self, path: str | Path, fps: float | Fraction, size: tuple[int, int], *, keep_partial: bool = True
    ) -> None:
        self.path = Path(path)
        self.fps = exact_fps(fps)
        self.size = size
        self.count = 0
        """Frames written so far."""
        if self.path.suffix.lower() != ".mp4":
            raise ValueError(f"{self.path}: the video written is an mp4, let the name end in .mp4")
        if min(size) < 1:
            raise ValueError(f"{self.path}: a frame has at least one pixel, got a size of {size[0]}x{size[1]}")
        self._keep_partial = keep_partial
        # so fine that any time has its place, and frames of even times lie exactly
        self._base = Fraction(1, self.fps.numerator * max(1, math.ceil(90_000 / self.fps.numerator)))
        self._first: float | None = None
        self._last: int | None = None
        self._failed = False
        self._container: Any = None

    def __enter__(self) -> VideoWriter:
        import av
        from av.video.reformatter import ColorRange, Colorspace

        self._temporary = temporary_path(self.path)
        with self._disk_errors():
            # faststart: the index comes first, so that a browser plays while it loads
            self._container = av.open(
                str(self._temporary), "w", format="mp4", options={"movflags": "faststart"}
            )
        stream = self._container.add_stream("h264", rate=self.fps, options={"crf": "18"})
        stream.height, stream.width = (side + side % 2 for side in self.size)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = self._base
        # players guess the colours of an untagged video by its size: say which they are
        stream.codec_context.color_range = ColorRange.MPEG
        stream.codec_context.colorspace = Colorspace.ITU709
        stream.codec_context.color_primaries = 1
        stream.codec_context.color_trc = 1
        self._stream = stream
        return self

    def write(self, frame: np.ndarray, time: float | None = None) -> None:
        """Appends ``uint8[H, W, 3]`` RGB.

        Args:
            frame: of the size that was announced.
            time: when it is shown, in seconds by any clock: the first frame begins the video. ``None`` for
                ``1 / fps`` behind the one before. Times that do not grow are moved on a little.

        Raises:
            ValueError: the frame is of another size or type, or the video is not open.
            OSError: the disk is full, or the file cannot be written for another reason.
        """
        import av

        if self._container is None:
            raise ValueError(f"{self.path} is not open: write within 'with VideoWriter(...)'")
        if frame.shape != (*self.size, 3) or frame.dtype != np.uint8:
            raise ValueError(
                f"{self.path}: frame {self.count} is {frame.dtype}{list(frame.shape)}, "
                f"announced was uint8{[*self.size, 3]}"
            )
        height, width = self.size
        even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        image = av.VideoFrame.from_ndarray(even, format="rgb24").reformat(
            format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG"
        )
        image.pts, image.time_base = self._ticks(time), self._base
        with self._disk_errors():
            self._container.mux(self._stream.encode(image))
        self.count += 1

    def _ticks(self, time: float | None) -> int:
        """The next frame's time in the units of the file."""
        step = round(1 / self.fps / self._base)
        if time is None:
            ticks = 0 if self._last is None else self._last + step
        else:
            if self._first is None:
                self._first = time - (0 if self._last is None else float((self._last + step) * self._base))
            ticks = round((time - self._first) / self._base)
            even = round(ticks / step) * step
            if abs(ticks - even) * self._base < Fraction(6, 10_000):  # Matroska rounds to milliseconds
                ticks = even
        if self._last is not None:
            ticks = max(ticks, self._last + 1)
        self._last = ticks
        return ticks

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import av

        container, self._container = self._container, None
        try:
            if self._failed or not self.count or (kind is not None and not self._keep_partial):
                with suppress(av.error.FFmpegError):
                    container.close()
            else:
                with self._disk_errors():
                    container.mux(self._stream.encode(None))
                    container.close()
                    self._temporary.replace(self.path)
        finally:
            self._temporary.unlink(missing_ok=True)
        if kind is None and not self.count:
            raise ValueError(f"{self.path}: no frame was written, so there is no video")

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        """Names the target instead of the temporary file; of a file once failed, nothing is kept."""
        try:
            yield
        except OSError as error:
            self._failed = True
            raise OSError(
                error.errno, f"{error.strerror}, writing {self.path} after {self.count} frames"
            ) from error


def exact_fps(fps: float | Fraction) -> Fraction:
    """The fraction that is meant: 29.97 is 30000/1001, the rate of television in the Americas and Japan.

    Raises:
        ValueError: ``fps`` is not positive.
    """
    if not 0 < float(fps) < math.inf:
        raise ValueError(f"fps must be positive, got {fps}")
    asked = Fraction(fps)
    television = Fraction(1000 * round(asked * Fraction(1001, 1000)), 1001)
    if asked.denominator > 1 and television and abs(asked - television) < Fraction(5, 1000):
        return television
    return asked.limit_denominator(100_000)
