from __future__ import annotations

from typing import Any

import pytest

from recipes.nano.scenes.options import check_scene


@pytest.mark.parametrize(
    ("scene", "message"),
    [
        ({"hight": 1}, "data.scene.hight: unknown key; the closest is 'data.scene.height'"),
        ({"frames": 3}, "data.scene.frames: unknown key"),
        ({"height": ["a", "b"]}, r"data.scene.height: expected values as in \(96, 192\)"),
        ({"height": 3}, "data.scene.height: expected values as in"),
        ({"height": [64, 10**9]}, "data.scene.height: expected values as in"),
        ({"objects": [1.5, 2]}, "data.scene.objects: expected values as in"),
        ({"overlap": "x"}, "data.scene.overlap: expected values as in 0.12"),
        ({"textures": {"plain": "x"}}, "data.scene.textures: expected values as in"),
        ({"purpose": "x"}, "data.scene: purpose must be any or one of"),
        ({"backgrounds": {"photo": 1}}, "data.scene: backgrounds has only photo"),
    ],
)
def test_unknown_options_are_an_error_of_one_line(scene: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        check_scene(scene, photos=False)
    assert "\n" not in str(caught.value)


def test_options_that_are() -> None:
    check_scene(
        {"height": [64, 72], "radius": (0.1, 0.3), "overlap": 0, "backgrounds": {"photo": 1}}, photos=True
    )
