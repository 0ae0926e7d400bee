"""When the language model runs: on every frame, on every k-th, or when something changed.

Between two frames it runs on (key frames of the stride), the mask tokens and text states of one of them are
used again with the frame's own visual features. That saves the language model, and SigLIP and the perceiver
on frames that no key frame looks at; the masks follow the picture, the reasoning does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

AUTO = "auto"
"""The adaptive stride, by name."""


@dataclass(frozen=True)
class Stride:
    """How often the language model runs.

    Attributes:
        every: it runs on every ``every``-th frame of a clip, at least; 1 is the exact procedure.
        adaptive: whether it also runs when ``margin`` or ``distance`` is passed; ``every`` is then counted
            from the last run, per instruction.
        margin: adaptive: the fall of an instruction's score (0..1) since its last run that asks for another;
            0 always does.
        distance: adaptive: change of the picture since the last run (:func:`feature_distance`, 0..2) that
            asks for another; 0 always does.

    Raises:
        ValueError: a number is out of its range.
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
        """A stride as users write it: a number, ``"auto"``, or a :class:`Stride`.

        Raises:
            ValueError: it is none of them.
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
        """The key frame of frame ``t`` with a fixed stride: the nearest, the earlier of two.

        Args:
            t: frame of the clip, from 0.
            settled: whether the next key frame can be looked at already; otherwise it is the previous one.
        """
        past = t - t % self.every
        return past + self.every if settled and past + self.every - t < t - past else past

    def following(self, t: int) -> int:
        """The first key frame behind ``t`` with a fixed stride."""
        return t - t % self.every + self.every

    def changed(self, now: torch.Tensor, then: torch.Tensor) -> bool:
        """Adaptive: whether the picture changed; maps as of :func:`feature_distance`."""
        return feature_distance(now, then) >= self.distance

    def fallen(self, now: float, then: float) -> bool:
        """Adaptive: whether a score (0..1) fell since the last run."""
        return then - now >= self.margin


def feature_distance(now: torch.Tensor, then: torch.Tensor) -> float:
    """How far two pictures are apart: ``|a - b| / mean(|a|, |b|)`` of their coarsest feature maps.

    Args:
        now: ``float[1, C, h, w]`` of stride 32.
        then: the same shape.

    Returns:
        0 (the same) .. 2.
    """
    now, then = now.float().flatten(), then.float().flatten()
    scale = (now.norm() + then.norm()) / 2
    return float((now - then).norm() / scale.clamp(min=torch.finfo(torch.float32).tiny))
