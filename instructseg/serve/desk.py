"""Uploads on their way to the worker, and its answers on their way back."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from instructseg.inference.predictor import VideoSystem, traits_of
from instructseg.inference.prefetch import read_ahead
from instructseg.media import VideoSource
from instructseg.prediction import FrameResult, Prediction
from instructseg.serve.batching import ImageRequest
from instructseg.serve.counters import Counters
from instructseg.serve.failures import BusyError, in_one_line, is_fault, sentence_of
from instructseg.serve.limits import Limits
from instructseg.serve.worker import Predictors, VideoStream, Worker
from instructseg.structures import Task

READERS = 4
"""Uploads decoded at once."""
Load = Callable[[], Predictors]


class Refusal(Exception):
    """A request that is not answered.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Desk:
    """Uploads on their way to the worker.

    Args:
        name: of the model.
        load: returns its predictors, on the worker's thread.
        limits: of the server.
    """

    def __init__(self, name: str, load: Load, limits: Limits) -> None:
        self.name, self.limits, self.counters, self._load = name, limits, Counters(), load
        self._worker: Worker | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._readers = asyncio.Semaphore(READERS)

    def open(self) -> None:
        """Starts to load the model."""
        self._folder = tempfile.TemporaryDirectory(prefix="instructseg-serve-", ignore_cleanup_errors=True)
        self._worker = Worker(self._load, self.limits, self.counters)

    def close(self) -> None:
        """Ends the work and deletes the uploads."""
        if self._worker is not None and self._folder is not None:
            self._worker.close()
            self._folder.cleanup()

    def state(self) -> str:
        """``ready``, ``loading``, or why there is no model."""
        if self._worker is None or (self._worker.predictors is None and not self._worker.failure):
            return "loading"
        return self._worker.failure or "ready"

    @property
    def waiting(self) -> int:
        """Images in the queue."""
        return 0 if self._worker is None else self._worker.waiting

    def worker(self) -> Worker:
        """The worker, which has a model.

        Raises:
            Refusal: 503, it has none.
        """
        if self._worker is None or self._worker.predictors is None:
            raise Refusal(503, f"no model: {self.state()}")
        return self._worker

    def predictors(self) -> Predictors:
        """The predictors of the model; error as of :meth:`worker`."""
        found = self.worker().predictors
        assert found is not None
        return found

    async def segment(
        self, file: BinaryIO, name: str, instructions: list[str], task: str, threshold: float | None
    ) -> tuple[np.ndarray, list[Prediction]]:
        """The image of an upload, with its answers."""
        worker, asked = self.worker(), _checked(self.limits.check_instructions, instructions)
        async with self._readers, self._saved(file, name) as path:
            image, digest = await asyncio.to_thread(self._read, path)
        request = ImageRequest(image, digest, tuple(asked), None if task == "auto" else Task(task), threshold)
        try:
            future = asyncio.wrap_future(worker.submit(request))
            return image, await asyncio.wait_for(future, self.limits.seconds)
        except asyncio.TimeoutError:
            raise Refusal(504, self.limits.late_image) from None
        except BusyError as error:
            raise Refusal(503, in_one_line(error)) from None
        except ValueError as error:
            raise Refusal(422, in_one_line(error)) from None
        except Exception as error:  # noqa: BLE001  (logged by the worker: the client gets a sentence)
            raise Refusal(500 if is_fault(error) else 503, sentence_of(error)) from None

    async def play(
        self, file: BinaryIO, name: str, instructions: list[str], threshold: float | None, stride: int
    ) -> AsyncIterator[VideoSource | FrameResult | int | str]:
        """The video once it is opened and queued, its results, then their number, or an error."""
        worker, (images, videos) = self.worker(), self.predictors()
        if videos is None:
            raise Refusal(422, f"{traits_of(images).system or self.name} works on images only: see /v1/segment")
        asked = _checked(self.limits.check_video_instructions, instructions)
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[FrameResult | Exception | None]()
        async with self._saved(file, name) as path:
            video = await asyncio.to_thread(_checked, self.limits.open_video, path)

            def start(predictor: VideoSystem) -> Iterator[FrameResult]:
                frames = video.passed_through(read_ahead)
                options: dict[str, Any] = {
                    "threshold": threshold,
                    "llm_stride": None if stride == 1 else stride,
                }
                given = {name: value for name, value in options.items() if value is not None}
                return predictor.predict(frames, asked, **given)

            stream = VideoStream(start, lambda item: _hand_over(loop, queue, item))
            try:
                worker.play(stream)
            except BusyError as error:
                raise Refusal(503, in_one_line(error)) from None
            try:
                yield video
                async for item in self._frames(worker, stream, queue):
                    yield item
            finally:
                worker.cancel(stream)

    def _read(self, path: Path) -> tuple[np.ndarray, str]:
        """An image, and the digest by which requests for it are answered together."""
        image: np.ndarray = np.ascontiguousarray(_checked(self.limits.open_image, path))
        return image, f"{image.shape}{hashlib.sha256(image.data).hexdigest()}"

    async def _frames(
        self, worker: Worker, stream: VideoStream, queue: asyncio.Queue[FrameResult | Exception | None]
    ) -> AsyncIterator[VideoSource | FrameResult | int | str]:
        count, end = 0, time.monotonic() + self.limits.video_seconds
        while True:
            try:
                item = await asyncio.wait_for(queue.get(), max(0.0, end - time.monotonic()))
            except asyncio.TimeoutError:
                yield self.limits.late_video
                return
            worker.taken(stream)
            if item is None:
                yield count
                return
            if isinstance(item, Exception):
                yield sentence_of(item)
                return
            if count >= self.limits.frames:  # a file of unknown length
                yield f"the video has more than {self.limits.frames} frames: cut it"
                return
            yield item
            count += 1

    @asynccontextmanager
    async def _saved(self, file: BinaryIO, name: str) -> AsyncIterator[Path]:
        """The upload as a file, deleted at the end; its suffix is that of the client's name."""
        assert self._folder is not None
        folder = Path(tempfile.mkdtemp(dir=self._folder.name))
        suffix = Path(name).suffix[:10]
        path = folder / f"upload{suffix if suffix.isascii() and suffix[1:].isalnum() else ''}"
        try:
            with path.open("wb") as copy:
                await asyncio.to_thread(shutil.copyfileobj, file, copy)
            yield path
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _hand_over(loop: asyncio.AbstractEventLoop, queue: asyncio.Queue[Any], item: Any) -> None:
    """Puts an item on a queue from another thread; nobody waits for it once the loop is closed."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(queue.put_nowait, item)


def _checked(check: Callable[[Any], Any], value: Any) -> Any:
    """What a check returns; its error is the client's."""
    try:
        return check(value)
    except ValueError as error:
        raise Refusal(422, in_one_line(error)) from None
