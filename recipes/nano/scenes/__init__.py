"""Scenes of simple shapes, drawn from a seed."""
