"""Compares what an adapter reads with what was drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from instructseg.data.clips import Clip, Expression
from recipes.nano.layouts.clips import DrawnClip


def meant_by(drawn: DrawnClip, expression: Expression) -> list[int]:
    """The drawn objects that say the text of an expression, without what a layout puts in front of it."""
    for i, texts in drawn.said.items():
        if any(expression.text.endswith(text) for text in texts):
            return [i]
    raise AssertionError(f"{expression.text!r} was never said of {drawn.name}")


def assert_same_frames(clip: Clip, drawn: DrawnClip, kept: Sequence[int] | None = None) -> None:
    kept = range(len(drawn)) if kept is None else kept
    assert len(clip) == len(clip.frame_names) == len(kept)
    assert clip.size == drawn.size
    for frame, t in zip(clip.frames, kept, strict=True):
        assert frame.shape == drawn.scene.frames[t].shape
        difference = frame.astype(int) - drawn.scene.frames[t]
        assert np.abs(difference).mean() < 12  # JPEG, or a video's colours


def assert_same_masks(
    clip: Clip,
    drawn: DrawnClip,
    expression: Expression,
    objects: Sequence[int],
    kept: Sequence[int] | None = None,
) -> None:
    for place, t in enumerate(range(len(drawn)) if kept is None else kept):
        mask = clip.mask(expression, place)
        assert mask is not None and mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, drawn.mask(objects, t))
        masks = clip.masks(expression, place)
        assert masks is not None and len(masks) == len(expression.objects)
        np.testing.assert_array_equal(masks.max(axis=0, initial=0), mask)
