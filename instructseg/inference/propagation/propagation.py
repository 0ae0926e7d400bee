"""Propagation: masks of the model are carried to other frames by a tracker, and the surer mask is shown.

An object may have two masks on a frame: the model's own, and the one that was carried to it. Where they agree
(IoU of 0.5 or more), the tracker's is shown if the tracker refines, otherwise the model's. Where they do not,
or only one is there, the one of the larger quality (score times presence) is shown.

Evidence are the frames on which the language model ran; for a tracker that does not refine, all frames. There,
an own mask that agrees is a further anchor, and one that disagrees and is surer begins the object anew. So does
one that disagrees and is not, once the model contradicts a track more often than it confirms it.

Streams are tracked forward. In files some frames are held back, and an object that begins is also tracked
backward from its best anchor among them. Memory does not grow with the length of a video.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from instructseg.inference.propagation.anchors import AGREEMENT, SEEN, best_anchors, carried, quality
from instructseg.inference.propagation.mask_tracker import MaskTracker, TrackedMask
from instructseg.inference.tracking import PATIENCE
from instructseg.masks import mask_iou
from instructseg.prediction import FrameResult, Prediction

LOOKAHEAD = 32
"""Frames of a file that are held back together."""


@dataclass(eq=False)
class TrackedObject:
    """What is known of an object that is tracked.

    Attributes:
        anchor: governs its masks; without mask and image.
        confirmed: frames of evidence on which the model agreed, the first one included.
        contradicted: frames of evidence on which it did not.
        lost: frames since the object was last seen.
    """

    anchor: Prediction
    confirmed: int = 1
    contradicted: int = 0
    lost: int = 0

    @property
    def given_up(self) -> bool:
        """Whether the model contradicts it more often than not, or it was not seen for long."""
        return self.contradicted > self.confirmed or self.lost > PATIENCE


class DirectedPass:
    """One pass over the frames of a video, in one direction.

    Args:
        tracker: a new one.
        confirmed: how often the model confirmed an object on frames outside of the pass, by id.
        soft: whether results carry ``probability``.
    """

    def __init__(
        self, tracker: MaskTracker, confirmed: Mapping[int, int] | None = None, soft: bool = False
    ) -> None:
        self._tracker, self._confirmed, self._soft = tracker, confirmed or {}, soft
        self._objects: dict[int, TrackedObject] = {}
        self.begun: set[int] = set()
        """Ids of the objects that began on the last frame, for the first time or anew."""

    def step(self, result: FrameResult, starts: Mapping[int, int]) -> FrameResult:
        """The result of the next frame, with the masks to show.

        Args:
            result: of the model.
            starts: the frame on which an object may begin, by id; none for an id that is missing.
        """
        tracked, self.begun = self._tracker.advance(result.frame), set()
        shown: list[Prediction] = []
        for instruction in dict.fromkeys(one.instruction_id for one in result.predictions):
            own = result.of(instruction)
            evidence = is_evidence(result, instruction, self._tracker)
            rows = [
                self._chosen(one, tracked.get(one.id), evidence, starts.get(one.id) == result.index)
                for one in own
            ]
            rows += self._missed(instruction, own, tracked, evidence)
            shown += [one for one in rows if one.id] or rows  # an id of 0 says that nothing is there
        rows = [replace(one, image=result.frame) for one in shown]
        if not self._soft:  # it would be held with a file's frames
            rows = [replace(one, probability=None) for one in rows]
        return replace(result, predictions=rows)

    @property
    def confirmed(self) -> dict[int, int]:
        """How often the model confirmed each object, by id."""
        return {number: one.confirmed for number, one in self._objects.items()}

    def drop(self, instruction: int) -> None:
        """Drops the objects of an instruction."""
        for number in [n for n, one in self._objects.items() if one.anchor.instruction_id == instruction]:
            self._forget(number)

    def _chosen(self, own: Prediction, found: TrackedMask | None, evidence: bool, starts: bool) -> Prediction:
        """The mask to show of an object that the model answers about."""
        known = self._objects.get(own.id)
        if known is None or found is None or found.seen < SEEN:
            if own.found and evidence and (starts or known is not None):
                self._begin(own)
            return own
        other = carried(known.anchor, *found)
        if own.found and mask_iou(own.mask, other.mask) >= AGREEMENT:
            if evidence:
                known.confirmed += 1
                known.anchor = _bare(max(own, other, key=quality))
                self._tracker.anchor(own.id, own.mask, quality(own))
            return other if self._tracker.refines else own
        known.contradicted += evidence
        if quality(own) <= quality(other) and not known.given_up:
            return other
        if own.found and evidence:
            self._begin(own)
        return own

    def _missed(
        self, instruction: int, own: Sequence[Prediction], tracked: Mapping[int, TrackedMask], evidence: bool
    ) -> list[Prediction]:
        """Objects of an instruction that are tracked, while the model does not answer about them."""
        answered, rows = {one.id for one in own}, []
        for number, known in list(self._objects.items()):
            if known.anchor.instruction_id != instruction or number in answered:
                continue
            other = carried(known.anchor, *tracked[number])
            known.lost = 0 if other.found else known.lost + 1
            known.contradicted += evidence
            if known.given_up:
                self._forget(number)
            elif other.found and all(mask_iou(one.mask, other.mask) < AGREEMENT for one in own):
                rows.append(other)
        return rows

    def _forget(self, number: int) -> None:
        del self._objects[number]
        self._tracker.drop(number)

    def _begin(self, own: Prediction) -> None:
        """Begins an object, or begins it anew."""
        self._tracker.drop(own.id)
        self._tracker.anchor(own.id, own.mask, quality(own))
        self._objects[own.id] = TrackedObject(_bare(own), self._confirmed.get(own.id, 1))
        self.begun.add(own.id)


class Propagation:
    """Propagation through a video.

    Args:
        make: a new tracker.
        lookahead: frames that are held back together; below 2 nothing waits, and nothing is tracked backward.
        soft: whether results carry ``probability``.
    """

    def __init__(self, make: Callable[[], MaskTracker], lookahead: int = 0, soft: bool = False) -> None:
        self._make, self._lookahead, self._soft = make, lookahead, soft
        self._waiting: list[FrameResult] = []
        self._restart()

    def _restart(self) -> None:
        self._tracker = self._make()
        self._forward = DirectedPass(self._tracker, soft=self._soft)

    def add(self, result: FrameResult) -> list[FrameResult]:
        """Takes the model's result on the next frame; returns those that are ready, in order."""
        self._waiting.append(result)
        return self.release() if len(self._waiting) >= self._lookahead else []

    def end(self) -> list[FrameResult]:
        """Ends the video: returns the last results. The next frame is of another video."""
        last = self.release()
        self._restart()
        return last

    def drop(self, instruction: int) -> None:
        """Drops the objects of an instruction."""
        self._forward.drop(instruction)

    def release(self) -> list[FrameResult]:
        """The waiting results, tracked forward, and backward from the best anchors of what begins."""
        waiting, self._waiting = self._waiting, []
        best = self._best_frames(waiting)
        results, back = [], dict[int, int]()
        for place, one in enumerate(waiting):
            results.append(self._forward.step(one, best))
            if place:
                back |= {n: one.index for n in self._forward.begun if best.get(n) == one.index}
        if back:
            backward = DirectedPass(self._make(), self._forward.confirmed, self._soft)
            for place in range(max(back.values()) - waiting[0].index, -1, -1):
                results[place] = backward.step(results[place], back)
        return results

    def _best_frames(self, results: Sequence[FrameResult]) -> dict[int, int]:
        """The frame of the best anchor of each object, by id."""
        found: dict[int, dict[int, float]] = {}
        for result in results:
            for one in result.predictions:
                if one.found and is_evidence(result, one.instruction_id, self._tracker):
                    found.setdefault(one.id, {})[result.index] = quality(one)
        return {number: best[0] for number, frames in found.items() if (best := best_anchors(frames, 1))}


def is_evidence(result: FrameResult, instruction: int, tracker: MaskTracker) -> bool:
    """Whether masks of an instruction on a frame may be anchors."""
    return not tracker.refines or result.keys.get(instruction, result.index) == result.index


def _bare(anchor: Prediction) -> Prediction:
    """An anchor without its mask and image, which would keep frames in memory."""
    return replace(anchor, mask=np.zeros((0, 0), bool), probability=None, image=None)
