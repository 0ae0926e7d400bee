"""Figures on drawn scenes that are kept from training."""
