"""Identities of objects in video: the masks of a frame are assigned to the objects of the frames before.

Two rounds of assignment (Hungarian method). The first is of objects seen in the frame before: overlap of a
mask with the object's last mask, moved on by its velocity, and likeness of colours. The second is of objects
that were lost for a while, hidden or outside the frame, and of jumps too far for an overlap: likeness of
colours and size, within reach. A mask that no object takes is a new object, and no id is given twice.

Masks are compared at a reduced size, so that the cost does not depend on the frame's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
from scipy.optimize import linear_sum_assignment

from instructseg.masks import mask_iou
from instructseg.prediction import Prediction

PATIENCE = 60
"""Frames for which an object that is not seen is remembered."""
SIDE = 128
"""Longer side at which masks are compared, in pixels."""
_BINS = 5  # per colour channel
_FIRST, _SECOND = 0.35, 0.55  # least similarity of an assignment, 0..1, in each round
_REACH = 0.12  # shares of the frame's diagonal that a hidden object may move away from its path ..
_REACH_GROWS = 0.02  # .. and more per frame
_MEMORY = 0.8  # share of the old value where colours and velocity are updated


@dataclass(eq=False)
class Track:
    """An object of the frames before.

    Attributes:
        id: from 1.
        seen: index of the last frame with it.
        look: of it then.
        velocity: ``float[2]`` of x and y, in pixels of the reduced size per frame.
    """

    id: int
    seen: int
    look: Look
    velocity: np.ndarray


@dataclass(frozen=True, eq=False)
class Look:
    """A mask at the reduced size, with what it is recognized by.

    Attributes:
        mask: ``bool[h, w]``.
        centre: ``float[2]``, x and y of its pixels' mean.
        area: pixels, at least 1.
        colours: ``float[_BINS ** 3]``, shares of its pixels.
    """

    mask: np.ndarray
    centre: np.ndarray
    area: int
    colours: np.ndarray

    @classmethod
    def of(cls, frame: np.ndarray, mask: np.ndarray) -> Look:
        """The look of a mask ``bool[H, W]`` with at least one pixel in a frame ``uint8[H, W, 3]``."""
        step = max(1, -(-max(mask.shape) // SIDE))
        small = mask[step // 2 :: step, step // 2 :: step]
        if not small.any():  # thinner than a step: any pixel of a cell counts
            rows, columns = np.nonzero(mask)
            small = np.zeros(tuple(-(-side // step) for side in mask.shape), bool)
            small[rows // step, columns // step] = True
        bins = frame[mask].astype(np.int64) * _BINS // 256
        codes = (bins[:, 0] * _BINS + bins[:, 1]) * _BINS + bins[:, 2]
        colours = np.bincount(codes, minlength=_BINS**3) / len(codes)
        y, x = np.nonzero(small)
        return cls(small, np.array([x.mean(), y.mean()]), len(x), colours)


class Tracker:
    """Assigns the objects of one instruction over the frames of a video.

    Args:
        ids: gives the next id that is free.
        patience: frames for which an object that is not seen is remembered.
    """

    def __init__(self, ids: Iterator[int], patience: int = PATIENCE) -> None:
        self._ids, self._patience = ids, patience
        self._tracks: list[Track] = []
        self._now = -1

    def update(self, frame: np.ndarray, masks: Sequence[np.ndarray]) -> list[int]:
        """The id of each mask ``bool[H, W]`` of the next frame ``uint8[H, W, 3]``; 0 for empty ones."""
        self._now += 1
        looks = {place: Look.of(frame, mask) for place, mask in enumerate(masks) if mask.any()}
        ids = [0] * len(masks)
        self._tracks = [one for one in self._tracks if self._now - one.seen <= self._patience]
        rounds = ((self._near, _FIRST), (self._far, _SECOND))
        free = list(self._tracks)
        for similarity, least in rounds:
            places = [place for place in looks if not ids[place]]
            for place, track in _assigned(free, places, looks, similarity, least):
                ids[place] = track.id
                self._continue(track, looks[place])
                free.remove(track)
        for place, look in looks.items():
            if not ids[place]:
                ids[place] = next(self._ids)
                self._tracks.append(Track(ids[place], self._now, look, np.zeros(2)))
        return ids

    def _near(self, track: Track, look: Look) -> float:
        """Similarity with an object of the frame before, 0..1."""
        if self._now - track.seen > 1 or track.look.mask.shape != look.mask.shape:
            return 0.0
        moved = _moved(track.look.mask, track.velocity)
        overlap = max(mask_iou(moved, look.mask), mask_iou(track.look.mask, look.mask))
        return 0.0 if not overlap else 0.7 * overlap + 0.3 * _likeness(track.look, look)

    def _far(self, track: Track, look: Look) -> float:
        """Similarity with an object that was lost or jumped, 0..1."""
        gap = self._now - track.seen
        diagonal = float(np.hypot(*look.mask.shape))
        away = min(
            float(np.hypot(*(look.centre - track.look.centre - steps * track.velocity))) for steps in (0, gap)
        )
        reach = (_REACH + _REACH_GROWS * gap) * diagonal
        if away > reach:
            return 0.0
        # what comes out from behind another object is small at first
        size = min(1.0, (look.area / track.look.area) ** 0.5, (track.look.area / look.area) ** 0.5)
        return 0.7 * _likeness(track.look, look) + 0.15 * size + 0.15 * (1 - away / reach)

    def _continue(self, track: Track, look: Look) -> None:
        """Records that an object was seen."""
        gap = self._now - track.seen
        velocity = (look.centre - track.look.centre) / gap
        track.velocity = velocity if gap > 1 else _MEMORY * track.velocity + (1 - _MEMORY) * velocity
        colours = _MEMORY * track.look.colours + (1 - _MEMORY) * look.colours
        track.look, track.seen = replace(look, colours=colours), self._now


class Identities:
    """Ids of all objects of a session, by instruction; with temporal smoothing on request.

    Args:
        smooth: share (0..1) of the frame before in the soft mask of an object, which is moved on with it.
    """

    def __init__(self, smooth: float = 0.0) -> None:
        self._smooth = smooth
        self._ids = count(1)
        self._single: dict[int, int] = {}
        self._trackers: dict[int, Tracker] = {}
        self._before: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # soft mask and centre, by id

    def add(self, number: int, several: bool) -> None:
        """Adds an instruction; an instruction for one object has one id for good."""
        if several:
            self._trackers[number] = Tracker(self._ids)
        else:
            self._single[number] = next(self._ids)

    def drop(self, number: int) -> None:
        """Drops an instruction."""
        self._single.pop(number, None)
        self._trackers.pop(number, None)

    def restart(self) -> None:
        """Begins another video, whose objects are others."""
        self._trackers = {number: Tracker(self._ids) for number in self._trackers}
        self._before.clear()

    def update(self, frame: np.ndarray, found: Mapping[int, list[Prediction]]) -> list[Prediction]:
        """Predictions on the next frame ``uint8[H, W, 3]`` by instruction, with their ids and their frame."""
        named: list[Prediction] = []
        for number, some in found.items():
            if number in self._single:
                ids = [self._single[number]] * len(some)
            else:
                ids = self._trackers[number].update(frame, [one.mask for one in some])
            named += [replace(one, id=own, image=frame) for one, own in zip(some, ids, strict=True)]
        return [self._smoothed(one) for one in named] if self._smooth else named

    def _smoothed(self, found: Prediction) -> Prediction:
        """The prediction with the soft mask of the frame before in its own."""
        soft = found.probability
        assert soft is not None
        if not found.found:
            self._before.pop(found.id, None)
            return found
        y, x = np.nonzero(found.mask)
        centre = np.array([x.mean(), y.mean()])
        if found.id in self._before:
            before, then = self._before[found.id]
            soft = (1 - self._smooth) * soft + self._smooth * _moved(before, centre - then)
            soft = soft.astype(np.float32)
        self._before[found.id] = soft, centre
        return replace(found, probability=soft, mask=soft > 0.5)


def _assigned(
    tracks: Sequence[Track],
    places: Sequence[int],
    looks: Mapping[int, Look],
    similarity: Callable[[Track, Look], float],
    least: float,
) -> list[tuple[int, Track]]:
    """Pairs of a mask's place and a track, of the largest total similarity; none below ``least``."""
    if not tracks or not places:
        return []
    table = np.array([[similarity(track, looks[place]) for track in tracks] for place in places])
    table[table < least] = 0
    rows, columns = linear_sum_assignment(-table)
    return [(places[i], tracks[j]) for i, j in zip(rows, columns, strict=True) if table[i, j] > 0]


def _moved(values: np.ndarray, by: np.ndarray) -> np.ndarray:
    """``[h, w]`` moved by whole pixels of x and y; zeros come in."""
    dx, dy = (round(float(one)) for one in by)
    height, width = values.shape
    out = np.zeros_like(values)
    if abs(dx) < width and abs(dy) < height:
        target = out[max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)]
        target[:] = values[max(0, -dy) : height - max(0, dy), max(0, -dx) : width - max(0, dx)]
    return out


def _likeness(a: Look, b: Look) -> float:
    """Share of pixels with colours in common, 0..1."""
    return float(np.minimum(a.colours, b.colours).sum())
