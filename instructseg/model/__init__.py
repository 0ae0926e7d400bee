"""The network: the boxes of the paper's figure, one file each, and :class:`InstructSeg` that joins them."""

from instructseg.model.configuration import PRESETS, InstructSegConfig, preset
from instructseg.model.instructseg import FrameFeatures, InstructSeg, LanguageStates

__all__ = ["PRESETS", "FrameFeatures", "InstructSeg", "InstructSegConfig", "LanguageStates", "preset"]
