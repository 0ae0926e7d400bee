"""Masks painted over pictures."""

from instructseg.visualization.overlay import colour, draw_masks
from instructseg.visualization.video import contact_sheet

__all__ = ["colour", "contact_sheet", "draw_masks"]
