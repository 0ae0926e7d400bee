"""Metrics: pure functions and sums; no model in here.

``iou`` and ``generalized`` score images, ``jf`` masks of a video, ``davis`` and ``video_protocols`` whole
benchmarks from folders, ``vqa`` text. ``submission`` and ``submission_text`` write and check uploads,
``report`` what a run leaves.
"""

from instructseg.evaluation.iou import IouSums

__all__ = ["IouSums"]
