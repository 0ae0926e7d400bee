"""Lessons of seeing and reading for a small model, before joint training."""
