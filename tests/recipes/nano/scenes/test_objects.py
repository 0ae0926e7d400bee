from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from recipes.nano.scenes.objects import COLOURS, HELD_OUT, SHAPES, SceneObject
from recipes.nano.scenes.painting import BACKGROUNDS, paint_background, paint_object


def obj(shape="circle", texture="plain", radius=20.0, centre=(32.0, 32.0), angle=0.0, rgb=(200, 30, 30)):
    return SceneObject("red", shape, "big", texture, "still", rgb, radius, angle, np.array([centre]))


def paint(what, size=(64, 64)):
    frame, ids = np.full((*size, 3), 128, np.float32), np.zeros(size, np.uint8)
    whole = paint_object(frame, ids, 7, what, 0)
    return frame, ids, whole


@pytest.mark.parametrize("name", SHAPES)
def test_every_outline_has_about_the_size_of_a_disc(name):
    area = sum(
        sign * cv2.contourArea(c.astype(np.float32))
        for c, sign in zip(SHAPES[name].contours, (1, -1), strict=False)
    )
    assert 0.55 * np.pi < area < 1.1 * np.pi
    assert 1 <= SHAPES[name].reach < 1.45


def test_outlines_differ_by_their_masks():
    masks = {name: paint(obj(name))[1] > 0 for name in SHAPES}
    for one in masks:
        for other in masks:
            iou = (masks[one] & masks[other]).sum() / (masks[one] | masks[other]).sum()
            assert one == other or iou < 0.88, (one, other)


def test_a_painted_circle_is_the_analytic_one():
    _, ids, whole = paint(obj(centre=(30.3, 33.8), radius=17.5))
    y, x = np.mgrid[:64, :64] + 0.5
    truth = np.hypot(x - 30.3, y - 33.8) <= 17.5
    assert set(np.unique(ids)) == {0, 7}
    assert ((ids == 7) != truth).sum() <= 0.01 * truth.sum()
    assert whole == (ids == 7).sum()


def test_a_ring_has_a_hole():
    frame, ids, _ = paint(obj("ring"))
    assert ids[32, 32] == 0
    np.testing.assert_allclose(frame[32, 32], 128)
    assert ids[32, 32 + 16] == 7


def test_an_object_beside_the_frame_changes_nothing_but_has_its_size():
    frame, ids, whole = paint(obj(centre=(200.0, 32.0)))
    assert not ids.any()
    assert (frame == 128).all()
    assert whole == paint(obj())[2]


def test_half_of_an_object_on_the_border_is_visible():
    _, ids, whole = paint(obj(centre=(0.0, 32.0)))
    assert (ids == 7).sum() == pytest.approx(whole / 2, rel=0.02)


@pytest.mark.parametrize("texture", ["striped", "dotted"])
@pytest.mark.parametrize("colour", COLOURS)
def test_a_texture_shows_and_leaves_most_of_the_colour(texture, colour):
    rgb = COLOURS[colour]
    plain = paint(obj(rgb=rgb))[0]
    textured, ids, _ = paint(obj(texture=texture, rgb=rgb))
    changed = np.abs(plain - textured).max(axis=-1)[ids == 7] > 40
    assert 0.15 < changed.mean() < 0.5


def test_no_texture_touches_the_outline():
    plain, ids, _ = paint(obj())
    textured = paint(obj(texture="striped"))[0]
    rim = (ids == 7) & (cv2.erode(ids, np.ones((3, 3), np.uint8)) == 0)
    np.testing.assert_allclose(plain[rim], textured[rim])


def test_a_rim_is_dark_and_lies_inside():
    plain, ids, _ = paint(obj(radius=24.0))
    rimmed, rimmed_ids, _ = paint(replace(obj(radius=24.0), rim=0.125))
    np.testing.assert_array_equal(ids, rimmed_ids)
    y, x = np.mgrid[:64, :64] + 0.5
    away = np.hypot(x - 32, y - 32)
    assert rimmed[(away < 23) & (away > 22)].max() < 40
    np.testing.assert_array_equal(plain[away < 19], rimmed[away < 19])


def test_an_unlit_object_has_one_colour():
    frame, ids, _ = paint(replace(obj(rgb=(0, 128, 0)), shaded=False))
    np.testing.assert_array_equal(
        np.unique(frame[cv2.erode(ids, np.ones((3, 3), np.uint8)) == 7], axis=0), [(0, 128, 0)]
    )


@pytest.mark.parametrize("kind", [*BACKGROUNDS, "photo"])
def test_backgrounds_are_images(kind):
    photo = np.random.default_rng(1).integers(0, 256, (50, 90, 3)).astype(np.uint8)
    for seed in range(5):
        made = paint_background(np.random.default_rng(seed), kind, 40, 70, [photo])
        assert made.shape == (40, 70, 3)
        assert made.dtype == np.float32
        assert made.min() >= 0
        assert made.max() <= 255


def test_held_out_pairs_take_one_shape_of_six_colours():
    assert len(HELD_OUT) == len({c for c, _ in HELD_OUT}) == len({s for _, s in HELD_OUT}) == 6
    assert all(c in COLOURS and s in SHAPES for c, s in HELD_OUT)
