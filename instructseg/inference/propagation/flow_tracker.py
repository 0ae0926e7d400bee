"""Tracker by dense optical flow: masks are moved on from one frame to the next. It has no weights.

The flow is that of OpenCV's DIS (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016),
both ways, at a reduced size. Where one way does not undo the other, the pixel is hidden on one of the frames;
the rule is that of Sundaram et al., "Dense point trajectories by GPU-accelerated large displacement optical
flow", ECCV 2010: ``|f + b|^2 < 0.01 (|f|^2 + |b|^2) + 0.5``.

Letters: ``H, W`` pixels of the frame, ``h, w`` those of the reduced size.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from instructseg.inference.propagation.mask_tracker import TrackedMask, TrackerMemory

SIDE = 384
"""Longer side at which the flow is computed, in pixels."""
BRIGHTNESS = 32
"""Grey levels (of 255) by which a pixel may differ from where it comes from; more is another scene."""
_RELATIVE, _ABSOLUTE = 0.01, 0.5  # of the two ways' squared lengths, and squared pixels


class FlowTracker:
    """Moves the last mask of each object along the optical flow.

    What an object is seen with falls with each frame since its last anchor: it is the product of the shares of
    its pixels whose flow is confirmed both ways.
    """

    refines = False

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._grey: np.ndarray | None = None
        self._objects: dict[int, TrackedMask] = {}

    def advance(self, frame: np.ndarray) -> dict[int, TrackedMask]:
        """Moves the objects on to the next frame; see :class:`MaskTracker`."""
        before, self._grey = self._grey, _reduced_grey(frame)
        if before is not None and self._objects:
            back = self._flow_between(self._grey, before)
            moved = _moved_on([one.probability for one in self._objects.values()], back)
            confirmed = is_confirmed(back, self._flow_between(before, self._grey))
            confirmed &= _is_alike(self._grey, before, back)
            confirmed = _enlarged_mask(confirmed, frame.shape[:2])
            for (number, one), mask in zip(list(self._objects.items()), moved, strict=True):
                inside = mask > 0.5
                share = int(np.count_nonzero(inside & confirmed)) / max(1, int(np.count_nonzero(inside)))
                self._objects[number] = TrackedMask(mask, one.seen * share)
        return dict(self._objects)

    def anchor(self, number: int, mask: np.ndarray, quality: float) -> None:
        """Replaces the mask of an object; see :class:`MaskTracker`."""
        self._objects[number] = TrackedMask(mask.astype(np.float32), 1.0)

    def drop(self, number: int) -> None:
        """Forgets an object."""
        self._objects.pop(number, None)

    def _flow_between(self, grey: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Flow ``float32[h, w, 2]`` from a frame ``uint8[h, w]`` to another one."""
        return self._flow.calc(grey, other, None)  # type: ignore[call-overload, no-any-return]


def flow_memory(frame_size: tuple[int, int], objects: int) -> TrackerMemory:
    """Memory of a :class:`FlowTracker`: the old and the moved mask of each object, and from where pixels come.

    Args:
        frame_size: height and width in pixels.
        objects: that are tracked.
    """
    pixels = frame_size[0] * frame_size[1]
    reduced = min(1.0, SIDE / max(frame_size)) ** 2 * pixels
    masks = 4 * objects * pixels
    # the flow, 64-bit places, 32-bit places; then both flows, their sources, what returns, and squares
    moving, confirming = (8 + 16 + 8) * pixels + 8 * reduced, masks + (16 + 8 + 8 + 16 + 4) * reduced
    return TrackerMemory(0, round(masks + reduced), round(max(moving, confirming)))


def is_confirmed(back: np.ndarray, forth: np.ndarray) -> np.ndarray:
    """Where the flow to the frame before is undone by the flow from it, ``bool[h, w]``.

    Args:
        back: ``float32[h, w, 2]`` of x and y, from this frame to the one before, in pixels.
        forth: likewise, from the one before to this frame.

    Returns:
        False also where ``back`` leaves the frame.
    """
    height, width = back.shape[:2]
    x, y = _sources(back)
    returned = cv2.remap(forth, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    lengths = np.square(back).sum(-1) + np.square(returned).sum(-1)
    undone = np.square(back + returned).sum(-1) < _RELATIVE * lengths + _ABSOLUTE
    return undone & (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def _is_alike(grey: np.ndarray, before: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Where a frame ``uint8[h, w]`` is as bright as the one before along the flow, ``bool[h, w]``."""
    moved = cv2.remap(before, *_sources(back), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cv2.absdiff(grey, moved) < BRIGHTNESS


def _sources(back: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and y, ``float32[h, w]``, from which each pixel comes."""
    y, x = np.mgrid[: back.shape[0], : back.shape[1]].astype(np.float32)
    return x + back[..., 0], y + back[..., 1]


def _moved_on(masks: Iterable[np.ndarray], back: np.ndarray) -> list[np.ndarray]:
    """Masks ``float32[H, W]`` moved along a flow of the reduced size; zeros come in."""
    masks = list(masks)
    (height, width), (h, w) = masks[0].shape, back.shape[:2]
    scale = np.array([width / w, height / h], np.float32)
    x, y = _sources(cv2.resize(back, (width, height), interpolation=cv2.INTER_LINEAR) * scale)
    return [cv2.remap(one, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT) for one in masks]


def _reduced_grey(frame: np.ndarray) -> np.ndarray:
    """``uint8[h, w]``, at most :data:`SIDE` on the longer side."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    factor = SIDE / max(grey.shape)
    if factor >= 1:
        return grey
    height, width = (max(1, round(side * factor)) for side in grey.shape)
    return cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)


def _enlarged_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask ``bool[h, w]`` at so many rows and columns."""
    return cv2.resize(mask.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST) > 0
