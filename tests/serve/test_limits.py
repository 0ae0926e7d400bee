"""Uploads beyond a limit are refused in a sentence that does not show the server's folders."""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

from instructseg.serve.limits import Limits
from tests.serve.conftest import image, png


def test_instructions_are_cleaned_and_checked() -> None:
    limits = Limits(instructions=2, length=14)
    assert limits.check_instructions([" the  red\ncircle"]) == ["the red circle"]
    for given, said in (
        ([], "is empty"),
        (["a", " "], "is empty"),
        (["a"] * 3, "3 instructions are too many"),
        (["the red circle moving"], "21 characters"),
        (["a\0b"], "no text"),
        (["\ud800"], "no text"),
    ):
        with pytest.raises(ValueError, match=said):
            limits.check_instructions(given)


def test_a_video_is_not_asked_for_words() -> None:
    assert Limits().check_video_instructions(["the red circle"]) == ["the red circle"]
    with pytest.raises(ValueError, match="'how many\\?' asks for words, which are written about images only"):
        Limits().check_video_instructions(["the red circle", "how many?"])


def test_an_image_within_the_limits_is_read(tmp_path: Path) -> None:
    path = tmp_path / "upload.png"
    path.write_bytes(png(1))
    np.testing.assert_array_equal(Limits().open_image(path), image(1))
    with pytest.raises(ValueError, match="the image of 40 x 56 pixels is too large"):
        Limits(pixels=2000).open_image(path)


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n" + bytes(99), png(0)[:200]])
def test_what_is_no_image_or_video_is_named_without_its_folder(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "upload.png"
    path.write_bytes(content)
    for read in (Limits().open_image, Limits().open_video):
        with pytest.raises(ValueError, match=r"upload\.png") as caught:
            read(path)
        assert str(tmp_path) not in str(caught.value) and "\n" not in str(caught.value)


def chunk(kind: bytes, content: bytes) -> bytes:
    """A part of a PNG."""
    return len(content).to_bytes(4, "big") + kind + content + crc32(kind + content).to_bytes(4, "big")


def test_advice_is_for_visitors_who_have_no_command_line(video: Path, tmp_path: Path) -> None:
    header = chunk(b"IHDR", (99_999).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0")
    content = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", bytes(99)) + chunk(b"IEND", b"")
    (tmp_path / "huge.png").write_bytes(content)
    (tmp_path / "text.mp4").write_text("hello")
    for read, path, said in (
        (Limits().open_image, tmp_path / "huge.png", r"huge\.png has 99999x99999 pixels, .*: make it smaller$"),
        (Limits().open_image, video, r"clip\.mp4 is a video: give it where a video is asked for$"),
        (Limits().open_video, tmp_path / "text.mp4", r"text\.mp4 is text, no video; videos are MP4, MOV"),
    ):
        with pytest.raises(ValueError, match=said):
            read(path)


def test_a_video_within_the_limits_is_opened(video: Path) -> None:
    assert Limits(frames=5).open_video(video).about == 5
    with pytest.raises(ValueError, match="5 frames: cut it to at most 4"):
        Limits(frames=4).open_video(video)
    with pytest.raises(ValueError, match="the video of 40 x 56 pixels"):
        Limits(pixels=2000).open_video(video)


def test_a_limit_is_at_least_one() -> None:
    with pytest.raises(ValueError, match="frames must be at least 1, got 0"):
        Limits(frames=0)
