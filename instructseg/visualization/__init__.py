"""Masks painted over pictures."""

from instructseg.visualization.overlay import colour, draw_masks
from instructseg.visualization.samples import draw_clip, draw_sample
from instructseg.visualization.video import contact_sheet

__all__ = ["colour", "contact_sheet", "draw_clip", "draw_masks", "draw_sample"]
