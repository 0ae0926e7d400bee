"""Prediction on images and video by instructions."""

from instructseg.hub import BUNDLED, DEFAULT_MODEL, DRAWN_MODEL, PUBLISHED, is_bundled
from instructseg.inference.image import ImagePredictor
from instructseg.inference.postprocess import postprocess
from instructseg.inference.predictor import Predictor, TextPredictor, VideoSystem
from instructseg.inference.session import VideoSession
from instructseg.inference.stream_options import StreamOptions
from instructseg.inference.stride import Stride
from instructseg.inference.video import VideoPredictor
from instructseg.model.tokens import TokenChoice
from instructseg.questions import wants_words

__all__ = [
    "BUNDLED",
    "DEFAULT_MODEL",
    "DRAWN_MODEL",
    "PUBLISHED",
    "ImagePredictor",
    "Predictor",
    "StreamOptions",
    "Stride",
    "TextPredictor",
    "TokenChoice",
    "VideoPredictor",
    "VideoSession",
    "VideoSystem",
    "is_bundled",
    "postprocess",
    "wants_words",
]
