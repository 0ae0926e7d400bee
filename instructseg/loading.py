"""Loading of predictors by name, for every segmentation system.

Another system is a folder of ``instructseg/systems/`` whose predictors fulfil
:class:`~instructseg.inference.Predictor` (for video :class:`~instructseg.inference.VideoSystem`), and a row of
:data:`SYSTEMS`, which says how they are opened; it imports its own libraries inside of functions. The
command line opens predictors by :func:`load`, :func:`load_video` and :func:`load_both` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, TypedDict, TypeVar, overload

from instructseg.deprecation import renamed_keyword
from instructseg.files import read_object
from instructseg.inference.image import ImagePredictor
from instructseg.inference.predictor import Predictor, VideoSystem
from instructseg.inference.video import VideoPredictor
from instructseg.model.config_file import CONFIG_FILE, read_model_type
from instructseg.pretrained import LAYOUTS
from instructseg.processing.storage import local_folder
from instructseg.systems.instructcv import InstructCVPredictor

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from instructseg.inference.memory import Workload

_Opened = TypeVar("_Opened", covariant=True)
OwnName: TypeAlias = Literal["mini", "nano", "bundled", "weic22/InstructSeg"]
"""Names of InstructSeg itself: an editor shows all that its predictors can do."""
PIPELINE_FILE = "model_index.json"
"""Index of a pipeline of diffusers, which has a folder for each part."""


class OpenOptions(TypedDict, total=False):
    """Settings for opening a predictor, as of :meth:`instructseg.inference.ImagePredictor.from_pretrained`."""

    device: torch.device | str | None
    dtype: torch.dtype | str | None
    quantize: str | None
    max_memory: int | str | None
    workload: Workload | None


class Opener(Protocol[_Opened]):
    """Opens the predictor of a checkpoint; options that a system lacks are a ``ValueError`` of its own."""

    def __call__(self, name_or_path: str | Path | None, /, **options: Unpack[OpenOptions]) -> _Opened:
        """The predictor of a folder or repository."""


@dataclass(frozen=True)
class System:
    """Predictors of one kind of checkpoint.

    Attributes:
        image: opens the predictor for images.
        video: opens the predictor for video; ``None`` for a system of images alone.
    """

    image: Opener[Predictor]
    video: Opener[VideoSystem] | None = None


_OURS = System(ImagePredictor.from_pretrained, VideoPredictor.from_pretrained)


def _visionllm(name_or_path: str | Path | None, /, **options: Unpack[OpenOptions]) -> Predictor:
    from instructseg.systems.visionllm.visionllm_predictor import VisionLLMPredictor

    return VisionLLMPredictor.from_pretrained(name_or_path, **options)


def _instructseq(name_or_path: str | Path | None, /, **options: Unpack[OpenOptions]) -> Predictor:
    from instructseg.systems.instructseq.instructseq_predictor import InstructSeqPredictor

    return InstructSeqPredictor.from_pretrained(name_or_path, **options)


def _explanatory(name_or_path: str | Path | None, /, **options: Unpack[OpenOptions]) -> Predictor:
    from instructseg.systems.explanatory.explanatory_predictor import ExplanatoryPredictor

    return ExplanatoryPredictor.from_pretrained(name_or_path, **options)


SYSTEMS: dict[str, System] = {
    **dict.fromkeys(LAYOUTS, _OURS),
    "chameleon": System(_explanatory),
    "explanatory": System(_explanatory),
    "instructcv": System(InstructCVPredictor.from_pretrained),
    "instructseq": System(_instructseq),
    "visionllm": System(_visionllm),
}
"""Segmentation systems by the ``model_type`` in the ``config.json`` of their checkpoints."""
PIPELINES = {"StableDiffusionInstructPix2PixPipeline": "instructcv"}
"""Systems by the class that ``model_index.json`` names, of checkpoints in the layout of diffusers."""


@overload
def load(name_or_path: OwnName | None = None, **options: Unpack[OpenOptions]) -> ImagePredictor: ...


@overload
def load(name_or_path: str | Path | None = None, **options: Unpack[OpenOptions]) -> Predictor: ...


@renamed_keyword("quantise", "quantize")
def load(name_or_path: str | Path | None = None, **options: Unpack[OpenOptions]) -> Predictor:
    """Loads the predictor for images of any system.

    Example::

        for found in load().predict("photo.jpg", ["the truck", "the road"]):
            print(found)

    Args:
        name_or_path: a folder or a repository of the hub with the checkpoint of a system of :data:`SYSTEMS`;
            ``"mini"`` or ``"nano"`` for a bundled model; ``None`` for ``"mini"``, that of photographs; a name
            of :data:`instructseg.hub.TINY` for small weights of another system.
        options: ``device``, ``dtype``, ``quantize``, ``max_memory`` and ``workload``, as of
            :meth:`instructseg.inference.ImagePredictor.from_pretrained`.

    Raises:
        FileNotFoundError: there is no checkpoint, or a file of it is missing.
        ValueError: it is damaged or of an unknown system, or an option does not fit.
        torch.cuda.OutOfMemoryError: the weights do not fit.
    """
    return find_system(name_or_path).image(name_or_path, **options)


@overload
def load_video(name_or_path: OwnName | None = None, **options: Unpack[OpenOptions]) -> VideoPredictor: ...


@overload
def load_video(name_or_path: str | Path | None = None, **options: Unpack[OpenOptions]) -> VideoSystem: ...


@renamed_keyword("quantise", "quantize")
def load_video(name_or_path: str | Path | None = None, **options: Unpack[OpenOptions]) -> VideoSystem:
    """Loads the predictor for video of any system; arguments and errors as of :func:`load`.

    Raises:
        ValueError: the system takes images alone, or as of :func:`load`.
    """
    system = find_system(name_or_path)
    if system.video is None:
        raise ValueError(f"{name_or_path} segments images alone: use 'instructseg image', or another --model")
    return system.video(name_or_path, **options)


def load_both(
    name_or_path: str | Path | None = None, **options: Unpack[OpenOptions]
) -> tuple[Predictor, VideoSystem | None]:
    """The predictors of any system for images and for video, ``None`` where it works on images alone.

    Both have the same weights. Arguments and errors as of :func:`load`.
    """
    system = find_system(name_or_path)
    images = system.image(name_or_path, **options)
    if isinstance(images, ImagePredictor):  # one copy of the weights
        return images, VideoPredictor(images.model, images.processor)
    return images, None if system.video is None else system.video(name_or_path, **options)


def find_system(name_or_path: str | Path | None) -> System:
    """The system of a checkpoint, by its small files, which are downloaded where it is a repository.

    Raises:
        FileNotFoundError: there is no checkpoint of that name.
        ValueError: it is of an unknown system.
    """
    folder = local_folder(name_or_path)
    index = folder / PIPELINE_FILE
    if index.is_file() and not (folder / CONFIG_FILE).is_file():
        kind = str(read_object(index).get("_class_name"))
        if kind not in PIPELINES:
            known = ", ".join(PIPELINES)
            raise ValueError(f"{folder} holds a pipeline of diffusers, {kind}, and not one of {known}")
        return SYSTEMS[PIPELINES[kind]]
    return SYSTEMS[read_model_type(folder, SYSTEMS)["model_type"]]
