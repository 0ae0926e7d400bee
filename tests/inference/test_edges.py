"""Masks move to the edges of their frame: the filter against a plain loop, and what users get."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from instructseg.inference import ImagePredictor, edges
from instructseg.inference.edges import EPSILON, RADIUS, EdgeGuide, WindowColours
from instructseg.model import InstructSeg
from instructseg.processing import InstructSegProcessor
from instructseg.structures import Geometry

HEIGHT, WIDTH = 120, 160
GEOMETRY = Geometry(original=(HEIGHT, WIDTH), resized=(HEIGHT, WIDTH), padded=(WIDTH, WIDTH))


def disc(radius: float = 37.3) -> tuple[np.ndarray, np.ndarray]:
    """A frame with an orange disc on blue, and its mask."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    truth = (y - 60) ** 2 + (x - 81) ** 2 < radius**2
    frame = np.where(truth[..., None], np.uint8([240, 130, 30]), np.uint8([30, 60, 160]))
    return frame, truth


def coarse(truth: np.ndarray, cell: int = 8) -> np.ndarray:
    """A mask as it comes from cells of several pixels."""
    height, width = truth.shape
    small = cv2.resize(truth.astype(np.float32), (width // cell, height // cell), interpolation=cv2.INTER_AREA)
    return cv2.resize((small > 0.4).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def windows(values: np.ndarray) -> np.ndarray:
    """Every window around a sample, reflected at borders, ``[h, w, n, ...]``."""
    padded = np.pad(values, [(RADIUS, RADIUS)] * 2 + [(0, 0)] * (values.ndim - 2), mode="reflect")
    side, (height, width) = 2 * RADIUS + 1, values.shape[:2]
    rows = [[padded[y : y + side, x : x + side] for x in range(width)] for y in range(height)]
    return np.array(rows).reshape(height, width, side * side, *values.shape[2:])


def test_fit_is_ridge_regression_in_each_window() -> None:
    rng = np.random.default_rng(0)
    guide = rng.random((11, 13, 3)).astype(np.float32)
    soft = rng.random((11, 13)).astype(np.float32)
    expected = np.zeros((11, 13, 4))
    for y, x in np.ndindex(11, 13):
        colours, wanted = windows(guide)[y, x].astype(float), windows(soft)[y, x].astype(float)
        centred = colours - colours.mean(0)
        ridge = centred.T @ centred / len(wanted) + EPSILON * np.eye(3)
        slope = np.linalg.inv(ridge) @ (centred.T @ (wanted - wanted.mean()) / len(wanted))
        expected[y, x] = *slope, wanted.mean() - slope @ colours.mean(0)
    np.testing.assert_allclose(WindowColours(guide).fit(soft), windows(expected).mean(2), atol=2e-4)


def test_outline_of_a_coarse_mask_meets_that_of_the_object() -> None:
    frame, truth = disc()
    given = coarse(truth)
    before, after = iou(given > 0.5, truth), iou(EdgeGuide(frame, GEOMETRY).follow(given) > 0.5, truth)
    assert before < 0.95
    assert after > 0.99


def test_larger_photograph_keeps_its_own_edges() -> None:
    frame, truth = disc()
    frame, given = (
        cv2.resize(one, None, fx=5, fy=5, interpolation=cv2.INTER_NEAREST) for one in (frame, coarse(truth))
    )
    truth = cv2.resize(truth.astype(np.uint8), None, fx=5, fy=5, interpolation=cv2.INTER_NEAREST) > 0
    geometry = Geometry((5 * HEIGHT, 5 * WIDTH), (HEIGHT, WIDTH), (WIDTH, WIDTH))
    assert iou(given > 0.5, truth) < 0.95
    assert iou(EdgeGuide(frame, geometry).follow(given) > 0.5, truth) > 0.99


def test_strips_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    frame, truth = disc()
    frame = frame + np.random.default_rng(1).integers(0, 9, frame.shape, np.uint8)
    whole = EdgeGuide(frame, GEOMETRY).follow(coarse(truth))
    monkeypatch.setattr(edges, "_PIXELS_AT_ONCE", 700)
    # OpenCV rounds places to 1/32 of a pixel
    np.testing.assert_allclose(EdgeGuide(frame, GEOMETRY).follow(coarse(truth)), whole, atol=0.05)


@pytest.mark.parametrize("mask", ["empty", "speck", "full"])
def test_what_has_no_outline_stays(mask: str) -> None:
    frame, _ = disc()
    given = np.zeros((HEIGHT, WIDTH), np.float32)
    if mask == "speck":
        given[50:53, 50:53] = 0.9
    if mask == "full":
        given[:] = 0.9
    assert np.array_equal(EdgeGuide(frame, GEOMETRY).follow(given) > 0.5, given > 0.5)


def test_nothing_apart_from_the_mask_is_added() -> None:
    frame, truth = disc(30)
    near = np.hypot(*(np.mgrid[:HEIGHT, :WIDTH] - np.array([60, 116])[:, None, None])) < 3
    frame[near] = frame[60, 81]  # a dot of the disc's colour, within the window of its outline
    given = coarse(truth)
    after = EdgeGuide(frame, GEOMETRY).follow(given) > 0.5
    assert not (after & near).any() and iou(after, truth) > 0.98
    pieces, _ = cv2.connectedComponents(after.astype(np.uint8), connectivity=8)
    assert pieces == 2  # with the ground
    both = np.maximum(given, coarse(near) * 0.9)  # but what the mask has of it stays
    assert (EdgeGuide(frame, GEOMETRY).follow(np.where(near, 0.9, both).astype(np.float32)) > 0.5)[near].any()


def test_even_frame_changes_little() -> None:
    given = coarse(disc()[1])
    even = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    after = EdgeGuide(even, GEOMETRY).follow(given)
    assert after.dtype == np.float32 and after.min() >= 0 and after.max() <= 1
    assert iou(after > 0.5, given > 0.5) > 0.9


def test_weights_decide_and_a_call_overrides(nano: tuple[InstructSeg, InstructSegProcessor]) -> None:
    model, processor = nano
    frame, _ = disc()
    asked = ["the red circle", "all the circles"]
    plain = ImagePredictor(model, processor).predict(frame, asked, threshold=0.0)
    moved = ImagePredictor(model, processor).predict(frame, asked, threshold=0.0, edges=True, soft=True)
    other = InstructSegProcessor(processor.tokenizer, replace(processor.config, edges=True))
    by_weights = ImagePredictor(model, other).predict(frame, asked, threshold=0.0)
    released = ImagePredictor(model, other).predict(frame, asked, threshold=0.0, edges=False)
    for one, same, soft, again in zip(plain, released, moved, by_weights, strict=True):
        assert np.array_equal(one.mask, same.mask) and np.array_equal(soft.mask, again.mask)
        assert (one.score, one.presence) == (again.score, again.presence)
        assert soft.probability is not None and np.array_equal(soft.probability > 0.5, soft.mask)
        assert again.probability is None
