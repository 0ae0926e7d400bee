"""The network: the boxes of the paper's figure, one file each, and :class:`InstructSeg` that joins them."""

from instructseg.model.configuration import InstructSegConfig
from instructseg.model.instructseg import FrameFeatures, InstructSeg, LanguageStates
from instructseg.model.presets import PRESETS, preset

__all__ = ["PRESETS", "FrameFeatures", "InstructSeg", "InstructSegConfig", "LanguageStates", "preset"]
