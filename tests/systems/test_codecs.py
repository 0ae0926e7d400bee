"""Codecs: what is encoded comes back, exactly or to the width of a level."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from instructseg.systems.codecs import (
    COLOURS,
    decode_boxes,
    decode_classes,
    decode_depth,
    decode_mask,
    decode_presence,
    encode_boxes,
    encode_classes,
    encode_depth,
    encode_mask,
    encode_presence,
    even_palette,
)
from recipes.systems.scenes import draw_scene

MAGENTA = COLOURS["magenta"]


@settings(max_examples=20)
@given(arrays(bool, (7, 9)), arrays(np.int8, (7, 9, 3), elements=st.integers(-100, 100)))
def test_masks_survive_noise_below_half(mask: np.ndarray, noise: np.ndarray) -> None:
    drawn = encode_mask(mask)
    assert drawn.dtype == np.uint8 and set(np.unique(drawn)) <= {0, 255}
    damaged = np.clip(drawn.astype(int) + noise, 0, 255)
    assert np.array_equal(decode_mask(damaged), mask)


@pytest.mark.parametrize("count", [1, 2, 8, 21, 150])
def test_palettes_are_distinct_and_classes_come_back(count: int) -> None:
    palette = even_palette(count)
    assert palette.shape == (count, 3) and len(np.unique(palette, axis=0)) == count and not palette[0].any()
    gaps = np.abs(palette[:, None].astype(int) - palette[None]).max(2)[~np.eye(count, dtype=bool)]
    nearest = int(gaps.min()) if count > 1 else 255
    rng = np.random.default_rng(count)
    classes = rng.integers(0, count, (11, 13))
    reach = (nearest - 1) // 4  # in all channels together, below half of the Euclidean distance
    drawn = encode_classes(classes, palette).astype(int) + rng.integers(-reach, reach + 1, (11, 13, 3))
    assert np.array_equal(decode_classes(np.clip(drawn, 0, 255), palette), classes)


def test_a_palette_needs_a_colour() -> None:
    with pytest.raises(ValueError, match="at least 1 colour"):
        even_palette(0)


@settings(max_examples=20)
@given(st.integers(1, 300).map(lambda i: i / 10), st.integers(0, 99))
def test_depth_is_at_most_one_level_too_small(far: float, seed: int) -> None:
    metres = np.random.default_rng(seed).uniform(0, far, (6, 5)).astype(np.float32)
    lost = metres - decode_depth(encode_depth(metres, far), far)
    assert lost.min() > -1e-4 * far and lost.max() <= far / 255 + 1e-4 * far
    assert encode_depth(np.array([[2 * far, -1.0]]), far)[0, :, 0].tolist() == [255, 0]


@pytest.mark.parametrize("smooth", [False, True])
def test_boxes_of_scenes_come_back(smooth: bool) -> None:
    rng, exact = np.random.default_rng(0), 0
    for _ in range(40):
        scene = draw_scene(rng, 64)
        box = scene.objects[0].box
        drawn = encode_boxes(scene.image, [box], MAGENTA, 2)
        found = decode_boxes(drawn, scene.image, MAGENTA, smooth=smooth)
        assert len(found) == 1 and np.abs(np.array(found[0]) - box).max() <= 2
        exact += found[0] == box
    assert exact >= (0 if smooth else 35)


def test_what_has_the_colour_of_the_box_in_the_image_is_no_box() -> None:
    image = np.full((48, 48, 3), 120, np.uint8)
    image[30:44, 30:44] = MAGENTA
    drawn = encode_boxes(image, [(5, 6, 25, 20)], MAGENTA, 2)
    assert decode_boxes(drawn, image, MAGENTA, smooth=False) == [(5, 6, 25, 20)]
    assert len(decode_boxes(drawn, None, MAGENTA, smooth=False)) == 2
    assert decode_boxes(image, image, MAGENTA) == []


def test_the_halo_of_a_line_is_not_of_the_box() -> None:
    image, box = np.full((48, 48, 3), 60, np.uint8), (12, 10, 34, 30)
    drawn = encode_boxes(image, [box], MAGENTA, 2)
    near = encode_boxes(image, [(9, 7, 37, 33)], MAGENTA, 3)
    for share, expected in ((0.4, box), (0.7, (9, 7, 37, 33))):
        halo = np.where(drawn == image, image + share * (near.astype(float) - image), drawn).astype(np.uint8)
        assert decode_boxes(halo, image, MAGENTA, smooth=False) == [expected]


def test_lines_and_triangles_are_no_boxes() -> None:
    image = np.full((48, 48, 3), 120, np.uint8)
    drawn = image.copy()
    for row in range(30):
        drawn[10 + row, 10 : 10 + row] = MAGENTA
    assert decode_boxes(drawn, image, MAGENTA, smooth=False) == []


def test_boxes_reach_beyond_the_image() -> None:
    image = np.zeros((20, 20, 3), np.uint8)
    drawn = encode_boxes(image, [(-5, -5, 12, 12)], MAGENTA)
    assert drawn[0, 0].any() and drawn[11, 11].any() and not drawn[5, 5].any() and not drawn[12:].any()


@given(st.booleans(), st.sampled_from(sorted(COLOURS)), st.sampled_from(sorted(COLOURS)))
def test_presence_comes_back(present: bool, yes: str, no: str) -> None:
    colours = (COLOURS[yes], COLOURS[no])
    image = encode_presence(present, colours, (4, 6))
    if yes == no:
        with pytest.raises(ValueError, match="name two"):
            decode_presence(image, colours)
    else:
        assert decode_presence(image, colours) == float(present)
