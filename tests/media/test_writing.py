from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from instructseg.media import VideoWriter, open_video
from instructseg.media.writing import exact_fps
from tests.media.clips import frames


def write(path: Path, pictures: list[np.ndarray], fps: float | Fraction = 25) -> None:
    with VideoWriter(path, fps, pictures[0].shape[:2]) as writer:
        for picture in pictures:
            writer.write(picture)


@pytest.mark.parametrize("count", [1, 2, 30])
def test_what_is_written_is_read(tmp_path: Path, count: int) -> None:
    path = tmp_path / "new" / "a.mp4"
    pictures = frames(count, 96, 128)
    write(path, pictures)
    assert list(path.parent.iterdir()) == [path]
    clip = open_video(path)
    assert (clip.size, clip.fps, len(clip)) == ((96, 128), 25, count)
    for frame, picture in zip(clip, pictures, strict=True):
        assert np.abs(frame.astype(int) - picture).mean() < 4


def test_it_is_h264_that_plays_everywhere(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", frames(5))
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.colorspace, context.color_range) == (1, 1)  # BT.709, television range
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize(
    "colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (128, 64, 32)]
)
def test_colours_survive(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    write(tmp_path / "a.mp4", [np.full((32, 32, 3), colour, dtype=np.uint8)] * 3)
    for frame in open_video(tmp_path / "a.mp4"):
        assert np.abs(frame.astype(int) - colour).max() <= 4


@pytest.mark.parametrize("size", [(47, 64), (48, 63), (47, 63), (1, 1)])
def test_odd_sizes_repeat_the_last_row_and_column(tmp_path: Path, size: tuple[int, int]) -> None:
    pictures = frames(3, *size)
    write(tmp_path / "a.mp4", pictures)
    clip = open_video(tmp_path / "a.mp4")
    assert clip.size == (size[0] + size[0] % 2, size[1] + size[1] % 2)
    for frame, picture in zip(clip, pictures, strict=True):
        assert np.abs(frame[: size[0], : size[1]].astype(int) - picture).mean() < 6


@pytest.mark.parametrize(
    ("fps", "expected"),
    [
        (29.97, Fraction(30000, 1001)),
        (30000 / 1001, Fraction(30000, 1001)),
        (23.976, Fraction(24000, 1001)),
        (59.94, Fraction(60000, 1001)),
        (24, Fraction(24)),
        (30.0, Fraction(30)),
        (5, Fraction(5)),
        (12.5, Fraction(25, 2)),
        (7.3, Fraction(73, 10)),
        (Fraction(15000, 1001), Fraction(15000, 1001)),
    ],
)
def test_fps_are_exact(tmp_path: Path, fps: float, expected: Fraction) -> None:
    assert exact_fps(fps) == expected
    write(tmp_path / "a.mp4", frames(12), fps)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].average_rate == expected


@pytest.mark.parametrize("fps", [0, -3, float("inf"), float("nan")])
def test_fps_is_positive(tmp_path: Path, fps: float) -> None:
    with pytest.raises(ValueError, match="fps must be positive"):
        VideoWriter(tmp_path / "a.mp4", fps, (4, 4))


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_video_plays(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.mp4"
    with pytest.raises(error), VideoWriter(path, 25, (48, 64)) as writer:
        for picture in frames(7):
            writer.write(picture)
        raise error
    assert len(list(open_video(path))) == 7
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_video_is_dropped_when_asked_or_empty(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("older")
    with (
        pytest.raises(KeyboardInterrupt),
        VideoWriter(tmp_path / "a.mp4", 25, (48, 64), keep_partial=False) as writer,
    ):
        writer.write(frames(1)[0])
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "a.mp4", 25, (48, 64)):
        raise KeyboardInterrupt
    assert (tmp_path / "a.mp4").read_text() == "older"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_video_without_frames_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no frame was written"), VideoWriter(tmp_path / "a.mp4", 25, (48, 64)):
        pass
    assert not list(tmp_path.iterdir())


def test_a_frame_that_does_not_fit(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 25, (48, 64)) as writer:
        writer.write(frames(1)[0])
        for wrong in (frames(1, 48, 66)[0], frames(1)[0].astype(float), frames(1)[0][..., 0]):
            with pytest.raises(ValueError, match=r"frame 1 is .* announced was uint8\[48, 64, 3\]"):
                writer.write(wrong)
    with pytest.raises(ValueError, match="is not open"):
        writer.write(frames(1)[0])
    assert len(list(open_video(tmp_path / "a.mp4"))) == 1


def test_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.avi: the name of a video ends in"):
        VideoWriter(tmp_path / "a.avi", 25, (4, 4))
    with pytest.raises(ValueError, match="got a size of 0x4"):
        VideoWriter(tmp_path / "a.mp4", 25, (0, 4))


@pytest.mark.skipif(sys.platform == "win32", reason="the limit of file sizes is POSIX")
@pytest.mark.parametrize("count", [4, 60], ids=["while closing", "while writing"])
def test_a_full_disk(tmp_path: Path, count: int) -> None:
    """A limit of the file size stands for it: the operating system refuses to write in the same way."""
    code = f"""
import resource, signal, sys
import numpy as np
from instructseg.media import VideoWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
rng = np.random.default_rng(0)
try:
    with VideoWriter({str(tmp_path / "a.mp4")!r}, 25, (128, 128)) as writer:
        for _ in range({count}):
            writer.write(rng.integers(0, 256, (128, 128, 3), dtype=np.uint8))
except OSError as error:
    sys.exit(f"{{error.errno}} {{error}}")
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert result.stderr.startswith("27 [Errno 27] File too large, writing")
    assert "a.mp4 after" in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), VideoWriter(tmp_path / "file" / "a.mp4", 25, (48, 64)):
        pass


def test_frames_have_times_of_their_own(tmp_path: Path) -> None:
    times = [7.0, 7.1, 7.133, 7.5, 7.52, 9.0]
    with VideoWriter(tmp_path / "a.mp4", 25, (48, 64)) as writer:
        for frame, time in zip(frames(6), times, strict=True):
            writer.write(frame, time)
    clip = open_video(tmp_path / "a.mp4")
    assert len(list(clip)) == 6
    assert [clip.time(i) for i in range(6)] == pytest.approx([time - 7 for time in times], abs=1e-3)


def test_times_rounded_to_milliseconds_stay_even(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 29.97, (48, 64)) as writer:
        for i, frame in enumerate(frames(9)):
            writer.write(frame, round(i * 1001 / 30000, 3))
    clip = open_video(tmp_path / "a.mp4")
    assert len(list(clip)) == 9
    assert clip.fps == 30000 / 1001
    assert [clip.time(i) for i in range(9)] == pytest.approx([i * 1001 / 30000 for i in range(9)])


def test_times_that_do_not_grow_lose_no_frame(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 25, (48, 64)) as writer:
        for frame, time in zip(frames(4), [0.0, 0.2, 0.1, 0.2], strict=True):
            writer.write(frame, time)
    assert len(list(open_video(tmp_path / "a.mp4"))) == 4


@pytest.mark.parametrize(("name", "decoder"), [("a.webm", "libvpx-vp9"), ("a.mov", "prores")])
def test_videos_with_transparency(tmp_path: Path, name: str, decoder: str) -> None:
    shown = frames(5)
    masks = [np.zeros((48, 64), bool) for _ in shown]
    for i, mask in enumerate(masks):
        mask[10:30, 6 * i : 6 * i + 24] = True
    with VideoWriter(tmp_path / name, 25, (48, 64)) as writer:
        for frame, mask in zip(shown, masks, strict=True):
            writer.write(np.dstack([frame, np.uint8(255) * mask]))
    with av.open(str(tmp_path / name)) as container:
        stream = container.streams.video[0]
        codec = av.CodecContext.create(decoder, "r")  # ffmpeg's own VP9 decoder leaves transparency out
        codec.extradata = stream.codec_context.extradata
        codec.width, codec.height = 64, 48
        if decoder == "prores":
            codec.codec_tag = stream.codec_context.codec_tag
        again = [
            frame.to_ndarray(format="rgba")
            for packet in container.demux(stream)
            for frame in codec.decode(packet)
        ]
    assert len(again) == 5
    for frame, mask, read in zip(shown, masks, again, strict=True):
        assert ((read[..., 3] > 127) == mask).mean() > 0.995
        assert np.abs(read[..., :3].astype(int) - frame)[mask].mean() < 4
