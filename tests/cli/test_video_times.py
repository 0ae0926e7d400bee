"""What results tell of a video's times and counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from instructseg.media import VideoWriter, open_video
from tests.cli.conftest import SIZE
from tests.cli.test_segment import run
from tests.media.clips import frames

pytestmark = pytest.mark.usefixtures("workspace")
TIMES = [0.0, 0.1, 0.2, 0.233, 0.5, 0.9]


def uneven(path: str) -> None:
    with VideoWriter(path, 10, SIZE) as writer:
        for frame, time in zip(frames(6, *SIZE), TIMES, strict=True):
            writer.write(frame, time)


def test_results_keep_the_times_of_the_video() -> None:
    uneven("uneven.mp4")
    run("video", "uneven.mp4", "the red circle", "-f", "overlay,rle")
    told = json.loads(Path("out/uneven.json").read_text())
    assert (told["announced"], told["read"]) == (6, 6)
    assert [frame["time"] for frame in told["frames"]] == pytest.approx(TIMES, abs=1e-3)
    overlay = open_video("out/uneven_overlay.mp4")
    assert len(overlay) == 6
    assert [overlay.time(i) for i in range(6)] == pytest.approx(TIMES, abs=1e-3)


def test_frames_lost_to_damage_end_in_code_2() -> None:
    uneven("damaged.mp4")
    data = Path("damaged.mp4").read_bytes()
    Path("damaged.mp4").write_bytes(data[:-30])
    result = run("video", "damaged.mp4", "the red circle", "-f", "rle", code=2)
    told = json.loads(Path("out/damaged.json").read_text())
    assert told["announced"] == 6 and 0 < told["read"] < 6
    assert f"breaks off after {told['read']} of 6 frames" in result.stderr


def test_an_animation_is_a_video_and_its_first_frame_an_image() -> None:
    first, *rest = [Image.fromarray(frame) for frame in frames(5, *SIZE)]
    first.save("anim.png", save_all=True, append_images=rest, duration=[100, 50, 200, 80, 60])
    run("video", "anim.png", "the red circle", "-f", "rle")
    told = json.loads(Path("out/anim.json").read_text())
    assert [frame["time"] for frame in told["frames"]] == pytest.approx([0, 0.1, 0.15, 0.35, 0.43])
    result = run("image", "anim.png", "the red circle", "-o", "still")
    assert "only the first of 5 frames was used" in result.stdout + result.stderr


def test_the_limit_of_pixels_can_be_set() -> None:
    for command, source in (("image", "photo.png"), ("video", "clip.mp4"), ("video", "frames")):
        result = run(command, source, "the red circle", "--max-pixels", 100, code=2)
        assert "more than 100" in result.stderr
