"""Bodies of the service's answers; the schema of its OpenAPI page. Needs the extra ``serve``."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, Field

from instructseg.inference.predictor import OWN_SYSTEM
from instructseg.masks import mask_to_rle
from instructseg.prediction import Prediction
from instructseg.serve.figure import encoded

Share = Field(ge=0, le=1)


class ErrorBody(BaseModel):
    """What was wrong, and what to do."""

    detail: str


class StateBody(BaseModel):
    """State of the server."""

    status: str = Field(examples=["ready"])


class RleBody(BaseModel):
    """COCO run lengths of a mask, compressed."""

    size: tuple[int, int] = Field(description="Height and width in pixels.")
    counts: str


class DrawnBody(BaseModel):
    """An answer that is an image, such as a depth map."""

    width: int
    height: int
    png: str | None = Field(default=None, description="The file in base64, where asked for.")


class ResultBody(BaseModel):
    """The answer to one instruction; of several objects one each."""

    instruction: str
    system: str = Field(description="The system that answered.", examples=["InstructSeg"])
    found: bool = Field(description="Whether the mask has a pixel.")
    text: str | None = Field(default=None, description="The answer in words, to a question.")
    id: int = Field(default=0, description="Of the object, from 1; the same on all frames of a video.")
    label: str = ""
    score: float = Share
    presence: float = Field(ge=0, le=1, description="Low where nothing matches.")
    box: tuple[int, int, int, int] | None = Field(
        default=None, description="Left, top, right, bottom in pixels."
    )
    area: int = Field(default=0, description="Pixels of the mask.")
    rle: RleBody | None = None
    polygons: list[list[tuple[float, float]]] | None = Field(
        default=None, description="Outer outline of each part, where asked for."
    )
    drawn: DrawnBody | None = Field(default=None, description="The image that the model drew, if it did.")


class SegmentBody(BaseModel):
    """Answers about an image, in the order of the instructions."""

    width: int
    height: int
    results: list[ResultBody]


class VideoBody(BaseModel):
    """Event ``start`` of a video."""

    width: int
    height: int
    fps: float
    frames: int | None = Field(description="By the file; it may be wrong, or not say.")


class FrameBody(BaseModel):
    """Event ``frame`` of a video."""

    index: int
    time: float | None = Field(description="Seconds by the clock of the file.")
    results: list[ResultBody]


class EndBody(BaseModel):
    """Event ``end`` of a video."""

    frames: int


class ModelBody(BaseModel):
    """The model, and the limits of the server."""

    name: str
    system: str = Field(description="Of the answers; InstructSeg, or another one.")
    version: str
    tasks: list[str]
    videos: bool = Field(description="Whether /v1/video is answered.")
    presence_threshold: float | None
    limits: dict[str, float]


def results_of(
    predictions: Sequence[Prediction], polygons: bool = False, drawn: bool = False
) -> list[ResultBody]:
    """Predictions as JSON values; outlines and drawn images where asked for."""
    return [_result(one, polygons, drawn) for one in predictions]


def _result(one: Prediction, polygons: bool, drawn: bool) -> ResultBody:
    told = ResultBody(
        instruction=one.instruction,
        system=one.system or OWN_SYSTEM,
        found=one.found,
        text=one.text,
        score=one.score,
        presence=one.presence,
        drawn=None if one.drawn is None else _drawn(one.drawn, drawn),
    )
    if one.text is not None and not one.found:  # in words, and without a mask
        return told
    outlines = [[(float(x), float(y)) for x, y in line] for line in one.polygons] if polygons else None
    mask = {"area": one.area, "rle": RleBody(**mask_to_rle(one.mask)), "polygons": outlines}
    return told.model_copy(update={"id": one.id, "label": one.label, "box": one.box, **mask})


def _drawn(image: np.ndarray, whole: bool) -> DrawnBody:
    height, width = image.shape[:2]
    file = base64.b64encode(encoded(image)).decode() if whole else None
    return DrawnBody(width=width, height=height, png=file)
