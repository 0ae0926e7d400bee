"""What is true of things among others, beside plain counting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recipes.nano.language.meaning import MIN_AREA, view
from recipes.nano.lessons.standing import (
    GROUPS,
    KIN,
    MOVES,
    ORDERS,
    PLACES,
    STANDING_DIM,
    STILL_DIM,
    standing,
)
from recipes.nano.scenes.objects import MOTIONS
from recipes.nano.scenes.scenes import Scene, SceneConfig, draw_scene

IMAGE = SceneConfig(height=(64, 80), width=(64, 80), objects=(3, 5), related=0.9, backgrounds={"white": 1})
PURPOSES = ("twins", "race", "parked", "leave")


def scene_for(purpose: str, seed: int) -> Scene:
    config = SceneConfig(
        height=(64, 90), width=(64, 90), frames=5, objects=(2, 5), purpose=purpose, backgrounds={"white": 1}
    )
    return draw_scene(np.random.default_rng(seed), config)


def counted(scene: Scene, key: int, i: int, group: tuple[str, ...]) -> dict[str, int]:
    """By walking over the others."""
    seen, things = view(scene, key), scene.objects
    one, found = things[i], dict.fromkeys((*PLACES, *MOVES), 0)

    def place(j: int) -> np.ndarray:
        return seen.centres[j] if np.isfinite(seen.centres[j]).all() else things[j].centres[key]

    def speed(j: int) -> float:
        return float(np.hypot(*(things[j].centres[4] - things[j].centres[0]))) if len(scene.frames) > 1 else 0.0

    for j, other in enumerate(things):
        if j == i or any(getattr(one, name) != getattr(other, name) for name in group):
            continue
        if seen.areas[j] >= MIN_AREA:
            found["alike"] += 1
            found["left"] += bool(place(j)[0] < place(i)[0])
            found["right"] += bool(place(j)[0] > place(i)[0])
            found["above"] += bool(place(j)[1] < place(i)[1])
            found["below"] += bool(place(j)[1] > place(i)[1])
            found["larger"] += bool(seen.areas[j] > seen.areas[i])
            found["smaller"] += bool(seen.areas[j] < seen.areas[i])
        if other.motion != "still":
            found["movers"] += 1
            found["faster"] += speed(j) > speed(i)
            found["slower"] += one.motion != "still" and speed(j) < speed(i)
        if other.motion == one.motion and one.motion not in ("still", "diagonal"):
            gap = (other.centres[key] - one.centres[key]) @ np.array(MOTIONS[one.motion][0])
            found["ahead"] += bool(gap > 0)
            found["behind"] += bool(gap < 0)
    return found


@pytest.mark.parametrize("seed", range(6))
def test_an_image_is_counted(seed: int) -> None:
    scene = draw_scene(np.random.default_rng(seed), IMAGE)
    said = standing(scene, 0, [0]).numbers
    assert said.shape == (len(scene.objects), STANDING_DIM)
    for i in range(len(scene.objects)):
        for number, group in enumerate(GROUPS):
            truth = counted(scene, 0, i, group)
            columns = said[i, number * len(PLACES) : (number + 1) * len(PLACES)]
            assert columns.tolist() == [truth[name] for name in PLACES]
    assert not said[:, STILL_DIM:].any()


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("key", [0, 2, 4])
def test_a_video_is_counted(purpose: str, key: int) -> None:
    for seed in range(4):
        scene = scene_for(purpose, seed)
        references = [t for t in range(5) if t != key]
        said = standing(scene, key, [0, 4] if key == 2 else references).numbers
        if key != 2:  # speeds are compared over the references alone, which keeps their order
            said_order = standing(scene, key, [0, 4]).numbers
            assert np.array_equal(said[:, : STANDING_DIM - 3], said_order[:, : STANDING_DIM - 3])
        for i in range(len(scene.objects)):
            for number, group in enumerate(GROUPS):
                truth = counted(scene, key, i, group)
                start = STILL_DIM + number * len(MOVES)
                assert said[i, start : start + len(MOVES)].tolist() == [truth[name] for name in MOVES]


def test_travel_and_leaving() -> None:
    scene = scene_for("leave", 3)
    height, width = scene.ids.shape[1:]
    said = standing(scene, 2, [0, 1, 3, 4]).numbers
    for i, obj in enumerate(scene.objects):
        way = (obj.centres[4] - obj.centres[0]) / (width, height) * 4
        assert said[i, -3:-1] == pytest.approx(way, abs=1e-5)
        assert said[i, -1] == float(scene.visibility[3:, i].min() == 0)
    assert said[:, -1].any()


@pytest.mark.parametrize("purpose", ["race", "any"])
def test_pairs_match_the_counts(purpose: str) -> None:
    for seed in range(4):
        config = replace(IMAGE, frames=5 if purpose == "race" else 1, purpose=purpose)
        scene = draw_scene(np.random.default_rng(seed), config)
        frames = list(range(len(scene.frames)))
        known = standing(scene, 0, frames)
        names = [(group, name) for group in GROUPS for name in PLACES]
        moves = [(group, name) for group in GROUPS for name in MOVES]
        shown = np.array([scene.area(i, 0) >= MIN_AREA for i in range(len(scene.objects))])
        for number, group in enumerate(KIN):
            column = known.numbers[:, names.index((group, "alike"))]
            assert np.array_equal((known.kin[number] & shown).sum(1), column)
        for number, pair in enumerate(ORDERS[len(frames) > 1]):
            if pair in names:
                counts, column = known.orders[number] & shown, names.index(pair)
            else:
                counts, column = known.orders[number], STILL_DIM + moves.index(pair)
            assert np.array_equal(counts.sum(1), known.numbers[:, column])
