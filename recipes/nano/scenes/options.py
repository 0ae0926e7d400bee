"""Options of drawn scenes as a configuration file has them: names and types, checked before any are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

import numpy as np

from recipes.nano.scenes.scene_config import SceneConfig

_ANY_SCENE = SceneConfig()
_LARGEST = 8192
"""Of all numbers: sides in pixels are the largest."""


def check_scene(scene: Mapping[str, Any], photos: bool) -> None:
    """Raises ``ValueError`` where these are no options of drawn scenes."""
    defaults = {entry.name: getattr(_ANY_SCENE, entry.name) for entry in fields(SceneConfig)}
    for name, value in scene.items():
        if name not in defaults or name in ("photos", "frames"):
            close = get_close_matches(str(name), defaults.keys() - {"photos", "frames"}, n=1, cutoff=0.0)
            raise ValueError(f"data.scene.{name}: unknown key; the closest is 'data.scene.{close[0]}'")
        if not _is_like(value, defaults[name]):
            raise ValueError(f"data.scene.{name}: expected values as in {defaults[name]!r}, got {value!r:.80}")
    photo = np.zeros((1, 1, 3), np.uint8)
    try:
        SceneConfig(**{**scene, "frames": 5, "photos": (photo,) if photos else ()})
    except ValueError as error:
        raise ValueError(f"data.scene: {error}") from error


def _is_like(value: Any, default: Any) -> bool:
    """Whether ``value`` can stand where ``default`` does."""
    if isinstance(default, bool | str):
        return type(value) is type(default)
    if isinstance(default, int | float):
        return type(value) in (int, float) and 0 <= value <= _LARGEST
    if isinstance(default, Mapping):
        return isinstance(value, dict) and all(_is_like(weight, 1.0) for weight in value.values())
    return isinstance(value, list | tuple) and all(
        _is_like(item, default[0]) and type(item) in (type(default[0]), int) for item in value
    )
