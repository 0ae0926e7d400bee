"""Sequence core of InstructSeq and Explanatory Instructions: one vocabulary, sampling, agreement."""
