"""Masks along the optical flow, on pictures that were moved by known amounts."""

from __future__ import annotations

import tracemalloc

import cv2
import numpy as np
import pytest

from instructseg.inference.propagation.flow_tracker import FlowTracker, flow_memory, is_confirmed
from instructseg.masks import mask_iou

HEIGHT, WIDTH = 120, 160


def texture(seed: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def moving(count: int, step: tuple[int, int], size: int = 40) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Frames and masks of a textured square that moves over another texture by x and y per frame."""
    ground, square, frames, masks = texture(1), texture(2, size, size), [], []
    for t in range(count):
        left, top = 30 + t * step[0], 30 + t * step[1]
        frame, mask = ground.copy(), np.zeros((HEIGHT, WIDTH), bool)
        frame[top : top + size, left : left + size] = square
        mask[top : top + size, left : left + size] = True
        frames.append(frame)
        masks.append(mask)
    return frames, masks


@pytest.mark.parametrize("step", [(0, 0), (1, 0), (-2, 2)])
def test_a_mask_follows_its_object(step: tuple[int, int]) -> None:
    frames, masks = moving(4, step)
    tracker = FlowTracker()
    assert tracker.advance(frames[0]) == {}
    tracker.anchor(7, masks[0], 1.0)
    seen = 1.0
    for frame, mask in zip(frames[1:], masks[1:], strict=True):
        found = tracker.advance(frame)[7]
        assert mask_iou(found.probability > 0.5, mask) > 0.75
        assert 0.5 < found.seen <= seen
        seen = found.seen
    tracker.drop(7)
    tracker.drop(7)
    assert tracker.advance(frames[0]) == {}


def test_an_object_that_is_covered_or_leaves_is_not_seen() -> None:
    frames, masks = moving(2, (0, 0))
    tracker = FlowTracker()
    tracker.advance(frames[0])
    tracker.anchor(1, masks[0], 1.0)
    assert tracker.advance(texture(3))[1].seen < 0.5
    tracker = FlowTracker()
    tracker.advance(frames[0])
    left = np.zeros_like(masks[0])
    left[:, :6] = True
    tracker.anchor(1, left, 1.0)
    gone = [tracker.advance(np.roll(frames[0], -3 * t, axis=1))[1] for t in range(1, 4)]
    assert gone[-1].seen < 0.5
    assert np.count_nonzero(gone[-1].probability > 0.5) < np.count_nonzero(left) / 3


def test_masks_are_those_of_each_object_and_of_the_size_of_the_frame() -> None:
    large = [
        cv2.resize(one, (WIDTH * 4, HEIGHT * 4), interpolation=cv2.INTER_CUBIC) for one in moving(2, (2, 1))[0]
    ]
    masks = [np.kron(one, np.ones((4, 4), bool)) for one in moving(2, (2, 1))[1]]
    tracker = FlowTracker()
    tracker.advance(large[0])
    tracker.anchor(1, masks[0], 1.0)
    tracker.anchor(2, ~masks[0], 1.0)
    found = tracker.advance(large[1])
    assert found[1].probability.shape == found[2].probability.shape == (HEIGHT * 4, WIDTH * 4)
    assert mask_iou(found[1].probability > 0.5, masks[1]) > 0.85
    assert mask_iou(found[2].probability > 0.5, ~masks[1]) > 0.9


def test_confirmation_is_that_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    back, forth = (rng.integers(-3, 4, (2, 12, 16, 2))).astype(np.float32)
    found = is_confirmed(back, forth)
    for y in range(12):
        for x in range(16):
            (bx, by), inside = back[y, x], False
            sx, sy = int(x + bx), int(y + by)
            if 0 <= sx < 16 and 0 <= sy < 12:
                fx, fy = forth[sy, sx]
                inside = (bx + fx) ** 2 + (by + fy) ** 2 < 0.01 * (bx**2 + by**2 + fx**2 + fy**2) + 0.5
            assert found[y, x] == inside


@pytest.mark.parametrize(("size", "objects"), [((540, 960), 1), ((540, 960), 12), ((240, 320), 3)])
def test_memory_is_what_numpy_holds(size: tuple[int, int], objects: int) -> None:
    frames = [texture(1, *size), texture(1, *size)]
    tracker, mask = FlowTracker(), np.zeros(size, bool)
    mask[30:90, 40:90] = True
    tracker.advance(frames[0])
    tracemalloc.start()
    for number in range(objects):
        tracker.anchor(number, mask, 1.0)
    for frame in frames:
        tracker.advance(frame)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    expected = flow_memory(size, objects)
    assert held == pytest.approx(expected.held, rel=0.1)
    assert peak - held == pytest.approx(expected.step, rel=0.1)
