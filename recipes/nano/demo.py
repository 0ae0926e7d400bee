"""The video and the image that ``instructseg demo --model nano`` segments; they ship in ``instructseg/assets``.

    python -m recipes.nano.demo

writes them anew.
"""

from __future__ import annotations

import math
from importlib.resources import files
from pathlib import Path

import numpy as np

from instructseg.media import VideoWriter, save_image
from recipes.nano.scenes.objects import COLOURS, SceneObject
from recipes.nano.scenes.scenes import Scene, render

ASSETS = Path(str(files("instructseg"))) / "assets"
VIDEO, IMAGE = "drawn.mp4", "drawn.png"


def write_assets(folder: Path = ASSETS) -> None:
    """Draws both: the whole of :func:`demo_clip`, and its middle."""
    frames, fps, _ = demo_clip()
    with VideoWriter(folder / VIDEO, fps, frames.shape[1:3]) as writer:
        for frame in frames:
            writer.write(frame)
    save_image(folder / IMAGE, frames[len(frames) // 2])


def demo_clip(length: int = 32) -> tuple[np.ndarray, float, str]:
    """Demo video: a red circle crosses a small landscape among other objects.

    Args:
        length: frames, at least 2.

    Returns:
        ``uint8[length, 192, 256, 3]`` RGB, frames per second, and an instruction.

    Raises:
        ValueError: ``length`` is below 2.
    """
    return demo_scene(length).frames, 12.0, "the red circle moving left"


def demo_scene(length: int = 32) -> Scene:
    """The scene of :func:`demo_clip`, with its truth; its last object is the red circle."""
    if length < 2:
        raise ValueError(f"a clip in which something moves has at least 2 frames, got {length}")
    height, width = 192, 256
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    sky = np.array([176, 208, 232], np.float32) + down * np.array([60, 34, 10], np.float32)
    ground = np.array([150, 160, 128], np.float32) - down * np.array([30, 30, 34], np.float32)
    share = np.clip((down - 0.6) * height + 0.5, 0, 1)
    background = np.broadcast_to(sky + share * (ground - sky), (height, width, 3)).copy()
    time = np.linspace(0, 1, length)

    def obj(
        words: str, radius: float, x: np.ndarray, y: np.ndarray, motion: str, angle: float = 0.0
    ) -> SceneObject:
        size, texture, colour, shape = words.split()
        centres = np.stack(np.broadcast_arrays(x, y), axis=1)
        rgb = COLOURS[colour]
        return SceneObject(colour, shape, size, texture, motion, rgb, radius, angle, centres)

    rest = np.zeros(length)
    bounce = np.abs(np.sin(time * 3 * math.pi))
    return render(
        background,
        (
            obj("small plain yellow star", 15, rest + 44, rest + 34, "still", 0.15),
            obj("big striped blue square", 36, rest + 196, rest + 96, "still", -0.06),
            obj("medium plain green triangle", 25, 48 + 120 * time, rest + 158, "right"),
            obj("small dotted purple heart", 16, rest + 120, 24 + 36 * time, "down", 0.1),
            obj("medium plain red circle", 24, 222 - 186 * time, 122 - 42 * bounce, "left"),
        ),
    )


if __name__ == "__main__":
    write_assets()
