"""Images and video, in and out: everything becomes ``uint8[H, W, 3]`` RGB, one frame at a time."""

from instructseg.media.animations import frames_in
from instructseg.media.images import MAX_PIXELS, ImageLike, image_size, load_image, save_image
from instructseg.media.reading import TruncatedVideoError, VideoSource, open_video
from instructseg.media.writing import VideoWriter

__all__ = [
    "MAX_PIXELS",
    "ImageLike",
    "TruncatedVideoError",
    "VideoSource",
    "VideoWriter",
    "frames_in",
    "image_size",
    "load_image",
    "open_video",
    "save_image",
]
