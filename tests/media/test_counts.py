"""Every container and shape of video against an independent count and independent times."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from instructseg.media import TruncatedVideoError, open_video
from tests.media.clips import frames

COUNT = 24
X265 = {"x265-params": "open-gop=1:keyint=8:bframes=3:scenecut=0:log-level=none"}
OPEN_GOP = {"x264-params": "open-gop=1:keyint=8:bframes=3:b-pyramid=1:scenecut=0"}
CLOSED_GOP = {"g": "8", "bf": "3"}
UNEVEN = [100 * i for i in range(10)] + [1000 + 33 * i for i in range(COUNT - 10)]


def encode(
    path: Path, encoder: str, *, form: str | None = None, times: list[int] | None = None, **options: Any
) -> Path:
    """``COUNT`` frames, 25 a second or at ``times`` in milliseconds."""
    pixel_format = options.pop("pixels", "yuv420p")
    container_options = options.pop("container", {})
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", format=form, options=container_options) as container:
        stream = container.add_stream(encoder, rate=25, options=options.pop("codec", {}))
        stream.height, stream.width, stream.pix_fmt = 48, 64, pixel_format
        base = Fraction(1, 1000) if times else Fraction(1, 25)
        if times:
            stream.codec_context.time_base = base
        for i, pixels in enumerate(frames(COUNT)):
            grain = rng.integers(0, 60, (12, 16, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
            frame = av.VideoFrame.from_ndarray(pixels + grain, format="rgb24")
            frame.pts, frame.time_base = times[i] if times else i, base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def copied(source: Path, path: Path, *, skip: int = 0, shift: float = 0.0, form: str | None = None) -> Path:
    """The packets from the ``skip``-th on, ``shift`` seconds later, as cutting without encoding makes them."""
    with av.open(str(source)) as old, av.open(str(path), "w", format=form) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for i, packet in enumerate(old.demux(video=0)):
            if packet.dts is not None and i >= skip:
                ticks = round(shift / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts + ticks, packet.dts + ticks, stream
                new.mux(packet)
    return path


def of(encoder: str, name: str, **options: Any) -> Callable[[Path], Path]:
    return lambda folder: encode(folder / name, encoder, **options)


def cut_from(
    encoder: str, source: str, name: str, options: dict[str, str], **how: Any
) -> Callable[[Path], Path]:
    return lambda folder: copied(encode(folder / source, encoder, codec=options), folder / name, **how)


SHAPES = {
    "h264 mp4": of("h264", "a.mp4"),
    "h264 mov": of("h264", "a.mov"),
    "h264 mkv": of("h264", "a.mkv"),
    "h264 avi": of("h264", "a.avi", codec={"bf": "2"}),
    "h264 ts": of("h264", "a.ts", codec=CLOSED_GOP),
    "h264 flv": of("h264", "a.flv"),
    "raw h264": of("h264", "a.h264"),
    "fragmented mp4": of("h264", "a.mp4", container={"movflags": "frag_keyframe+empty_moov"}, codec=CLOSED_GOP),
    "interlaced mp4": of("h264", "a.mp4", codec={"x264-params": "tff=1"}),
    "open gop mp4": of("h264", "a.mp4", codec=OPEN_GOP),
    "hevc mp4": of("libx265", "a.mp4", codec=X265),
    "av1 mp4": of("libsvtav1", "a.mp4", codec={"preset": "12"}),
    "vp8 webm": of("libvpx", "a.webm", codec={"auto-alt-ref": "1", "lag-in-frames": "16"}),
    "vp9 webm": of("libvpx-vp9", "a.webm", codec={"cpu-used": "8"}),
    "live webm": of("libvpx", "a.webm", container={"live": "1"}),
    "mpeg4 avi": of("mpeg4", "a.avi", codec={"bf": "2"}),
    "mpeg4 mp4": of("mpeg4", "a.mp4", codec={"bf": "2"}),
    "mjpeg avi": of("mjpeg", "a.avi", pixels="yuvj420p"),
    "prores mov": of("prores", "a.mov", pixels="yuv422p10le"),
    "mpeg2 mpg": of("mpeg2video", "a.mpg", codec={"bf": "2"}),
    "ffv1 mkv": of("ffv1", "a.mkv"),
    "wmv": of("wmv2", "a.wmv"),
    "uneven mp4": of("h264", "a.mp4", times=UNEVEN),
    "uneven mkv": of("h264", "a.mkv", times=UNEVEN),
    "late mkv": cut_from("h264", "a.mp4", "b.mkv", {}, shift=0.7),
    "late mp4": cut_from("h264", "a.mp4", "b.mp4", {}, shift=0.7),
    "late webm": cut_from("libvpx", "a.webm", "b.webm", {}, shift=1.5),
    "hidden by an edit list": cut_from("h264", "a.mp4", "b.mp4", CLOSED_GOP, shift=-0.12),
    "cut mp4": cut_from("h264", "a.mp4", "b.mp4", CLOSED_GOP, skip=3),
    "cut mkv": cut_from("h264", "a.mp4", "b.mkv", CLOSED_GOP, skip=3),
    "cut avi": cut_from("mpeg4", "a.avi", "b.avi", {}, skip=3),
    "cut open gop mp4": cut_from("h264", "a.mp4", "b.mp4", OPEN_GOP, skip=4),
    "cut open gop mkv": cut_from("h264", "a.mp4", "b.mkv", OPEN_GOP, skip=8),
    "cut open gop hevc": cut_from("libx265", "a.mp4", "b.mp4", X265, skip=5),
    "cut mpg": cut_from("mpeg2video", "a.mpg", "b.mpg", {"bf": "2"}, skip=3),
    "cut refresh without key frames": cut_from(
        "h264", "a.mp4", "b.mp4", {"x264-params": "intra-refresh=1:keyint=8"}, skip=4
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_what_decodes_is_what_is_read(tmp_path: Path, shape: str) -> None:
    path = SHAPES[shape](tmp_path)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        expected = [frame.pts for frame in container.decode(stream)]
        times = [float(pts * stream.time_base) for pts in expected if pts is not None]
    capture, seen = cv2.VideoCapture(str(path)), 0
    while capture.read()[0]:
        seen += 1
    if shape != "av1 mp4":  # OpenCV's ffmpeg has no decoder for it
        assert seen == len(expected)
    clip = open_video(path)
    assert clip.length is None
    assert len(list(clip)) == clip.read == clip.length == len(clip) == len(expected)
    if times:
        assert [clip.time(i) for i in range(len(times))] == pytest.approx(
            sorted(times)
        )  # an AVI has those of storing
    if shape.startswith(("uneven", "h264 mp4", "hidden")):
        assert clip.announced in (None, len(expected))


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tif"])
def test_animations_are_videos_with_their_own_times(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    durations = [50, 100, 200, 40, 60, 300]
    animation(path, durations)
    clip = open_video(path)
    assert clip.announced == 6
    seen = list(clip)
    assert len(seen) == 6
    if suffix == ".tif":  # its pages have no times
        assert not clip.timed
    else:
        assert [clip.time(i) for i in range(6)] == pytest.approx([sum(durations[:i]) / 1000 for i in range(6)])
        assert clip.fps == pytest.approx(6 / 0.75)
    if suffix in (".png", ".tif"):
        assert all(np.array_equal(a, b) for a, b in zip(seen, frames(6), strict=True))


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tif"])
def test_a_cut_animation_is_not_a_shorter_one(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    animation(path, [50] * 6)
    data = path.read_bytes()
    for share in (0.4, 0.6, 0.8, 0.95):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(ValueError, match=r"breaks off after \d of \d frames|is damaged"):
            list(open_video(path))


def animation(path: Path, durations: list[int]) -> None:
    first, *rest = [Image.fromarray(frame) for frame in frames(len(durations))]
    options: dict[str, Any] = {"lossless": True} if path.suffix == ".webp" else {}
    if path.suffix != ".tif":
        options |= {"duration": durations, "loop": 0}
    first.save(path, save_all=True, append_images=rest, **options)


DAMAGED = ["h264 mp4", "mpeg4 mp4", "h264 mkv", "vp8 webm", "mjpeg avi", "h264 avi", "prores mov", "av1 mp4"]


@pytest.mark.parametrize("shape", DAMAGED)
@pytest.mark.parametrize("kind", ["cut", "noise", "zeros"])
def test_no_frame_is_lost_unsaid(tmp_path: Path, shape: str, kind: str) -> None:
    path = SHAPES[shape](tmp_path)
    data = path.read_bytes()
    for seed in range(4):
        rng = np.random.default_rng(seed)
        at = int(len(data) * rng.uniform(0.2, 0.9))
        middle = bytes(200) if kind == "zeros" else rng.integers(0, 256, 200, np.uint8).tobytes()
        path.write_bytes(data[:at] if kind == "cut" else data[:at] + middle + data[at + 200 :])
        read = 0
        try:
            for _ in open_video(path):
                read += 1
        except TruncatedVideoError as error:
            assert f"{read} " in str(error)
        except ValueError:
            assert read == 0
        else:
            assert read == COUNT
