"""The losses: masks matched to object queries, the queries' scores, and the text."""

from instructseg.criterion.criterion import CriterionConfig, SegCriterion, SegLosses
from instructseg.criterion.points import PointSampler

__all__ = ["CriterionConfig", "PointSampler", "SegCriterion", "SegLosses"]
