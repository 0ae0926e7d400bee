"""InstructSeg: segment pictures and video by saying what you mean.

The few public names live here and are imported when they are first used, so ``import instructseg`` costs
nothing. Everything else is imported from the room that owns it (see ``docs/architecture.md``).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from instructseg.version import __version__

if TYPE_CHECKING:
    from instructseg.convert import load_pretrained as from_pretrained
    from instructseg.inference import ImagePredictor, VideoPredictor, VideoSession
    from instructseg.model import InstructSeg, InstructSegConfig, preset
    from instructseg.processing import InstructSegProcessor
    from instructseg.structures import MaskPrediction, Sample, Task

# public name: where it lives
_HOMES = {
    "ImagePredictor": "instructseg.inference:ImagePredictor",
    "InstructSeg": "instructseg.model:InstructSeg",
    "InstructSegConfig": "instructseg.model:InstructSegConfig",
    "InstructSegProcessor": "instructseg.processing:InstructSegProcessor",
    "MaskPrediction": "instructseg.structures:MaskPrediction",
    "Sample": "instructseg.structures:Sample",
    "Task": "instructseg.structures:Task",
    "VideoPredictor": "instructseg.inference:VideoPredictor",
    "VideoSession": "instructseg.inference:VideoSession",
    "from_pretrained": "instructseg.convert:load_pretrained",
    "preset": "instructseg.model:preset",
}

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
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'instructseg' has no attribute {name!r}")
    module, _, attribute = home.partition(":")
    value = getattr(import_module(module), attribute)
    globals()[name] = value  # the next use is a plain attribute
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
