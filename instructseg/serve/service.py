"""HTTP service: an image or a video and instructions in, masks out. Needs the extra ``serve``."""

# endpoints are read by FastAPI as they are defined: no postponed annotations here

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import Depends, FastAPI, File, Form, HTTPException, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel, StringConstraints

from instructseg.inference.predictor import text_tasks_of, traits_of
from instructseg.masks import save_palette_png
from instructseg.media import VideoSource
from instructseg.prediction import FrameResult, Prediction
from instructseg.serve.bodies import (
    EndBody,
    ErrorBody,
    FrameBody,
    ModelBody,
    SegmentBody,
    StateBody,
    VideoBody,
    results_of,
)
from instructseg.serve.desk import Desk, Load, Refusal
from instructseg.serve.failures import sentence_of
from instructseg.serve.figure import encoded
from instructseg.serve.guard import Guard
from instructseg.serve.limits import Limits
from instructseg.structures import Task
from instructseg.version import __version__

ABOUT = "Describe an object, get its mask: in images and video."

TaskName = Literal["auto", "res", "reason_seg", "vqa"]
"""``auto``, or a :class:`Task` of images."""
Upload = Annotated[UploadFile, File(description="The image or video.", json_schema_extra={"format": "binary"})]
Threshold = Annotated[
    float | None, Form(ge=0, le=1, description="Presence below which a mask is empty; 0: never.")
]

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": text}
    for status, text in (
        (400, "The body is damaged."),
        (401, "No token, or a wrong one."),
        (408, "The body did not come in time."),
        (413, "The request is too large."),
        (422, "A file or a field that cannot be used."),
        (500, "A fault of the server, which its log describes."),
        (503, "The server is busy, or has no model yet."),
        (504, "Not done within the time limit."),
    )
}
BUSY = {"Retry-After": "5"}
EVENT = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"type": "string", "enum": ["start", "frame", "end", "error"]},
        "data": {"type": "string", "description": "JSON: VideoBody, FrameBody, EndBody, ErrorBody."},
    },
}
"""One server-sent event."""


def create_service(
    name: str, load: Load, limits: Limits | None = None, token: str | None = None
) -> Callable[..., Any]:
    """The service as an ASGI application, for uvicorn.

    Args:
        name: of the model, for clients.
        load: returns predictors of one model; called once, on a thread, when the service starts.
        limits: of the server.
        token: that requests must bear; ``None`` for none.
    """
    desk = Desk(name, load, limits or Limits())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        desk.open()
        try:
            yield
        finally:
            await asyncio.to_thread(desk.close)

    bearer = [] if token is None else [Depends(HTTPBearer(auto_error=False))]
    app = FastAPI(
        title="InstructSeg", version=__version__, description=ABOUT, lifespan=lifespan, redoc_url=None
    )
    app.add_exception_handler(RequestValidationError, _refuse_fields)
    app.add_exception_handler(Refusal, _refuse)
    app.add_exception_handler(Exception, _report_fault)
    _add_status(app, desk, bearer)
    _add_image(app, desk, bearer)
    _add_video(app, desk, bearer)
    paths = {route.path for route in app.routes if hasattr(route, "path")}
    return Guard(app, desk.counters, lambda: paths, desk.limits.upload, token, HTTPException)


def _add_status(app: FastAPI, desk: Desk, bearer: list[Any]) -> None:
    """Health, readiness, metrics and the description of the model."""

    @app.get("/health", tags=["status"])
    async def health() -> StateBody:
        """The process answers."""
        return StateBody(status="ok")

    @app.get("/ready", tags=["status"], responses={503: PROBLEMS[503]})
    async def ready() -> StateBody:
        """The model is loaded."""
        if (state := desk.state()) != "ready":
            raise Refusal(503, f"no model: {state}")
        return StateBody(status=state)

    plain = {"response_class": PlainTextResponse, "responses": {401: PROBLEMS[401]}}

    @app.get("/metrics", tags=["status"], dependencies=bearer, **plain)  # type: ignore[arg-type]
    async def metrics() -> PlainTextResponse:
        """Counters for Prometheus."""
        text = desk.counters.text(ready=desk.state() == "ready", waiting=desk.waiting)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    @app.get("/v1/model", tags=["status"], dependencies=bearer, responses={n: PROBLEMS[n] for n in (401, 503)})
    async def model() -> ModelBody:
        """The model and the limits of the server."""
        images, videos = desk.predictors()
        traits = traits_of(images)
        kept = {*traits.tasks, *text_tasks_of(images)}
        return ModelBody(
            name=desk.name,
            system=traits.system,
            version=__version__,
            tasks=[task.value for task in Task if task in kept],
            videos=videos is not None,
            presence_threshold=traits.threshold,
            limits=asdict(desk.limits),
        )


def _words(limits: Limits) -> Any:
    """Type of the instructions of a request."""
    word = Annotated[str, StringConstraints(min_length=1, max_length=limits.length)]
    form = Form(description="One object or question each.", min_length=1, max_length=limits.instructions)
    return Annotated[list[word], form]  # type: ignore[valid-type]


def _add_image(app: FastAPI, desk: Desk, bearer: list[Any]) -> None:
    """Segmentation of images, as JSON and as a file."""
    words = _words(desk.limits)

    @app.post("/v1/segment", tags=["segment"], dependencies=bearer, responses=PROBLEMS)
    async def segment(
        file: Upload,
        instructions: words,  # type: ignore[valid-type]
        task: Annotated[TaskName, Form(description="auto: words to questions, else masks.")] = "auto",
        threshold: Threshold = None,
        polygons: Annotated[bool, Form(description="Whether results carry polygons.")] = False,
        drawn: Annotated[bool, Form(description="Whether results carry images that were drawn.")] = False,
    ) -> SegmentBody:
        """Answers instructions on an image, with a mask in COCO run lengths each."""
        image, found = await desk.segment(file.file, file.filename or "", instructions, task, threshold)
        results = await asyncio.to_thread(results_of, found, polygons, drawn)
        return SegmentBody(width=image.shape[1], height=image.shape[0], results=results)

    png: dict[int | str, Any] = {
        200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}
    }
    file_route: dict[str, Any] = {
        "tags": ["segment"],
        "dependencies": bearer,
        "responses": {**PROBLEMS, **png},
        "response_class": Response,
    }

    @app.post("/v1/mask", **file_route)
    async def mask(file: Upload, instructions: words, threshold: Threshold = None) -> Response:  # type: ignore[valid-type]
        """One PNG of all masks: 0 nothing, i the i-th instruction; of several the one of the higher score."""
        task = Task.RES.value if Task.RES in traits_of(desk.predictors()[0]).tasks else "auto"
        image, found = await desk.segment(file.file, file.filename or "", instructions, task, threshold)
        content = await asyncio.to_thread(_palette, image.shape[:2], found)
        return Response(content, media_type="image/png")

    @app.post("/v1/drawn", **file_route)
    async def drawn(file: Upload, instructions: words) -> Response:  # type: ignore[valid-type]
        """The first answer that is an image, such as a depth map or an edited image, as a PNG."""
        _, found = await desk.segment(file.file, file.filename or "", instructions, "auto", None)
        images = [one.drawn for one in found if one.drawn is not None]
        if not images:
            raise Refusal(422, "no answer is an image: ask /v1/segment for masks and words")
        return Response(await asyncio.to_thread(encoded, images[0]), media_type="image/png")


def _add_video(app: FastAPI, desk: Desk, bearer: list[Any]) -> None:
    """Segmentation of videos, frame by frame."""
    words = _words(desk.limits)
    events: dict[int | str, Any] = {200: {"content": {"text/event-stream": {"schema": EVENT}}}}

    @app.post(
        "/v1/video",
        tags=["segment"],
        dependencies=bearer,
        responses={**PROBLEMS, **events},
        response_class=Response,
    )
    async def video(
        file: Upload,
        instructions: words,  # type: ignore[valid-type]
        threshold: Threshold = None,
        llm_stride: Annotated[int, Form(ge=1, le=1000, description="Language model on every k-th frame.")] = 1,
    ) -> StreamingResponse:
        """Server-sent events: ``start``, a ``frame`` each with its masks, then ``end`` or ``error``."""
        items = desk.play(file.file, file.filename or "", instructions, threshold, llm_stride)
        first = await anext(items)  # errors in the request come before the first event

        async def stream() -> AsyncIterator[bytes]:
            try:
                yield _event(first)
                async for item in items:
                    yield await asyncio.to_thread(_event, item)
            finally:
                await items.aclose()  # type: ignore[attr-defined]

        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(stream(), media_type="text/event-stream", headers=headers)


def _event(item: VideoSource | FrameResult | int | str) -> bytes:
    """An event of a video: its header, a frame, the number of frames, or an error."""
    body: BaseModel
    if isinstance(item, VideoSource):
        (height, width), kind = item.size, "start"
        body = VideoBody(width=width, height=height, fps=item.fps, frames=item.about)
    elif isinstance(item, FrameResult):
        kind, body = "frame", FrameBody(index=item.index, time=item.time, results=results_of(item.predictions))
    elif isinstance(item, int):
        kind, body = "end", EndBody(frames=item)
    else:
        kind, body = "error", ErrorBody(detail=item)
    return f"event: {kind}\ndata: {body.model_dump_json()}\n\n".encode()


def _palette(size: tuple[int, int], found: list[Prediction]) -> bytes:
    ids = np.zeros(size, np.uint8)
    for one in sorted(found, key=lambda one: one.score):
        ids[one.mask] = one.instruction_id + 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mask.png")
        save_palette_png(path, ids)
        return path.read_bytes()


async def _refuse_fields(_: Request, error: Exception) -> JSONResponse:
    """Fields of a wrong kind, in one sentence."""
    assert isinstance(error, RequestValidationError)
    said = [f"{'.'.join(str(part) for part in one['loc'][1:])}: {one['msg']}" for one in error.errors()]
    text = "; ".join(said).encode("utf-8", "replace").decode()
    return JSONResponse({"detail": f"{text}: see /docs"[:2000]}, 422)


async def _report_fault(_: Request, error: Exception) -> JSONResponse:
    """A fault of the server, which its log describes: the error goes on to it."""
    return JSONResponse({"detail": sentence_of(error)}, 500)


async def _refuse(_: Request, error: Exception) -> JSONResponse:
    """A request that is not answered."""
    assert isinstance(error, Refusal)
    headers = BUSY if error.status == 503 else None
    return JSONResponse({"detail": str(error)}, error.status, headers)
