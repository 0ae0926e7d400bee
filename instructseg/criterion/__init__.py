"""Training losses of masks, query scores and text."""

from instructseg.criterion.criterion import CriterionConfig, SegCriterion, SegLosses
from instructseg.criterion.points import PointSampler

__all__ = ["CriterionConfig", "PointSampler", "SegCriterion", "SegLosses"]
