from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.nano.scenes.objects import COLOURS, HELD_OUT, PURE_COLOURS, SIZES
from recipes.nano.scenes.scenes import SceneConfig, draw_scene


def draw(seed, **options):
    return draw_scene(np.random.default_rng(seed), SceneConfig(**options))


SEEDS = st.integers(0, 2**32)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from([1, 2, 5]))
def test_ids_are_the_visible_parts_of_the_objects(seed, length):
    scene = draw(seed, frames=length)
    count, (height, width) = len(scene.objects), scene.ids.shape[1:]
    assert scene.frames.shape == (length, height, width, 3)
    assert scene.frames.dtype == scene.ids.dtype == np.uint8
    assert 96 <= height <= 192
    assert 96 <= width <= 192
    assert max(height, width) <= 1.6 * min(height, width)
    assert 2 <= count <= 5
    assert scene.ids.max() <= count
    assert scene.visibility.shape == (length, count)
    assert ((scene.visibility >= 0) & (scene.visibility <= 1)).all()
    for t in range(length):
        for i in range(count):
            assert scene.area(i, t) == scene.mask(i, t).sum() == (scene.ids[t] == i + 1).sum()
            hidden = scene.visibility[t, i] < 1
            assert hidden or scene.area(i, t) > 0


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_a_mask_has_its_objects_place_and_colour(seed):
    scene = draw(seed, textures={"plain": 1.0}, overlap=0.0)
    for i, obj in enumerate(scene.objects):
        if scene.visibility[0, i] == 1:
            y, x = np.nonzero(scene.mask(i, 0))
            middle = np.array([(x.min() + x.max() + 1) / 2, (y.min() + y.max() + 1) / 2])
            assert np.abs(middle - obj.centres[0]).max() < 0.5 * obj.radius
        inner = cv2.erode(scene.mask(i, 0), np.ones((3, 3), np.uint8)) > 0
        if inner.any():
            seen = scene.frames[0][inner].mean(axis=0)
            assert np.abs(seen - obj.rgb).max() < 30
            nearest = min(COLOURS, key=lambda name: np.linalg.norm(seen - np.array(COLOURS[name])))
            assert nearest == obj.colour


def test_a_scene_is_a_function_of_the_seed():
    one, other, third = draw(3, frames=5), draw(3, frames=5), draw(4, frames=5)
    np.testing.assert_array_equal(one.frames, other.frames)
    np.testing.assert_array_equal(one.ids, other.ids)
    assert one.frames.shape != third.frames.shape or (one.frames != third.frames).any()


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_objects_follow_their_motion_and_stay_inside(seed):
    scene = draw(seed, frames=5)
    height, width = scene.ids.shape[1:]
    for obj in scene.objects:
        assert ((obj.centres >= 0) & (obj.centres <= (width, height))).all()
        assert obj.velocities.shape == (4, 2)
        x, y = obj.centres[-1] - obj.centres[0]
        far = 0.2 * min(height, width) - 1e-6
        truth = {
            "still": abs(x) < 1e-6 and abs(y) < 1e-6,
            "left": x <= -far and abs(y) < 1e-6,
            "right": x >= far and abs(y) < 1e-6,
            "up": y <= -far and abs(x) < 1e-6,
            "down": y >= far and abs(x) < 1e-6,
            "diagonal": np.hypot(x, y) >= far and abs(abs(x) - abs(y)) < 1e-6,
        }
        assert [name for name, holds in truth.items() if holds] == [obj.motion]


def test_nothing_moves_in_an_image():
    assert {obj.motion for seed in range(20) for obj in draw(seed).objects} == {"still"}


def test_rings_stay_plain():
    textures = {obj.texture for seed in range(20) for obj in draw(seed, shapes=("ring",)).objects}
    assert textures == {"plain"}


def test_size_classes_do_not_meet():
    radii = {size: [] for size in SIZES}
    for seed in range(60):
        scene = draw(seed)
        for obj in scene.objects:
            radii[obj.size].append(obj.radius / min(scene.ids.shape[1:]))
    assert max(radii["small"]) * 1.25 < min(radii["medium"])
    assert max(radii["medium"]) * 1.25 < min(radii["big"])
    assert min(radii["small"]) >= 0.08 - 1e-9
    assert max(radii["big"]) <= 0.27 + 1e-9


def test_held_out_pairs_are_never_or_always_drawn():
    for seed in range(80):
        assert not {(o.colour, o.shape) for o in draw(seed).objects} & HELD_OUT
        assert {(o.colour, o.shape) for o in draw(seed, held_out=True).objects} & HELD_OUT


@pytest.mark.parametrize("seed", range(10))
def test_no_object_has_the_colour_of_the_background(seed):
    assert "white" not in {o.colour for o in draw(seed, backgrounds={"white": 1.0}).objects}


def test_digital_scenes_have_an_even_ground_and_pure_unlit_colours():
    grounds, purity, rims = [], [], []
    for seed in range(60):
        scene = draw(seed, digital=1.0, frames=2, textures={"plain": 1.0})
        ground = np.unique(scene.frames[0][cv2.dilate(scene.ids[0], np.ones((9, 9), np.uint8)) == 0], axis=0)
        assert len(ground) == 1
        grounds.append(ground[0].astype(int))
        rims.append({obj.rim for obj in scene.objects})
        for i, obj in enumerate(scene.objects):
            away = np.array(obj.rgb) - COLOURS[obj.colour]
            whole = np.subtract(PURE_COLOURS[obj.colour], COLOURS[obj.colour])
            purity.append((away @ whole) / (whole @ whole))
            inner = cv2.erode(scene.mask(i, 0), np.ones((3, 3), np.uint8), iterations=5) > 0
            if inner.any() and scene.visibility[0, i] == 1:
                off = np.abs(scene.frames[0][inner] - np.array(obj.rgb)).max(1) > 0.5001
                assert off.mean() < 0.01  # a neighbour's edge may touch it
    assert {(0, 0, 0), (255, 255, 255)} < {tuple(ground.tolist()) for ground in grounds}
    assert 12 < sum(np.ptp(ground) > 30 for ground in grounds) < 36  # with a colour of their own
    assert all(len(found) == 1 for found in rims)  # of a scene, all or none
    assert 10 < sum(found != {0.0} for found in rims) < 40
    assert not any(found != {0.0} and ground.mean() <= 99 for found, ground in zip(rims, grounds, strict=True))
    assert min(purity) < 0.1 < 0.9 < max(purity)


@pytest.mark.parametrize("seed", range(5))
def test_scenes_stay_what_they_were_where_none_is_digital(seed):
    share = [(draw(n, digital=0.3).frames[0, 0, 0] == draw(n).frames[0, 0, 0]).all() for n in range(40)]
    assert not all(share)
    np.testing.assert_array_equal(draw(seed).frames, draw(seed, digital=0.0).frames)


def test_photos_become_backgrounds():
    photo = np.zeros((60, 60, 3), np.uint8) + np.array([20, 60, 20], np.uint8)
    scene = draw(0, backgrounds={"photo": 1.0}, photos=(photo,), textures={"plain": 1.0})
    np.testing.assert_allclose(scene.frames[scene.ids == 0].mean(axis=0), [20, 60, 20], atol=6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"height": (200, 100)}, "height must be two rising numbers of at least 32"),
        ({"objects": (0, 3)}, "objects must be two rising numbers of at least 1"),
        ({"objects": (2, 255)}, "objects must be at most 254"),
        ({"radius": (0.1, 0.2)}, "largest radius must be 2.5 times the smallest"),
        ({"digital": 1.5}, "digital must be a share of 0 to 1, got 1.5"),
        ({"frames": 0}, "frames must be at least 1, got 0"),
        ({"colours": ("red", "mauve")}, "colours must be some of red, orange.*got red, mauve"),
        ({"backgrounds": {"photo": 1.0}}, "backgrounds has only photo, but there are no photos"),
        ({"backgrounds": {}}, "backgrounds must be some of"),
        ({"height": (32, 40), "width": (200, 300)}, "no frame of these heights and widths"),
        ({"colours": ("red",), "shapes": ("diamond",)}, "leave no pair outside HELD_OUT"),
        ({"colours": ("white",), "held_out": True}, "leave no pair in HELD_OUT"),
    ],
)
def test_a_configuration_that_cannot_be_drawn_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SceneConfig(**options)


def test_too_many_objects_for_the_frame_are_refused():
    with pytest.raises(ValueError, match="no room for 30 objects in a frame of 96 x 96"):
        draw(0, height=(96, 96), width=(96, 96), objects=(30, 30))


def test_a_fine_scene_holds_many_small_objects_of_about_one_size() -> None:
    config = SceneConfig(radius=(0.09, 0.28), objects=(8, 8), fine=1.0)
    radii = []
    for seed in range(20):
        scene = draw_scene(np.random.default_rng(seed), config)
        side = min(scene.ids.shape[1:])
        small = np.array([obj.radius / side for obj in scene.objects if obj.size == "small"])
        assert len(scene.objects) == 8 and len(small) >= 4
        assert config.finest <= small.min() and small.max() <= config.small_end + 1e-9
        radii += small.tolist()
    assert min(radii) < 0.05 and max(radii) > 0.1
    with pytest.raises(ValueError, match=r"finest must lie between 0\.02 and 0\.113, got 0\.2"):
        SceneConfig(radius=(0.09, 0.28), fine=0.5, finest=0.2)
