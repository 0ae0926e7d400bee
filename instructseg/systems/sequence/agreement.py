"""One answer of several samples: votes by pixel, the sample that agrees best, and maps of confidence.

InstructSeq (arXiv 2311.18835, section 3.3 and table 4) draws ten answers, and takes the class with most votes
at each pixel, or the mask or box with the largest summed IoU to the others.

Letters: ``N`` samples, ``H, W`` pixels, ``K`` classes, ``T`` image tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import cv2
import numpy as np

from instructseg.masks import mask_iou

_Answer = TypeVar("_Answer")


def vote(maps: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The class with most votes at each pixel, the lowest of equals, and its share of the votes.

    Args:
        maps: ``int[N, H, W]``, each below ``K``.
        classes: ``K``.

    Returns:
        ``int64[H, W]`` and ``float32[H, W]``, 0..1.
    """
    counts = np.stack([(maps == one).sum(0) for one in range(classes)])
    return counts.argmax(0), (counts.max(0) / len(maps)).astype(np.float32)


def most_agreeing(answers: Sequence[_Answer], overlap: Callable[[_Answer, _Answer], float]) -> int:
    """Place of the answer with the largest summed overlap with the others, the first of equals.

    Args:
        answers: at least one.
        overlap: symmetric, e.g. IoU.
    """
    sums = np.zeros(len(answers))
    for place, one in enumerate(answers):
        for other in range(place + 1, len(answers)):
            found = overlap(one, answers[other])
            sums[place] += found
            sums[other] += found
    return int(np.argmax(sums))


def most_frequent(answers: Sequence[_Answer]) -> int:
    """Place of the first answer of those that occur most often."""
    return most_agreeing(answers, lambda one, other: float(one == other))


def mask_overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union, 0..1, of masks ``bool[H, W]``; 1 where both are empty."""
    return mask_iou(one, other, empty=1.0)


def confirmed(agreeing: np.ndarray, samples: int) -> np.ndarray:
    """Chance that the next sample agrees, ``float32[...]``, by the rule of succession.

    Args:
        agreeing: share of the samples that agree, 0..1, that of the answer included.
        samples: ``N``; of one alone, the chance is two thirds.
    """
    return ((samples * agreeing + 1) / (samples + 2)).astype(np.float32)


def confidence_map(probabilities: np.ndarray, height: int, width: int) -> np.ndarray:
    """Probabilities of the image tokens laid on their grid and enlarged to the frame (figure 3).

    Args:
        probabilities: ``float[h, w]``, 0..1.
        height, width: ``H`` and ``W`` in pixels.

    Returns:
        ``float32[H, W]``, 0..1.
    """
    return np.clip(
        cv2.resize(probabilities.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR), 0, 1
    )
