"""The bundled model's place is taken by random weights; pictures and clips are drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from instructseg import hub
from instructseg.media import VideoWriter
from tests.inference.conftest import checkpoint, nano, read_once

__all__ = ["checkpoint", "nano"]

FPS, SIZE, LENGTH = 30000 / 1001, (40, 57), 7


@pytest.fixture(autouse=True)
def bundled(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "DEFAULT_MODEL", checkpoint)
    read_once(monkeypatch)


@pytest.fixture(scope="session")
def clip_frames() -> np.ndarray:
    """A square that moves over a gradient, ``uint8[LENGTH, *SIZE, 3]``."""
    frames = np.zeros((LENGTH, *SIZE, 3), np.uint8)
    frames[..., 1] = np.linspace(40, 200, SIZE[1]).astype(np.uint8)
    for t, frame in enumerate(frames):
        frame[10:25, 5 * t : 5 * t + 14] = (220, 30, 30)
    return frames


@pytest.fixture
def workspace(tmp_path: Path, clip_frames: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``photo.png``, ``clip.mp4`` and the folder ``frames`` in the working directory."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(clip_frames[0]).save("photo.png")
    with VideoWriter("clip.mp4", FPS, SIZE) as writer:
        for frame in clip_frames:
            writer.write(frame)
    Path("frames").mkdir()
    for t, frame in enumerate(clip_frames[:3]):
        Image.fromarray(frame).save(f"frames/{t}.png")
    return tmp_path
