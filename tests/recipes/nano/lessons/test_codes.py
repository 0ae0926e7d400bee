"""Codes against a plain loop over pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recipes.nano.lessons.codes import (
    CODE_DIM,
    FIELDS,
    NOTHING,
    PATCH_DIM,
    object_codes,
    patch_codes,
    patch_shares,
    patch_things,
    place,
)
from recipes.nano.scenes.objects import COLOURS, SHAPES
from recipes.nano.scenes.scenes import Scene, SceneConfig, draw_scene


@pytest.fixture(params=[3, 8])
def scene(request: pytest.FixtureRequest) -> Scene:
    return draw_scene(np.random.default_rng(request.param), SceneConfig())


def test_fields_fill_the_code_without_overlap() -> None:
    columns = [column for where in FIELDS.values() for column in range(where.start, where.stop)]
    assert columns == list(range(2, CODE_DIM))


def test_a_code_holds_the_look_and_place_of_an_object(scene: Scene) -> None:
    codes = object_codes(scene, 0)
    height, width = scene.ids.shape[1:]
    for i, (obj, code) in enumerate(zip(scene.objects, codes, strict=True)):
        assert list(code[:2]) == [1, 1]
        assert list(COLOURS)[code[FIELDS["colour"]].argmax()] == obj.colour
        assert list(SHAPES)[code[FIELDS["shape"]].argmax()] == obj.shape
        pixels = [(x, y) for y in range(height) for x in range(width) if scene.ids[0, y, x] == i + 1]
        x, y = np.mean(pixels, axis=0)
        expected = place(np.array([[(x + 0.5) / width, (y + 0.5) / height]]))[0]
        np.testing.assert_allclose(code[FIELDS["place"]], expected, atol=1e-5)


def test_near_places_are_alike_and_far_ones_are_not() -> None:
    codes = place(np.array([[0.2, 0.5], [0.25, 0.5], [0.8, 0.5]]))
    near, far = np.linalg.norm(codes[0] - codes[1]), np.linalg.norm(codes[0] - codes[2])
    assert far > 3 * near


def test_a_patch_names_the_object_that_covers_it(scene: Scene) -> None:
    grid = 8
    patches, codes = patch_codes(scene, 0, grid), object_codes(scene, 0)
    assert patches.shape == (grid * grid, PATCH_DIM)
    height, width = scene.ids.shape[1:]
    counts = np.zeros((grid * grid, len(codes) + 1))
    for y in range(height):
        for x in range(width):
            counts[y * grid // height * grid + x * grid // width, scene.ids[0, y, x]] += 1
    shares = counts / counts.sum(1, keepdims=True)
    np.testing.assert_allclose(patch_shares(scene.ids[0], grid, len(codes)), shares)
    for patch, share in zip(patches, shares[:, 1:], strict=True):
        expected = codes[share.argmax()] if share.max() > 0.15 else NOTHING
        np.testing.assert_allclose(patch[:CODE_DIM], expected)
        assert patch[-1] == pytest.approx(share.max(), abs=1e-6)


def test_a_small_object_in_the_corner_of_four_patches_is_shown() -> None:
    """Though it covers too little of each: else it would be nowhere, and could not be counted."""
    ids = np.zeros((1, 96, 96), np.uint8)
    ids[0, 22:26, 22:26] = 1  # 4 of the 144 pixels of each patch
    ids[0, 50:51, 24:48] = 2  # a line through two patches, and none of it in a third one
    scene = replace(draw_scene(np.random.default_rng(0), SceneConfig(objects=(2, 2))), ids=ids)
    which = patch_things(scene, 0, 8)[0].reshape(8, 8)
    assert np.argwhere(which == 0).tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    assert np.argwhere(which == 1).tolist() == [[4, 2], [4, 3]]
