"""Identities on drawn scenes, where the truth is known: switches of an object's id are counted."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import numpy as np
import pytest

from instructseg.inference.tracking import Identities, Look, Tracker
from instructseg.prediction import Prediction
from recipes.nano.scenes.scenes import SceneConfig, draw_scene

HEIGHT, WIDTH = 96, 144
RED, GREEN, GREY = (220, 40, 40), (40, 180, 60), (128, 128, 128)

Circle = tuple[float, float, float, tuple[int, int, int]]
"""x, y, radius and colour."""


def drawn(*circles: Circle, bar: tuple[int, int] | None = None) -> tuple[np.ndarray, list[np.ndarray]]:
    """A frame and the visible part of each circle, later ones in front; a bar hides columns."""
    frame = np.full((HEIGHT, WIDTH, 3), GREY, np.uint8)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    masks: list[np.ndarray] = []
    for cx, cy, radius, colour in circles:
        inside = (x - cx) ** 2 + (y - cy) ** 2 <= radius**2
        frame[inside] = colour
        masks = [*(mask & ~inside for mask in masks), inside]
    if bar is not None:
        frame[:, bar[0] : bar[1]] = 20
        masks = [mask & ((x < bar[0]) | (x >= bar[1])) for mask in masks]
    return frame, masks


def tracked(clip: Sequence[tuple[np.ndarray, list[np.ndarray]]]) -> list[list[int]]:
    """Id of each object by frame, 0 where it is not visible; masks come in another order each time."""
    tracker, rng, ids = Tracker(count(1)), np.random.default_rng(0), []
    for frame, masks in clip:
        seen = [place for place, mask in enumerate(masks) if mask.sum() >= 4]
        order = rng.permutation(seen).tolist()
        found = tracker.update(frame, [masks[place] for place in order])
        ids.append([found[order.index(place)] if place in seen else 0 for place in range(len(masks))])
    return ids


def switches(ids: Sequence[Sequence[int]]) -> int:
    """How often an object has another id than when it was last seen."""
    last: dict[int, int] = {}
    changed = 0
    for row in ids:
        for thing, own in enumerate(row):
            if own:
                changed += last.get(thing, own) != own
                last[thing] = own
    return changed


def test_objects_keep_their_ids_while_they_move() -> None:
    clip = [drawn((20 + 3 * t, 30, 10, RED), (120 - 3 * t, 60, 10, RED), (70, 80, 8, GREEN)) for t in range(30)]
    ids = tracked(clip)
    assert switches(ids) == 0 and sorted(ids[0]) == [1, 2, 3]


def test_objects_that_look_the_same_pass_each_other() -> None:
    clip = [drawn((20 + 3 * t, 40, 10, RED), (120 - 3 * t, 46, 10, RED)) for t in range(34)]
    assert switches(tracked(clip)) == 0


def test_an_object_behind_a_bar_comes_back_as_itself() -> None:
    clip = [drawn((10 + 4 * t, 30, 9, RED), (130, 70, 9, GREEN), bar=(60, 90)) for t in range(32)]
    ids = tracked(clip)
    assert any(row[0] == 0 for row in ids[5:25]) and ids[-1][0]  # hidden for a while
    assert switches(ids) == 0


def test_an_object_that_left_the_frame_comes_back_as_itself() -> None:
    path = [120 + 4 * t for t in range(12)] + [160 - 4 * t for t in range(14)]
    clip = [drawn((x, 30, 9, RED), (20, 70, 9, GREEN)) for x in path]
    ids = tracked(clip)
    assert any(row[0] == 0 for row in ids) and switches(ids) == 0


def test_another_object_in_its_place_is_another() -> None:
    clip = [drawn((40, 40, 10, RED)) for _ in range(5)] + [drawn() for _ in range(3)]
    clip += [drawn((44, 40, 10, GREEN)) for _ in range(5)]
    tracker = Tracker(count(1))
    found = [tracker.update(frame, masks) for frame, masks in clip]
    assert found[4] == [1] and found[-1] == [2]


def test_what_is_not_seen_for_long_is_forgotten() -> None:
    tracker = Tracker(count(1), patience=3)
    frame, masks = drawn((40, 40, 10, RED))
    assert tracker.update(frame, masks) == [1]
    for _ in range(3):
        tracker.update(frame, [])
    assert tracker.update(frame, masks) == [2]


@pytest.mark.parametrize("objects", [3, 5])
def test_drawn_clips_have_few_switches(objects: int) -> None:
    """Random paths with occlusions and things that look alike; 40 clips of 24 frames."""
    total, seen = 0, 0
    for seed in range(40):
        config = SceneConfig(height=(96, 128), width=(96, 128), frames=24, objects=(objects, objects))
        scene = draw_scene(np.random.default_rng(seed), config)
        masks = [[scene.ids[t] == i + 1 for i in range(len(scene.objects))] for t in range(24)]
        ids = tracked(list(zip(scene.frames, masks, strict=True)))
        total += switches(ids)
        seen += sum(own > 0 for row in ids for own in row)
    print(f"{objects} objects: {total} switches in {seen} masks")
    assert seen > 1500 and total <= 0.002 * seen


def test_empty_masks_and_thin_ones() -> None:
    tracker = Tracker(count(5))
    frame, line = np.zeros((600, 800, 3), np.uint8), np.zeros((600, 800), bool)
    line[::, 401] = True
    assert tracker.update(frame, [np.zeros((600, 800), bool), line]) == [0, 5]
    assert tracker.update(frame, [line]) == [5]
    look = Look.of(frame, line)
    assert look.mask.shape == (86, 115) and look.area == 86 and look.colours[0] == 1


def prediction(mask: np.ndarray, number: int, soft: np.ndarray | None = None) -> Prediction:
    return Prediction(mask, 0.5, 0.5, "red", soft, instruction_id=number)


def test_ids_of_a_session_are_given_once() -> None:
    identities = Identities()
    identities.add(0, several=False)
    identities.add(1, several=True)
    frame, masks = drawn((20, 30, 10, RED), (100, 60, 10, RED))
    found = {0: [prediction(masks[0], 0)], 1: [prediction(mask, 1) for mask in masks]}
    first = identities.update(frame, found)
    assert [one.id for one in first] == [1, 2, 3] and all(one.image is frame for one in first)
    assert [one.id for one in identities.update(frame, found)] == [1, 2, 3]
    identities.add(2, several=False)
    assert [one.id for one in identities.update(frame, {2: found[0]})] == [4]
    identities.restart()
    assert [one.id for one in identities.update(frame, found)] == [1, 5, 6]
    identities.drop(1)
    with pytest.raises(KeyError):
        identities.update(frame, found)


def test_smoothing_is_a_moving_mean_along_the_path() -> None:
    identities, rng = Identities(smooth=0.5), np.random.default_rng(0)
    identities.add(0, several=False)
    rough, smooth = [], []
    for t in range(12):
        frame, (mask,) = drawn((30 + 4 * t, 40, 14, RED))
        noisy = np.clip(mask + rng.normal(0, 0.35, mask.shape), 0, 1).astype(np.float32)
        (found,) = identities.update(frame, {0: [prediction(noisy > 0.5, 0, noisy)]})
        rough.append(np.count_nonzero((noisy > 0.5) ^ mask))
        smooth.append(np.count_nonzero(found.mask ^ mask))
        assert found.probability is not None and found.probability.dtype == np.float32
    assert smooth[0] == rough[0] and np.mean(smooth[4:]) < 0.5 * np.mean(rough[4:])
