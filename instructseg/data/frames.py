"""Choice of reference frames by the released rules, for videos of any length."""

from __future__ import annotations

import numpy as np

JUMPS = (2, 9)
"""Smallest and largest jump of the training rule, in frames, both included."""


def training_frames(
    length: int, rng: np.random.Generator, count: int = 5, reverse: float = 0.3
) -> tuple[int, list[int]]:
    """Draws a key frame and its references, near each other but not evenly spaced.

    One jump is drawn for the video; each further frame lies within it of any frame chosen before.

    Args:
        length: frames of the video, at least 1; a video shorter than ``count`` gives all its frames.
        count: key frame and references together, at least 1.
        reverse: chance that time runs backwards. Released: 0.3; 0 where the instruction describes
            motion, which backwards is another one.

    Returns:
        The key frame, which is the middle one, and the others in the order of (perhaps reversed) time.

    Raises:
        ValueError: ``length`` or ``count`` is below 1.
    """
    if length < 1 or count < 1:
        raise ValueError(f"a video and a draw have at least 1 frame, got length {length} and count {count}")
    jump = min(length, int(rng.integers(JUMPS[0], JUMPS[1] + 1)))
    chosen = {int(rng.integers(length))}
    while len(chosen) < min(count, length):
        near = {i for c in chosen for i in range(max(0, c - jump), min(length, c + jump + 1))}
        chosen.add(int(rng.choice(sorted(near - chosen))))
    order = sorted(chosen, reverse=bool(rng.random() < reverse))
    key = order.pop(len(order) // 2)
    return key, order


def neighbour_references(t: int, length: int, count: int = 4) -> list[int]:
    """The references of frame ``t`` at inference: its nearest neighbours, half before and half after.

    At either end of the video the window is moved inside, not cut; an odd ``count`` takes one more frame
    of the past than of the future.

    Args:
        t: the key frame, ``0 <= t < length``.
        length: frames of the video.
        count: how many references are wanted; a short video gives all its other frames, a video of one
            frame none, which makes the key frame its own reference.

    Returns:
        Different frames other than ``t``, in the order of time.

    Raises:
        ValueError: ``t`` is not a frame of the video, or ``count`` is negative.
    """
    if not 0 <= t < length:
        raise ValueError(f"frame {t} is outside a video of {length} frames")
    if count < 0:
        raise ValueError(f"count must not be negative, got {count}")
    first = max(0, min(t - (count + 1) // 2, length - count - 1))
    return [i for i in range(first, min(length, first + count + 1)) if i != t]
