"""Held-out figures of Explanatory Instructions on drawn scenes: overlays, their removal, depth, and a new task.

Beside the figures stand what the codec allows and what an answer without looking gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from instructseg.masks import mask_iou
from instructseg.systems.codecs import OVERLAY, decode_depth, decode_mask
from instructseg.systems.explanatory.explanatory_predictor import ExplanatoryPredictor, changed
from instructseg.systems.explanatory.triplets import Triplet
from recipes.systems.explanatory_lessons import PAINTS, UNSEEN, UNTAUGHT, WORDS, Change, draw_change
from recipes.systems.task_row import task_row

SEED = 1_000_003
"""Of the scenes; lessons draw from small seeds."""


@dataclass(frozen=True)
class Kind:
    """Which changes are measured: arguments of :func:`draw_change`."""

    task: str
    there: bool = True
    kept_out: bool = False


OVERLAID, PAIRED, CLEARED = Kind("overlay"), Kind("overlay", kept_out=True), Kind("overlay", there=False)
DISTANCE, MASKED = Kind("depth"), Kind("mask")
Score = Callable[[np.ndarray, np.ndarray, Change], float]
"""From an image that was drawn, the input image as the codec draws it, and the change."""


def measure(name: str, scenes: int, as_paper: bool = False) -> dict[str, Any]:
    """Figures on held-out scenes, for :mod:`recipes.systems.table`.

    Args:
        name: of the model, or its folder.
        scenes: of each task and wording.
        as_paper: changes nothing: the protocols are the same.
    """
    some = DrawnTask(ExplanatoryPredictor.from_pretrained(name), scenes)
    luck = float(np.mean([1 / len(one.scene.objects) for one in some.changes(OVERLAID)]))
    tasks: dict[str, Any] = {}
    tasks["lay a colour over an object"] = task_row(
        "IoU",
        some.values(OVERLAID, overlay_overlap),
        some.ceiling(OVERLAID, overlay_overlap),
        luck,
        ">.6 of ceiling, unseen >.5",
        "ADE20K mIoU 42.12: each category is asked for by itself",
    )
    tasks["the same, pairs without a lesson"] = task_row(
        "IoU", some.values(PAIRED, overlay_overlap), some.ceiling(PAIRED, overlay_overlap), luck, None, None
    )
    tasks["take it off again"] = task_row(
        "PSNR, dB",
        some.values(CLEARED, likeness),
        some.ceiling(CLEARED, likeness),
        some.unchanged(CLEARED),
        None,
        None,
    )
    tasks["turn colours into distance"] = task_row(
        "RMSE, m",
        some.values(DISTANCE, depth_error),
        some.ceiling(DISTANCE, depth_error),
        some.constant_depth(),
        "<.6 of baseline",
        "NYUv2 RMSE 0.553",
    )
    zero = some.value(MASKED, UNTAUGHT, mask_overlap), None
    tasks["a task without a lesson: a mask"] = task_row(
        "IoU", zero, some.ceiling(MASKED, mask_overlap), luck, None, "fails at canny and depth from an image"
    )
    protocol = "paper" if as_paper else "honest"
    return {"system": "Explanatory (tiny)", "protocol": protocol, "scenes": scenes, "tasks": tasks}


class DrawnTask:
    """Changes of held-out scenes, drawn by a predictor; the same scenes for every wording.

    Args:
        predictor: to be measured.
        count: scenes of each task.
    """

    def __init__(self, predictor: ExplanatoryPredictor, count: int) -> None:
        self.predictor, self.count = predictor, count

    def changes(self, kind: Kind) -> list[Change]:
        """Scenes of a kind, of single objects on scenes with siblings alone."""
        rng = np.random.default_rng([SEED, kind.kept_out])
        return [draw_change(rng, kind.task, kind.there, kept_out=kind.kept_out) for _ in range(self.count)]

    def values(self, kind: Kind, score: Score) -> tuple[float, float]:
        """Means of a score with wording of lessons, and with wording kept out of them."""
        seen, unseen = (
            words.there if kind.there else words.back for words in (WORDS[kind.task], UNSEEN[kind.task])
        )
        return self.value(kind, seen, score), self.value(kind, unseen, score)

    def value(self, kind: Kind, lines: Sequence[str], score: Score) -> float:
        """Mean of a score of what is drawn for some lines, each in turn."""
        changes, rng = self.changes(kind), np.random.default_rng(SEED)
        some = [one.triplet(lines[place % len(lines)], rng) for place, one in enumerate(changes)]
        answers = self.predictor.answers([one.before for one in some], [one.instruction for one in some])
        return self._mean(score, changes, some, [one.drawn for one in answers])

    def ceiling(self, kind: Kind, score: Score) -> float:
        """Mean of a score of right answers after the codec."""
        changes = self.changes(kind)
        some = [one.triplet("", np.random.default_rng()) for one in changes]
        return self._mean(score, changes, some, [self._coded(one.after) for one in some])

    def unchanged(self, kind: Kind) -> float:
        """Mean likeness of the input images to the right answers."""
        some = [one.triplet("", np.random.default_rng()) for one in self.changes(kind)]
        return float(np.mean([psnr(one.before, one.after) for one in some]))

    def constant_depth(self) -> float:
        """Error of the best single distance, in metres."""
        return float(np.stack([one.scene.depth for one in self.changes(DISTANCE)]).std())

    def _mean(
        self, score: Score, changes: Sequence[Change], some: Sequence[Triplet], drawn: Sequence[np.ndarray]
    ) -> float:
        every = zip(drawn, some, changes, strict=True)
        values = [score(image, self._coded(one.before), change) for image, one, change in every]
        mean = float(np.mean(values))
        return mean**0.5 if score is depth_error else mean

    def _coded(self, image: np.ndarray) -> np.ndarray:
        """An image through the codec."""
        return self.predictor.image(self.predictor.codes(image), *image.shape[:2])


def overlay_overlap(drawn: np.ndarray, known: np.ndarray, change: Change) -> float:
    """IoU of what has changed with the object; 0 where it is not changed to the colour that was asked."""
    mask = changed(drawn, known)
    if not mask.any():
        return 0.0
    shift = drawn[mask].astype(float).mean(0) - known[mask].astype(float).mean(0)
    wanted = [np.array(colour, float) - known[mask].mean(0) for colour in PAINTS.values()]
    nearest = int(np.argmin([np.linalg.norm(shift - OVERLAY * one) for one in wanted]))
    return mask_iou(mask, change.target.mask, empty=1.0) if list(PAINTS)[nearest] == change.paint else 0.0


def mask_overlap(drawn: np.ndarray, _known: np.ndarray, change: Change) -> float:
    """IoU of what is white with the object."""
    return mask_iou(decode_mask(drawn), change.target.mask, empty=1.0)


def depth_error(drawn: np.ndarray, _known: np.ndarray, change: Change) -> float:
    """Mean squared error in square metres."""
    return float(((decode_depth(drawn) - change.scene.depth) ** 2).mean())


def likeness(drawn: np.ndarray, _known: np.ndarray, change: Change) -> float:
    """PSNR to the scene without its overlay."""
    return psnr(drawn, change.scene.image)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Peak signal-to-noise ratio of images ``uint8[H, W, 3]`` in dB; at most 60, which equal ones have."""
    error = float(((one.astype(np.float32) - other) ** 2).mean())
    return min(10 * np.log10(255**2 / error), 60.0) if error else 60.0
