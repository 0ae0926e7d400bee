"""Small clips, made on the spot."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def frames(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """``uint8[H, W, 3]`` each: soft colours, which survive compression, and none like another."""
    y, x = np.mgrid[:height, :width]
    waves = [(np.sin(x / 9 + i / 5), np.cos(y / 8 - i / 7), np.sin((x + y) / 12 + i / 3)) for i in range(count)]
    return [(110 + 70 * np.stack(wave, axis=2)).astype(np.uint8) for wave in waves]


def make(
    path: Path,
    count: int = 60,
    *,
    size: tuple[int, int] = (48, 64),
    faststart: bool = True,
    rotation: int = 0,
    codec: str = "h264",
    noise: bool = True,
) -> Path:
    """A video file; noise makes its packets large enough that a cut hits one."""
    rng = np.random.default_rng(0)
    options = {"movflags": "faststart"} if faststart and path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=Fraction(30000, 1001))
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        container.start_encoding()
        for frame in frames(count, *size):
            grain = rng.integers(0, 60, (size[0] // 4, size[1] // 4, 3), dtype=np.uint8)
            pixels = frame + grain.repeat(4, 0).repeat(4, 1) if noise else frame
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def make_song(path: Path, *, cover: bool) -> Path:
    """An audio file, with or without a cover picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        picture = container.add_stream("mjpeg", rate=1) if cover else None
        if picture is not None:
            picture.height, picture.width, picture.pix_fmt = 48, 64, "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
            container.mux(picture.encode(av.VideoFrame.from_ndarray(frames(1)[0], format="rgb24")))
        for i in range(20):
            sound = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono"
            )
            sound.sample_rate = 44100
            sound.pts = 1024 * i
            container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    return path


def cut(path: Path, share: float = 0.5) -> Path:
    """A copy with only the first part of the bytes."""
    data = path.read_bytes()
    shorter = path.with_name(f"cut-{path.name}")
    shorter.write_bytes(data[: int(len(data) * share)])
    return shorter
