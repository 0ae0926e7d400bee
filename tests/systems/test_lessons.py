"""Drawn scenes and the bank of instructions: what every tiny model is made from."""

from __future__ import annotations

import numpy as np

from recipes.systems.bank import BANK, vocabulary
from recipes.systems.scenes import ALL_NAMES, COLOURS, FAR, LEAST_SEEN, NEAR, draw_scene, siblings


def test_scenes_are_a_function_of_the_seed_and_their_targets_fit() -> None:
    one, other = (draw_scene(np.random.default_rng(3), 48) for _ in range(2))
    assert np.array_equal(one.image, other.image) and one.caption == other.caption
    rng, seen = np.random.default_rng(0), set[str]()
    for _ in range(100):
        scene = draw_scene(rng, 32)
        seen |= scene.names
        assert 1 <= len(scene.objects) == len(scene.names) <= 3 and LEAST_SEEN <= 1
        assert not np.sum([found.mask for found in scene.objects], axis=0).max() > 1  # visible parts
        assert scene.depth.min() >= NEAR - 0.5 and scene.depth.max() <= FAR
        for found in scene.objects:
            left, top, right, bottom = found.box
            assert found.mask[top:bottom, left:right].sum() == found.mask.sum() > 0
            assert np.allclose(scene.depth[found.mask], found.depth)
            nearest = min(COLOURS, key=lambda c: np.abs(scene.image[found.mask].mean(0) - COLOURS[c]).sum())
            assert nearest == found.colour
    assert seen == set(ALL_NAMES)


def test_neither_colour_nor_shape_alone_names_an_object_among_siblings() -> None:
    rng = np.random.default_rng(1)
    for _ in range(40):
        scene = draw_scene(rng, 32, least=2, alike=True)
        assert len(scene.objects) >= 2
        for one in scene.objects:
            assert any((one.colour == other.colour) != (one.shape == other.shape) for other in scene.objects)
    assert siblings("red circle", ["red circle", "red square", "blue circle", "blue square"]) == [
        "red square",
        "blue circle",
    ]


def test_wording_of_the_evaluation_is_not_in_the_training() -> None:
    for wording in BANK.values():
        assert wording.template == wording.train[0]
        lines = wording.train + wording.held_out
        assert len(set(lines)) == len(lines) and wording.held_out
    assert {"segment", "white", "red"} <= set(vocabulary("red circle")) and "" not in vocabulary()
    drawn = {BANK["depth"].draw(np.random.default_rng(seed), held_out=True) for seed in range(40)}
    assert drawn == set(BANK["depth"].held_out)
