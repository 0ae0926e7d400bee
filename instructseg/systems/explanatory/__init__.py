"""Explanatory Instructions: an image in, and the image that the words describe out."""
