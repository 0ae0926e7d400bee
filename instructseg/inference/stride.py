"""Schedule of the language model: every frame, every k-th, or on change.

Between two runs (key frames of the stride), the mask tokens and text states of one of them are reused with the
frame's own visual features. That saves the language model, and SigLIP and the perceiver on frames outside of
all key frames' references; the masks follow the image, the reasoning does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

AUTO = "auto"
"""Name of the adaptive stride."""


@dataclass(frozen=True)
class Stride:
    """Interval between language-model runs.

    Attributes:
        every: largest interval in frames; 1 is the exact procedure.
        adaptive: whether it also runs when ``margin`` or ``distance`` is reached; ``every`` is then counted
            from the last run, per instruction.
        margin: adaptive: fall of an instruction's score (0..1) since its last run that triggers another;
            0 always does.
        distance: adaptive: change of the image since the last run (:func:`feature_distance`, 0..2) that
            triggers another; 0 always does.

    Raises:
        ValueError: a number is out of range.
    """

    every: int = 1
    adaptive: bool = False
    margin: float = 0.1
    distance: float = 0.4

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"llm_stride must be at least 1, got {self.every}")
        if not 0 <= self.margin <= 1:
            raise ValueError(f"margin must be within 0..1, got {self.margin}")
        if not 0 <= self.distance <= 2:
            raise ValueError(f"distance must be within 0..2, got {self.distance}")

    @classmethod
    def of(cls, value: Stride | int | str) -> Stride:
        """A stride from a number, ``"auto"``, or a :class:`Stride`.

        Raises:
            ValueError: none of them.
        """
        if isinstance(value, Stride):
            return value
        if value == AUTO:
            return cls(every=8, adaptive=True)
        try:
            return cls(int(value))
        except ValueError as error:
            if "llm_stride" in str(error):
                raise
            raise ValueError(f"llm_stride is a number of frames or '{AUTO}', got '{value}'") from error

    def key(self, t: int, settled: bool) -> int:
        """Key frame of frame ``t`` with a fixed stride: the nearest, the earlier of two.

        Args:
            t: frame of the video, from 0.
            settled: whether the next key frame is available; otherwise the previous one is used.
        """
        past = t - t % self.every
        return past + self.every if settled and past + self.every - t < t - past else past

    def following(self, t: int) -> int:
        """First key frame after ``t`` with a fixed stride."""
        return t - t % self.every + self.every

    def changed(self, now: torch.Tensor, then: torch.Tensor) -> bool:
        """Adaptive: whether the image changed; maps as of :func:`feature_distance`."""
        return feature_distance(now, then) >= self.distance

    def fallen(self, now: float, then: float) -> bool:
        """Adaptive: whether a score (0..1) fell since the last run."""
        return then - now >= self.margin


def feature_distance(now: torch.Tensor, then: torch.Tensor) -> float:
    """Distance between two images: ``|a - b| / mean(|a|, |b|)`` of their coarsest feature maps.

    Args:
        now: ``float[1, C, h, w]`` of stride 32.
        then: the same shape.

    Returns:
        0 (the same) .. 2.
    """
    now, then = now.float().flatten(), then.float().flatten()
    scale = (now.norm() + then.norm()) / 2
    return float((now - then).norm() / scale.clamp(min=torch.finfo(torch.float32).tiny))
