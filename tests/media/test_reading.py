from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from instructseg.media import MAX_PIXELS, TruncatedVideoError, open_video, reading, save_image
from tests.media.clips import cut, frames, make, make_song


def good_frames(clip: Iterable[np.ndarray]) -> tuple[int, str]:
    """How many frames come out, and the message of the error after them."""
    count = 0
    with pytest.raises(TruncatedVideoError) as caught:
        for _ in clip:
            count += 1
    return count, str(caught.value)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_a_file(tmp_path: Path, name: str) -> None:
    clip = open_video(make(tmp_path / name, noise=False))
    assert clip.size == (48, 64)
    assert clip.fps == pytest.approx(30000 / 1001)
    assert clip.timed
    assert clip.name == name
    assert clip.length in (60, None)
    for _ in range(2):  # every iteration starts anew
        seen = list(clip)
        assert len(seen) == 60
        for frame, drawn in zip(seen, frames(60), strict=True):
            assert frame.dtype == np.uint8
            assert frame.shape == (48, 64, 3)
            assert np.abs(frame.astype(int) - drawn).mean() < 8


def test_a_file_that_does_not_tell_its_frame_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = make(tmp_path / "a.mp4")
    header = reading.probe(file, MAX_PIXELS)
    monkeypatch.setattr(reading, "probe", lambda path, max_pixels: replace(header, fps=None))
    clip = open_video(file)
    assert (clip.fps, clip.timed) == (24.0, False)


def test_a_clip_passed_through_a_function(tmp_path: Path) -> None:
    clip = open_video(make(tmp_path / "a.mp4"))
    darker = clip.passed_through(lambda frames: (frame // 2 for frame in frames))
    for told in ("size", "fps", "timed", "length", "name"):
        assert getattr(darker, told) == getattr(clip, told)
    for _ in range(2):
        for frame, dark in zip(clip, darker, strict=True):
            assert np.array_equal(frame // 2, dark)


def test_frames_are_those_of_decord(tmp_path: Path) -> None:
    decord = pytest.importorskip("decord")
    # not rotated by a quarter: decord then makes frames of four channels
    for path in (make(tmp_path / "a.mp4"), make(tmp_path / "b.mp4", rotation=180), make(tmp_path / "c.mkv")):
        reader = decord.VideoReader(str(path))
        clip = open_video(path)
        assert clip.length in (len(reader), None)
        assert clip.fps == pytest.approx(reader.get_avg_fps())
        for frame, other in zip(clip, reader, strict=True):
            assert np.abs(frame.astype(int) - other.asnumpy()).mean() < 1


def test_the_rotation_of_a_phone_is_undone(tmp_path: Path) -> None:
    lying = open_video(make(tmp_path / "a.mp4"))
    for rotation in (90, 180, -90):
        upright = open_video(make(tmp_path / f"{rotation}.mp4", rotation=rotation))
        expected = np.rot90(next(iter(lying)), rotation // 90)
        assert upright.size == expected.shape[:2]
        assert np.array_equal(next(iter(upright)), expected)


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    height, width = 128, 128
    clip = open_video(make(tmp_path / "long.mp4", 150, size=(height, width)))
    next(iter(clip))
    tracemalloc.start()
    count = sum(1 for _ in clip)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 150
    assert peak < 12 * height * width * 3


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
@pytest.mark.parametrize("share", [0.5, 0.8])
def test_half_a_file_gives_its_good_frames_then_an_error(tmp_path: Path, name: str, share: float) -> None:
    whole = make(tmp_path / name)
    clip = open_video(cut(whole, share))
    count, message = good_frames(clip)
    assert share * 60 / 3 < count < 60
    assert f"cut-{name} breaks off after {count}" in message
    if name == "a.mp4":
        assert f"after {count} of 60 frames" in message
    for frame, expected in zip(itertools.islice(clip, count), open_video(whole), strict=False):
        assert np.array_equal(frame, expected)


def test_a_cut_between_two_packets_is_found(tmp_path: Path) -> None:
    whole = make(tmp_path / "a.mp4")
    with av.open(str(whole)) as container:
        packets = [packet.pos for packet in container.demux(video=0) if packet.pos]
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole.read_bytes()[: sorted(packets)[20]])
    count, message = good_frames(open_video(path))
    assert 15 <= count <= 20
    assert "seconds are missing" in message or "damaged data" in message


def test_half_a_file_with_its_index_at_the_end_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cut-a\.mp4 is no video that can be read, or a damaged one"):
        open_video(cut(make(tmp_path / "a.mp4", faststart=False)))


def test_frames_that_an_edit_list_hides_are_not_announced(tmp_path: Path) -> None:
    whole = make(tmp_path / "a.mp4")
    trimmed = tmp_path / "trimmed.mp4"
    with av.open(str(whole)) as source, av.open(str(trimmed), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts - 10 * 1001, packet.dts - 10 * 1001
                packet.stream = stream
                target.mux(packet)
    clip = open_video(trimmed)
    seen = list(clip)
    assert len(seen) == len(clip) == 50
    assert np.array_equal(seen[0], list(open_video(whole))[10])


@pytest.mark.parametrize("cover", [False, True])
def test_sound_alone_is_no_video(tmp_path: Path, cover: bool) -> None:
    with pytest.raises(ValueError, match=r"song\.mp4 has no video in it"):
        open_video(make_song(tmp_path / "song.mp4", cover=cover))


def test_files_that_are_no_video(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such video, folder or image"):
        open_video(tmp_path / "absent.mp4")
    for content in (b"", b"hello"):
        (tmp_path / "a.mp4").write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.mp4 is (an empty file|text, no video)"):
            open_video(tmp_path / "a.mp4")
    with pytest.raises(ValueError, match=r"none\.avi has no frames"):
        open_video(make(tmp_path / "none.avi", 0))


def save_frames(folder: Path, names: list[str]) -> list[np.ndarray]:
    pictures = frames(len(names))
    for name, picture in zip(names, pictures, strict=True):
        save_image(folder / name, picture)
    return pictures


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    pictures = save_frames(tmp_path, ["img1.png", "img2.PNG", "img9.bmp", "img010.png", "img100.png"])
    (tmp_path / "notes.txt").write_text("no frame")
    save_image(tmp_path / ".img3.png", pictures[0])
    clip = open_video(tmp_path)
    assert (clip.size, clip.fps, len(clip), clip.name) == ((48, 64), 24.0, 5, tmp_path.name)
    for frame, picture in zip(clip, pictures, strict=True):
        assert np.array_equal(frame, picture)
    assert not clip.timed
    timed = open_video(str(tmp_path), fps=6)
    assert (timed.fps, timed.timed) == (6, True)


def test_a_folder_without_frames(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no frame")
    with pytest.raises(ValueError, match=r"has no frames \(\.jpg"):
        open_video(tmp_path)


def test_a_damaged_frame_of_a_folder_ends_it(tmp_path: Path) -> None:
    save_frames(tmp_path, ["0.png", "1.png", "2.png", "3.png"])
    (tmp_path / "2.png").write_bytes((tmp_path / "2.png").read_bytes()[:60])
    count, message = good_frames(open_video(tmp_path))
    assert count == 2
    assert "breaks off after 2 of 4 frames" in message
    assert "2.png is damaged" in message


def test_a_frame_that_vanishes_ends_the_folder(tmp_path: Path) -> None:
    save_frames(tmp_path, ["0.png", "1.png"])
    clip = open_video(tmp_path)
    (tmp_path / "1.png").unlink()
    assert good_frames(clip)[0] == 1


def test_a_frame_of_another_size_is_named(tmp_path: Path) -> None:
    save_frames(tmp_path, ["0.png", "1.png"])
    save_image(tmp_path / "2.png", frames(1, 20, 30)[0])
    with pytest.raises(ValueError, match=r"2\.png is 20x30, 0\.png is 48x64"):
        list(open_video(tmp_path))
    with pytest.raises(ValueError, match="frame 1 is 20x30, the first is 48x64"):
        list(open_video([frames(1)[0], frames(1, 20, 30)[0]]))


def test_a_picture_is_a_clip_of_one_frame(tmp_path: Path) -> None:
    (picture,) = save_frames(tmp_path, ["a.png"])
    for source in (tmp_path / "a.png", picture, Image.fromarray(picture)):
        clip = open_video(source)
        assert len(clip) == 1
        assert np.array_equal(next(iter(clip)), picture)


def test_frames_in_memory() -> None:
    pictures = frames(4)
    for source in (pictures, np.stack(pictures), [Image.fromarray(picture) for picture in pictures]):
        clip = open_video(source, fps=10)
        assert (len(clip), clip.size, clip.fps) == (4, (48, 64), 10)
        for _ in range(2):
            assert all(np.array_equal(a, b) for a, b in zip(clip, pictures, strict=True))


def test_an_iterator_is_read_once_and_lazily() -> None:
    drawn = []

    def camera() -> Iterable[np.ndarray]:
        for i in itertools.count():
            drawn.append(i)
            yield frames(1)[0]

    clip = open_video(camera())
    assert drawn == [0]
    assert clip.length is None
    assert clip
    with pytest.raises(TypeError, match="does not tell how many frames"):
        len(clip)
    assert len(list(itertools.islice(clip, 5))) == 5
    assert len(drawn) <= 6
    with pytest.raises(ValueError, match="has been read already"):
        next(iter(clip))


@pytest.mark.parametrize("source", [[], iter([])])
def test_no_frames_in_memory(source: Iterable[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="video has no frames"):
        open_video(source)


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_fps_is_positive(fps: float) -> None:
    with pytest.raises(ValueError, match="fps must be positive"):
        open_video(frames(1), fps=fps)


def test_what_is_no_clip() -> None:
    with pytest.raises(TypeError, match="got float"):
        open_video(3.0)  # type: ignore[arg-type]
