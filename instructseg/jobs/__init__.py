"""Runs over images and videos: settings, inputs, segmentation and summaries."""
