"""Preparation of frames and instructions as model inputs.

``templates`` words the question, ``conversation`` lays it out as ids, roles and labels, ``pixels`` prepares
the frames, and ``processor`` does all of it for a batch.
"""

from instructseg.processing.known_words import UnknownWordsWarning
from instructseg.processing.processor import InstructSegProcessor, ProcessorConfig

__all__ = ["InstructSegProcessor", "ProcessorConfig", "UnknownWordsWarning"]
