"""Propagation of masks through a video by a tracker (``track``)."""
