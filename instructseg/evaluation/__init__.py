"""Metrics: pure functions and sums; no model in here."""

from instructseg.evaluation.iou import IouSums

__all__ = ["IouSums"]
