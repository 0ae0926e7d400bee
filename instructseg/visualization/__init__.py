"""Masks drawn over images."""

from instructseg.visualization.contact_sheet import contact_sheet
from instructseg.visualization.overlay import colour, covered, draw_masks, draw_predictions
from instructseg.visualization.samples import draw_clip, draw_sample

__all__ = ["colour", "contact_sheet", "covered", "draw_clip", "draw_masks", "draw_predictions", "draw_sample"]
