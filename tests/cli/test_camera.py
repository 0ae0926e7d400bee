"""A camera as the input of ``instructseg video``: OpenCV's place is taken by frames in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from instructseg import open_video
from instructseg.cli import app
from tests.cli.conftest import LENGTH, SIZE

pytestmark = pytest.mark.usefixtures("workspace")


class FakeCamera:
    """Camera 0, which gives the frames of a clip and then ends, or is stopped by Ctrl-C."""

    frames: Iterator[np.ndarray]
    stops = False

    def __init__(self, index: int) -> None:
        self.open = index == 0

    def isOpened(self) -> bool:
        return self.open

    def set(self, _name: int, _value: float) -> bool:
        return True

    def get(self, name: int) -> float:
        return 12.5 if name == cv2.CAP_PROP_FPS else 0.0

    def read(self) -> tuple[bool, np.ndarray | None]:
        frame = next(self.frames, None) if self.open else None
        if frame is None and self.open and self.stops:
            raise KeyboardInterrupt
        return frame is not None, None if frame is None else frame[..., ::-1]

    def release(self) -> None:
        self.open = False


@pytest.fixture(autouse=True)
def camera(clip_frames: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> type[FakeCamera]:
    class Camera(FakeCamera):
        frames = iter([*clip_frames, *clip_frames])

    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    return Camera


def run(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["video", *words])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def test_a_camera_is_a_video(clip_frames: np.ndarray) -> None:
    run("0", "--prompt", "the red circle", "-f", "rle,frames")
    found = json.loads(Path("out/camera-0.json").read_text())
    times = [frame["time"] for frame in found["frames"]]
    assert len(times) == 2 * LENGTH and times[0] == 0 and times == sorted(times)
    assert found["fps"] == 12.5
    np.testing.assert_array_equal(np.stack(list(open_video("out/frames/camera-0"))[:LENGTH]), clip_frames)


def test_ctrl_c_is_the_end_of_a_camera(camera: type[FakeCamera]) -> None:
    camera.stops = True
    result = run("0", "-p", "the red circle", "-f", "overlay,rle")
    # a result comes with the frames behind it, which the last ones lack
    count = len(json.loads(Path("out/camera-0.json").read_text())["frames"])
    assert 0 < count < 2 * LENGTH and len(list(open_video("out/camera-0_overlay.mp4"))) == count
    assert "wrote out/camera-0_overlay.mp4" in result.stdout


@pytest.mark.parametrize("word", ["1", "/dev/video1"])
def test_a_camera_that_is_not_there_is_one_line(word: str) -> None:
    result = run(word, "-p", "the red circle", code=2)
    assert result.stderr.splitlines()[-1].startswith("error: camera 1 gives no frame: connect it")
    assert not Path("out").exists()


def test_a_camera_is_no_image() -> None:
    result = CliRunner().invoke(app, ["image", "0", "the red circle"])
    assert result.exit_code == 2 and "camera 0 is a video: use 'instructseg video'" in result.stderr


def test_a_file_named_like_a_camera_is_a_file() -> None:
    Path("clip.mp4").rename("0")
    run("0", "-p", "the red circle", "-f", "rle")
    assert json.loads(Path("out/0.json").read_text())["frames"][0]["predictions"]


def test_python_takes_the_number_of_a_camera(clip_frames: np.ndarray) -> None:
    video = open_video(0)
    assert video.size == SIZE and video.live and video.fps == 12.5
    np.testing.assert_array_equal(np.stack(list(video)[:LENGTH]), clip_frames)
    with pytest.raises(ValueError, match="open it again"):
        next(iter(video))
