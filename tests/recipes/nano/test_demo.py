"""What ``instructseg demo`` segments is what the recipe draws."""

from __future__ import annotations

import numpy as np
import pytest

from instructseg.hub import DRAWN_IMAGE, DRAWN_VIDEO
from instructseg.media import load_image, open_video
from recipes.nano.demo import ASSETS, IMAGE, VIDEO, demo_clip, demo_scene
from recipes.nano.language.expressions import meanings
from recipes.nano.scenes.objects import HELD_OUT


def test_a_demo_without_motion_is_refused() -> None:
    with pytest.raises(ValueError, match="a clip in which something moves has at least 2 frames, got 1"):
        demo_clip(1)


def test_the_demo_video() -> None:
    frames, fps, instruction = demo_clip()
    assert frames.shape == (32, 192, 256, 3)
    assert frames.dtype == np.uint8
    assert fps > 0
    scene = demo_scene()
    np.testing.assert_array_equal(frames, scene.frames)
    for t in range(len(frames)):
        asked = [m for m in meanings(scene, t) if instruction in m.wordings]
        assert [m.targets for m in asked] == [(4,)]
        assert scene.visibility[t, 4] == 1
    assert (scene.objects[4].velocities[:, 0] < 0).all()
    assert not {(o.colour, o.shape) for o in scene.objects} & HELD_OUT


def test_the_shipped_files_are_drawn_by_the_recipe() -> None:
    assert (ASSETS / IMAGE, ASSETS / VIDEO) == (DRAWN_IMAGE, DRAWN_VIDEO)
    frames, fps, _ = demo_clip()
    video = open_video(DRAWN_VIDEO)
    assert (len(video), video.fps) == (len(frames), fps)
    shown = np.stack(list(video)).astype(int)
    assert np.abs(shown - frames).mean() < 4  # the file is compressed
    np.testing.assert_array_equal(load_image(DRAWN_IMAGE), frames[len(frames) // 2])
    assert DRAWN_VIDEO.stat().st_size + DRAWN_IMAGE.stat().st_size < 50_000
