"""Frames to a video: an mp4 that plays everywhere, or a WebM or MOV with transparency."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from instructseg.files import temporary_path
from instructseg.media.sound import SoundTrack


@dataclass(frozen=True)
class _Kind:
    """Container and codec of a video; with ``alpha``, frames are RGBA."""

    form: str
    codec: str
    pixels: str
    alpha: bool
    options: dict[str, str] = field(default_factory=dict)
    container: dict[str, str] = field(default_factory=dict)


_KINDS = {
    # faststart: the index comes first, so that a browser plays while it loads
    ".mp4": _Kind("mp4", "h264", "yuv420p", False, {"crf": "18"}, {"movflags": "faststart"}),
    ".webm": _Kind(
        "webm", "libvpx-vp9", "yuva420p", True, {"crf": "20", "b:v": "0", "deadline": "good", "cpu-used": "4"}
    ),
    ".mov": _Kind("mov", "prores_ks", "yuva444p10le", True, {"profile": "4444", "alpha_bits": "16"}),
}
"""Suffix -> kind of video."""


class VideoWriter:
    """Writes frames to a video, through a temporary file beside it.

    ``.mp4`` is H.264 in ``yuv420p``, which every player and browser shows; ``.webm`` is VP9 and ``.mov`` ProRes
    4444, both with transparency. 4:2:0 (mp4, WebM) has even sizes only: an odd height or width is made even by
    repeating the last row or column, so that no pixel is lost or moved.

    Use it in a ``with`` block. When the block is left by an exception (Ctrl-C included), the frames so far
    become a video that plays, unless ``keep_partial`` is false or there is none. After an error of the
    disk there is no video and no temporary file.

    Args:
        path: the ``.mp4``, ``.webm`` or ``.mov`` to write; an older one is replaced at the end.
        fps: frames per second; 23.976, 29.97, 59.94 .. become the exact 24000/1001, 30000/1001, 60000/1001.
        size: ``(height, width)`` of every frame.
        keep_partial: whether an interrupted video is kept.
        sound: a file whose first sound track is written too; the times of frames are then by its clock.

    Raises:
        ValueError: the suffix, ``fps`` or ``size`` is wrong; in the end, when no frame was written.
        OSError: the file cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        fps: float | Fraction,
        size: tuple[int, int],
        *,
        keep_partial: bool = True,
        sound: Path | None = None,
    ) -> None:
        self.path = Path(path)
        self.fps = exact_fps(fps)
        self.size = size
        self.count = 0
        """Frames written so far."""
        kind = _KINDS.get(self.path.suffix.lower())
        if kind is None:
            raise ValueError(f"{self.path}: the name of a video ends in {', '.join(_KINDS)}")
        if min(size) < 1:
            raise ValueError(f"{self.path}: a frame has at least one pixel, got a size of {size[0]}x{size[1]}")
        self._kind, self._keep_partial, self._source = kind, keep_partial, sound
        self._sound: SoundTrack | None = None
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
        kind = self._kind
        with self._disk_errors():
            self._container = av.open(str(self._temporary), "w", format=kind.form, options=kind.container)
        stream = self._container.add_stream(kind.codec, rate=self.fps, options=kind.options)
        stream.height, stream.width = (side + side % 2 for side in self.size)
        stream.pix_fmt = kind.pixels
        stream.codec_context.time_base = self._base
        # players guess the colours of an untagged video by its size: say which they are
        stream.codec_context.color_range = ColorRange.MPEG
        stream.codec_context.colorspace = Colorspace.ITU709
        stream.codec_context.color_primaries = 1
        stream.codec_context.color_trc = 1
        self._stream = stream
        if self._source is not None:
            try:
                self._sound = SoundTrack(self._source, self._container, kind.form)
            except (OSError, ValueError):
                self._failed = True
                self.__exit__(ValueError, None, None)
                raise
        return self

    def write(self, frame: np.ndarray, time: float | None = None) -> None:
        """Appends ``uint8[H, W, 3]`` RGB, or ``uint8[H, W, 4]`` RGBA to a WebM or MOV.

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
        channels = 4 if self._kind.alpha and frame.shape[2:] == (4,) else 3
        if frame.shape != (*self.size, channels) or frame.dtype != np.uint8:
            raise ValueError(
                f"{self.path}: frame {self.count} is {frame.dtype}{list(frame.shape)}, "
                f"announced was uint8{[*self.size, 3]}"
            )
        height, width = self.size
        even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        image = av.VideoFrame.from_ndarray(even, format="rgba" if channels == 4 else "rgb24").reformat(
            format=self._kind.pixels, dst_colorspace="ITU709", dst_color_range="MPEG"
        )
        image.pts, image.time_base = self._ticks(time), self._base
        with self._disk_errors():
            self._container.mux(self._stream.encode(image))
            if self._sound is not None:
                self._sound.copy(self._start, self._time)
        self.count += 1

    @property
    def _start(self) -> float:
        """Time of the first frame by the clock of the source."""
        return self._first or 0.0

    @property
    def _time(self) -> float:
        """End of the last frame by the clock of the source."""
        return self._start + float((self._last or 0) * self._base) + float(1 / self.fps)

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
                if self._sound is not None:
                    self._sound.abandon()
                with suppress(av.error.FFmpegError):
                    container.close()
            else:
                with self._disk_errors():
                    container.mux(self._stream.encode(None))
                    if self._sound is not None:
                        self._sound.close(self._start, self._time if kind is not None else math.inf)
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
