"""The sound of one file in another: copied packet by packet, or encoded anew for another container."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

COPIED = {
    "mp4": ("aac", "mp3", "ac3", "eac3", "alac", "opus"),
    "webm": ("opus", "vorbis"),
    "mov": ("aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s24le", "pcm_s16be", "pcm_s24be"),
}
"""Container -> codecs that it holds as they are."""
_ENCODED = {"mp4": "aac", "webm": "libopus", "mov": "aac"}
_OPUS_RATE = 48_000


class SoundTrack:
    """First sound track of a file, written to an open container beside a video.

    Args:
        source: the file; left open until :meth:`close`.
        container: an open output of PyAV whose header is not written yet.
        form: name of its format, a key of :data:`COPIED`.

    Attributes:
        broken: whether the source could not be read to its end.

    Raises:
        ValueError: the source has no sound.
    """

    def __init__(self, source: Path, container: Any, form: str) -> None:
        import av

        self.broken = False
        self._container = container
        self._input = av.open(str(source), metadata_errors="replace")
        if not self._input.streams.audio:
            self._input.close()
            raise ValueError(f"{source} has no sound")
        self._stream = self._input.streams.audio[0]
        self._encode = self._stream.codec_context.name not in COPIED[form]
        if self._encode:
            rate = _OPUS_RATE if form == "webm" else self._stream.codec_context.sample_rate
            self._out = container.add_stream(_ENCODED[form], rate=rate, layout=self._stream.layout.name)
            self._resampler = av.AudioResampler(
                format=self._out.codec_context.format, layout=self._out.layout.name, rate=rate
            )
        else:
            self._out = container.add_stream_from_template(self._stream)
        self._start = 0.0
        self._packets = self._read()
        self._next: tuple[float, Any] | None = None

    def copy(self, start: float, end: float) -> None:
        """Writes the sound up to a moment; each call goes on where the last one stopped.

        Args:
            start: seconds of the source at which the output begins; what sounds before is left out.
            end: seconds of the source.

        Raises:
            OSError: the output cannot be written.
        """
        self._start = start
        while True:
            item = self._next or next(self._packets, None)
            if item is None or item[0] >= end:
                self._next = item
                return
            self._next = None
            self._container.mux(item[1])

    def close(self, start: float, end: float = math.inf) -> None:
        """Writes the rest, up to ``end``, and closes the source."""
        try:
            self.copy(start, end)
            if self._encode:
                self._container.mux(self._out.encode(None))
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Closes the source."""
        self._input.close()

    def _read(self) -> Iterator[tuple[float, Any]]:
        """``(seconds, packets)`` in order; a damaged source ends."""
        import av

        try:
            for packet in self._input.demux(self._stream):
                if packet.dts is None or packet.pts is None:
                    continue
                time = float(packet.pts * packet.time_base)
                if time < self._start - 1e-6:
                    continue
                if self._encode:
                    with suppress(av.error.InvalidDataError):
                        yield time, self._encoded(packet)
                    continue
                offset = round(self._start / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - offset, packet.dts - offset, self._out
                yield time, packet
        except av.error.FFmpegError:
            self.broken = True

    def _encoded(self, packet: Any) -> list[Any]:
        packets = []
        for frame in packet.decode():
            frame.pts -= round(self._start / frame.time_base)
            for part in self._resampler.resample(frame):
                packets += self._out.encode(part)
        return packets
