"""InstructSeg: segment pictures and video by saying what you mean.

The few public names live here and are imported when they are first used, so ``import instructseg`` costs
nothing. Everything else is imported from the room that owns it (see ``docs/architecture.md``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from instructseg.version import __version__

if TYPE_CHECKING:
    from instructseg.inference import ImagePredictor, VideoPredictor, VideoSession
    from instructseg.loading import from_pretrained
    from instructseg.model import InstructSeg, InstructSegConfig, preset
    from instructseg.processing import InstructSegProcessor
    from instructseg.structures import MaskPrediction, Sample, Task

__all__ = [
    "ImagePredictor",
    "InstructSeg",
    "InstructSegConfig",
    "InstructSegProcessor",
    "MaskPrediction",
    "Sample",
    "Task",
    "VideoPredictor",
    "VideoSession",
    "__version__",
    "from_pretrained",
    "preset",
]


def __getattr__(name: str) -> Any:
    value: Any
    match name:
        case "ImagePredictor" | "VideoPredictor" | "VideoSession":
            from instructseg import inference

            value = getattr(inference, name)
        case "InstructSeg" | "InstructSegConfig" | "preset":
            from instructseg import model

            value = getattr(model, name)
        case "InstructSegProcessor":
            from instructseg.processing import InstructSegProcessor as value
        case "MaskPrediction" | "Sample" | "Task":
            from instructseg import structures

            value = getattr(structures, name)
        case "from_pretrained":
            from instructseg.loading import from_pretrained as value
        case _:
            raise AttributeError(f"module 'instructseg' has no attribute {name!r}")
    globals()[name] = value  # the next use is a plain attribute
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
