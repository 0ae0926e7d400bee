"""InstructSeg: describe an object, get its mask, in images and video.

Public names, imported on first use, so ``import instructseg`` costs nothing. Everything else is imported from
its own room (see ``docs/architecture.md``). Pipelines of transformers get the task ``referring-segmentation``,
whichever package is imported first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from instructseg.interop.registration import register_with_transformers
from instructseg.version import __version__

if TYPE_CHECKING:
    from instructseg.hub import DEMO_IMAGE, DEMO_VIDEO, DRAWN_IMAGE, DRAWN_VIDEO, is_bundled
    from instructseg.inference import ImagePredictor, Predictor, Stride, VideoPredictor, VideoSession
    from instructseg.inference.postprocess import postprocess
    from instructseg.interop.huggingface import register_pipeline
    from instructseg.loading import load, load_video
    from instructseg.media import VideoWriter, image_size, load_image, open_video
    from instructseg.model import InstructSeg, InstructSegConfig, preset
    from instructseg.prediction import FrameResult, MaskPrediction, Prediction, to_supervision
    from instructseg.pretrained import from_pretrained, load_pretrained
    from instructseg.processing import InstructSegProcessor
    from instructseg.questions import wants_words
    from instructseg.results import save_results
    from instructseg.structures import Sample, Task
    from instructseg.visualization import draw_predictions

__all__ = [
    "DEMO_IMAGE",
    "DEMO_VIDEO",
    "DRAWN_IMAGE",
    "DRAWN_VIDEO",
    "FrameResult",
    "ImagePredictor",
    "InstructSeg",
    "InstructSegConfig",
    "InstructSegProcessor",
    "MaskPrediction",
    "Prediction",
    "Predictor",
    "Sample",
    "Stride",
    "Task",
    "VideoPredictor",
    "VideoSession",
    "VideoWriter",
    "__version__",
    "draw_predictions",
    "from_pretrained",
    "image_size",
    "is_bundled",
    "load",
    "load_image",
    "load_pretrained",
    "load_video",
    "open_video",
    "postprocess",
    "preset",
    "register_pipeline",
    "save_results",
    "to_supervision",
    "wants_words",
]


def __getattr__(name: str) -> Any:
    value: Any
    match name:
        case "ImagePredictor" | "Predictor" | "Stride" | "VideoPredictor" | "VideoSession" | "postprocess":
            from instructseg import inference

            value = getattr(inference, name)
        case "InstructSeg" | "InstructSegConfig" | "preset":
            from instructseg import model

            value = getattr(model, name)
        case "InstructSegProcessor":
            from instructseg.processing import InstructSegProcessor as value
        case "FrameResult" | "MaskPrediction" | "Prediction" | "to_supervision":
            from instructseg import prediction

            value = getattr(prediction, name)
        case "Sample" | "Task":
            from instructseg import structures

            value = getattr(structures, name)
        case "from_pretrained" | "load_pretrained":
            from instructseg import pretrained

            value = getattr(pretrained, name)
        case "load" | "load_video":
            from instructseg import loading

            value = getattr(loading, name)
        case "VideoWriter" | "image_size" | "load_image" | "open_video":
            from instructseg import media

            value = getattr(media, name)
        case "DEMO_IMAGE" | "DEMO_VIDEO" | "DRAWN_IMAGE" | "DRAWN_VIDEO" | "is_bundled":
            from instructseg import hub

            value = getattr(hub, name)
        case "wants_words":
            from instructseg.questions import wants_words as value
        case "register_pipeline":
            from instructseg.interop.huggingface import register_pipeline as value
        case "save_results":
            from instructseg.results import save_results as value
        case "draw_predictions":
            from instructseg.visualization import draw_predictions as value
        case _:
            raise AttributeError(f"module 'instructseg' has no attribute {name!r}")
    globals()[name] = value  # the next use is a plain attribute
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))


register_with_transformers()
