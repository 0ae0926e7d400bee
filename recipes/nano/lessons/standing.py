"""Relational attributes of each object of a scene, by which instructions choose.

Places in orders, numbers of objects alike, travel and speed: a text may ask for any of them. States of the
language model that say them already leave it to the instruction to choose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recipes.nano.language.meaning import MIN_AREA, view
from recipes.nano.scenes.objects import MOTIONS
from recipes.nano.scenes.scenes import Scene

GROUPS: tuple[tuple[str, ...], ...] = ((), ("shape",), ("colour",), ("colour", "shape"))
"""Among all objects, those of the same shape, of the same colour, of both."""
PLACES = ("left", "right", "above", "below", "larger", "smaller", "alike")
"""How many others of the group stand there, and how many there are."""
MOVES = ("faster", "slower", "ahead", "behind", "movers")
"""Likewise of the others that move; ahead and behind among those with the same direction."""
STILL_DIM = len(GROUPS) * len(PLACES)
"""Columns that a single frame tells."""
TRAVEL_DIM = 3
"""Columns of the travel, as shares of width and height, times 4, and of whether it leaves; the last ones."""
STANDING_DIM = STILL_DIM + len(GROUPS) * len(MOVES) + TRAVEL_DIM
"""All columns."""
KIN: tuple[tuple[str, ...], ...] = (("shape",), ("colour",))
"""Groups whose members a layer of the language model is taught to look at."""
ORDERS: Mapping[bool, tuple[tuple[tuple[str, ...], str], ...]] = {
    False: ((("shape",), "left"), (("shape",), "above"), (("shape",), "larger"), (("colour",), "left")),
    True: (((), "faster"), (("shape",), "faster"), ((), "ahead"), (("shape",), "ahead")),
}
"""Members of groups that another layer is taught to look at, in images and in videos."""
_TRAVEL = 4.0


@dataclass(frozen=True, eq=False)
class Standing:
    """Relational attributes of a scene's objects.

    Attributes:
        numbers: ``float32[N, STANDING_DIM]``.
        kin: ``bool[len(KIN), N, N]``: ``[g, i, j]`` says whether ``j`` is another one of the group of ``i``.
        orders: ``bool[4, N, N]``, likewise of :data:`ORDERS`.
    """

    numbers: np.ndarray
    kin: np.ndarray
    orders: np.ndarray


def standing(scene: Scene, key: int, frames: Sequence[int]) -> Standing:
    """Relational attributes of the objects of a scene.

    Args:
        key: the frame that is asked about.
        frames: the references, in order; the travel is that from the first to the last of them.
    """
    things = scene.objects
    height, width = scene.ids.shape[1:]
    travel = np.stack([obj.centres[frames[-1]] - obj.centres[frames[0]] for obj in things])
    moving = np.array([obj.motion != "still" for obj in things])
    pairs = _pairs(scene, key, np.hypot(*travel.T), moving)
    shown = view(scene, key).areas >= MIN_AREA
    still: list[np.ndarray] = []
    moves: list[np.ndarray] = []
    alike = {group: _alike(scene, group) for group in GROUPS}
    for of in alike.values():
        among, movers = of & shown, of & moving
        for name in ("left", "above", "larger"):  # and their opposites
            still += [(among & pairs[name]).sum(1), (among & pairs[name].T).sum(1)]
        still.append(among.sum(1))
        slower = movers & moving[:, None] & pairs["faster"].T
        moves += [(movers & pairs["faster"]).sum(1), slower.sum(1)]
        moves += [(of & pairs["ahead"]).sum(1), (of & pairs["ahead"].T).sum(1), movers.sum(1)]
    gone = scene.visibility[key + 1 :].min(axis=0, initial=1.0) == 0
    ways = _TRAVEL * travel / (width, height)
    return Standing(
        np.stack([*still, *moves, *ways.T, gone], axis=1).astype(np.float32),
        np.stack([alike[group] for group in KIN]),
        np.stack([alike[group] & pairs[name] for group, name in ORDERS[len(scene.frames) > 1]]),
    )


def _alike(scene: Scene, group: Sequence[str]) -> np.ndarray:
    """``bool[N, N]``: whether ``j`` is another object than ``i`` with the same attributes."""
    looks = [tuple(getattr(obj, name) for name in group) for obj in scene.objects]
    same = np.array([[a == b for b in looks] for a in looks])
    return same & ~np.eye(len(looks), dtype=bool)


def _pairs(scene: Scene, key: int, speed: np.ndarray, moving: np.ndarray) -> Mapping[str, np.ndarray]:
    """Name -> ``bool[N, N]``: whether ``j`` stands so with regard to ``i``."""
    seen, things = view(scene, key), scene.objects
    own = np.stack([obj.centres[key] for obj in things])
    places = np.where(np.isfinite(seen.centres), seen.centres, own)
    ahead = np.zeros((len(things), len(things)), bool)
    for i, obj in enumerate(things):
        if obj.motion not in ("still", "diagonal"):
            rivals = np.array([other.motion == obj.motion for other in things])
            ahead[i] = rivals & ((own - own[i]) @ np.array(MOTIONS[obj.motion][0]) > 0)
    return {
        "left": places[None, :, 0] < places[:, None, 0],
        "above": places[None, :, 1] < places[:, None, 1],
        "larger": seen.areas[None] > seen.areas[:, None],
        "faster": (speed[None] > speed[:, None]) & moving[None],
        "ahead": ahead,
    }
