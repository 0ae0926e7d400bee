"""Metrics: pure functions and sums, without models or files.

``iou`` and ``generalized`` score images, ``jf`` masks of a video, ``davis`` and ``expressions`` benchmarks of
videos, ``answers`` text.
"""

from instructseg.evaluation.iou import IouSums

__all__ = ["IouSums"]
