"""Sound beside a written video, heard again with PyAV."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from instructseg.media import VideoWriter, open_video

from .clips import frames

RATE, SECONDS, FPS = 48_000, 2.0, 25


def talking(path: Path, codec: str, video_from: float = 0.0) -> Path:
    """Two seconds of film whose tone rises from 200 Hz at each half second by 200 Hz."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream("h264", rate=FPS)
        picture.height, picture.width, picture.pix_fmt = 48, 64, "yuv420p"
        voice = container.add_stream(codec, rate=RATE, layout="mono")
        for i, frame in enumerate(frames(int(SECONDS * FPS))):
            if i / FPS >= video_from:
                image = av.VideoFrame.from_ndarray(frame, format="rgb24")
                image.pts = i
                container.mux(picture.encode(image))
        container.mux(picture.encode(None))
        moments = np.arange(int(RATE * SECONDS)) / RATE
        tone = np.sin(2 * np.pi * (200 + 200 * (moments // 0.5)) * moments)
        sound = av.AudioFrame.from_ndarray((tone * 8000).astype(np.int16)[None], format="s16", layout="mono")
        sound.sample_rate, sound.pts = RATE, 0
        fitting = av.AudioResampler(format=voice.codec_context.format, layout="mono", rate=RATE)
        for part in [*fitting.resample(sound), None]:
            container.mux(voice.encode(part))
    return path


def heard(path: Path) -> tuple[str, np.ndarray]:
    """Codec, and the pitch in Hz in the middle of each half second."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        parts = [(float(frame.pts * frame.time_base), frame) for frame in container.decode(stream)]
        samples = np.zeros(int(RATE * (parts[-1][0] + 1)))
        for time, frame in parts:
            values = frame.to_ndarray().astype(float).reshape(-1)
            at = round(time * RATE)
            values = values[max(0, -at) :]
            samples[max(0, at) : max(0, at) + len(values)] = values
        name = stream.codec_context.name
    pitches = []
    for i in range(int(parts[-1][0] / 0.5 + 0.5)):
        window = samples[int((0.5 * i + 0.15) * RATE) : int((0.5 * i + 0.35) * RATE)]
        spectrum = np.abs(np.fft.rfft(window * np.hanning(len(window))))
        pitches.append(np.fft.rfftfreq(len(window), 1 / RATE)[spectrum.argmax()])
    return name, np.array(pitches)


def copied(source: Path, target: Path) -> None:
    video = open_video(source)
    with VideoWriter(target, video.fps, video.size, sound=source) as writer:
        for i, frame in enumerate(video):
            writer.write(frame, video.time(i))


@pytest.mark.parametrize(
    ("source", "codec", "target", "kept"),
    [
        ("a.mp4", "aac", "b.mp4", "aac"),
        ("a.mkv", "libopus", "b.webm", "opus"),
        ("a.mov", "pcm_s16le", "b.mov", "pcm_s16le"),
        ("a.mov", "pcm_s16le", "b.mp4", "aac"),
        ("a.mp4", "aac", "b.webm", "opus"),
    ],
)
def test_sound_is_copied_or_encoded(tmp_path: Path, source: str, codec: str, target: str, kept: str) -> None:
    copied(talking(tmp_path / source, codec), tmp_path / target)
    name, pitches = heard(tmp_path / target)
    assert name == kept
    assert np.abs(pitches - [200, 400, 600, 800]).max() < 12
    assert len(list(open_video(tmp_path / target))) == SECONDS * FPS


def test_a_copy_has_the_same_samples(tmp_path: Path) -> None:
    copied(talking(tmp_path / "a.mov", "pcm_s16le"), tmp_path / "b.mov")
    packets = []
    for name in ("a.mov", "b.mov"):
        with av.open(str(tmp_path / name)) as container:
            packets.append(b"".join(bytes(packet) for packet in container.demux(audio=0)))
    assert packets[0] == packets[1]


def test_sound_stays_with_its_frames_where_the_video_begins_later(tmp_path: Path) -> None:
    source = talking(tmp_path / "a.mkv", "libopus", video_from=0.5)
    copied(source, tmp_path / "b.mp4")
    _, pitches = heard(tmp_path / "b.mp4")
    assert np.abs(pitches[:3] - [400, 600, 800]).max() < 12


def test_an_interrupted_video_has_the_sound_so_far(tmp_path: Path) -> None:
    source = talking(tmp_path / "a.mp4", "aac")
    video = open_video(source)
    with (
        pytest.raises(KeyboardInterrupt),
        VideoWriter(tmp_path / "b.mp4", video.fps, video.size, sound=source) as writer,
    ):
        for i, frame in enumerate(video):
            writer.write(frame, video.time(i))
            if i == 24:
                raise KeyboardInterrupt
    with av.open(str(tmp_path / "b.mp4")) as container:
        last = [float(frame.pts * frame.time_base) for frame in container.decode(audio=0)][-1]
    assert 0.9 < last < 1.05


def test_a_source_without_sound_is_an_error(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", FPS, (48, 64)) as writer:
        writer.write(frames(1)[0])
    with (
        pytest.raises(ValueError, match=r"a\.mp4 has no sound"),
        VideoWriter(tmp_path / "b.mp4", FPS, (48, 64), sound=tmp_path / "a.mp4") as writer,
    ):
        writer.write(frames(1)[0])
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
