"""The losses: masks matched to object queries, the queries' scores, and the text."""

from instructseg.criterion.criterion import CriterionConfig, Losses, SegCriterion
from instructseg.criterion.points import PointSampler

__all__ = ["CriterionConfig", "Losses", "PointSampler", "SegCriterion"]
