"""Checkpoints in and out: ours, the published InstructSeg, Mask2Former and Mipha-3B."""

from instructseg.convert.mask2former import load_mask2former
from instructseg.convert.mipha import assemble_training_start
from instructseg.convert.official import convert_official, export_official, load_official

__all__ = [
    "assemble_training_start",
    "convert_official",
    "export_official",
    "load_mask2former",
    "load_official",
]
