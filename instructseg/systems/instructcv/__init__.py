"""InstructCV (arXiv 2310.00390): answers drawn as images, by InstructPix2Pix."""

from instructseg.systems.instructcv.instructcv_predictor import InstructCVPredictor

__all__ = ["InstructCVPredictor"]
