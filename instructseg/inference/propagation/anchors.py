"""Rules of propagation: which masks of the model are anchors, and which of two masks of an object is shown.

Pure functions. An anchor is a mask of the model that a tracker carries to other frames. Its quality is its
score times its presence.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from instructseg.prediction import Prediction

MOST_ANCHORS = 4
"""Largest number of anchors of an object that a tracker remembers."""
SPACING = 8
"""Least distance of two remembered anchors, in frames."""
AGREEMENT = 0.5
"""Overlap (IoU) from which two masks are of one object."""
SEEN = 0.5
"""Probability from which a tracked object is on the frame."""


def quality(prediction: Prediction) -> float:
    """Score times presence, 0..1; 0 for an empty mask."""
    return prediction.score * prediction.presence if prediction.found else 0.0


def best_anchors(qualities: Mapping[int, float], most: int = MOST_ANCHORS, spacing: int = SPACING) -> list[int]:
    """The best frames that lie apart, in the order of their quality; of equal ones the earlier.

    Args:
        qualities: of the candidates, by frame; those of 0 are no anchors.
        most: largest number of anchors.
        spacing: least distance of two anchors, in frames.
    """
    chosen: list[int] = []
    for frame in sorted(qualities, key=lambda one: (-qualities[one], one)):
        apart = all(abs(frame - other) >= spacing for other in chosen)
        if qualities[frame] > 0 and apart and len(chosen) < most:
            chosen.append(frame)
    return chosen


def carried(anchor: Prediction, probability: np.ndarray, seen: float) -> Prediction:
    """The prediction on another frame by a tracked mask.

    Args:
        anchor: governs the frame.
        probability: ``float32[H, W]``, the tracked mask, 0..1.
        seen: probability that the object is on the frame, 0..1.

    Returns:
        Its score is the anchor's times ``seen``; empty below :data:`SEEN`.
    """
    if seen < SEEN:
        probability = np.zeros_like(probability)
    return Prediction(
        probability > 0.5,
        anchor.score * seen,
        anchor.presence,
        anchor.instruction,
        probability,
        label=anchor.label,
        id=anchor.id,
        instruction_id=anchor.instruction_id,
    )
