"""The thread that owns the model: a queue of images, answered in batches, and videos in turn between them."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from instructseg.inference.predictor import Predictor, VideoSystem
from instructseg.log import get_logger
from instructseg.out_of_memory import is_out_of_memory
from instructseg.prediction import FrameResult, Prediction
from instructseg.serve.batching import ImageRequest, segment_together
from instructseg.serve.counters import Counters
from instructseg.serve.failures import BusyError, CancelledVideoError, in_one_line
from instructseg.serve.limits import Limits

IMAGES, INSTRUCTIONS = 8, 32
"""Most images and, unless one request has more, instructions of a batch."""
PIXELS = 2**28
"""Pixels of waiting images, 768 MiB; a single image may have more."""
AHEAD = 8
"""Frames of a video that a client may lag behind."""
LOOK = 0.1
"""Seconds between looks whether a video that is waited for was cancelled."""
Predictors = tuple[Predictor, VideoSystem | None]
"""Of one model, for images and for video; ``None`` for a model of images alone."""
_log = get_logger(__name__)


class VideoStream:
    """Results of a video on their way from the worker to a client.

    Args:
        start: begins the work, on the worker's thread.
        send: takes results; after the last one ``None``, after a failure its error. It must not block.
    """

    def __init__(
        self,
        start: Callable[[VideoSystem], Iterator[FrameResult]],
        send: Callable[[FrameResult | Exception | None], None],
    ) -> None:
        self._start, self._send = start, send
        self._results: Iterator[FrameResult] | None = None
        self.unread = 0
        self.cancelled = False

    @property
    def ready(self) -> bool:
        """Whether a step may be taken: the client is not far behind, or gone."""
        return self.cancelled or self.unread < AHEAD

    def step(self, predictor: VideoSystem) -> bool:
        """Computes one frame; false at the end."""
        if self.cancelled:
            self.close()
            return False
        try:
            if self._results is None:
                self._results = iter(self._start(predictor))
            result: FrameResult | Exception | None = next(self._results, None)
        except Exception as error:  # noqa: BLE001  (a fault of the video or of the model ends this video alone)
            _log_fault(error)
            result = error
        self.unread += 1
        self._send(result)
        if isinstance(result, FrameResult):
            return True
        self.close()
        return False

    def close(self) -> None:
        """Ends the reading of the file."""
        if self._results is not None and hasattr(self._results, "close"):
            self._results.close()


class Worker:
    """Loads the model and answers requests, on a thread of its own.

    Args:
        load: returns the predictors; called on the thread.
        limits: of the server.
        counters: receive sizes of batches and frames.
    """

    def __init__(self, load: Callable[[], Predictors], limits: Limits, counters: Counters) -> None:
        self._load, self.limits, self.counters = load, limits, counters
        self._changed = threading.Condition()
        self._images: deque[tuple[ImageRequest, Future[list[Prediction]]]] = deque()
        self._videos: deque[VideoStream] = deque()
        self._closed = False
        self.predictors: Predictors | None = None
        self.failure = ""
        self._thread = threading.Thread(target=self._run, name="instructseg-worker", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Images in the queue."""
        return len(self._images)

    def submit(self, request: ImageRequest) -> Future[list[Prediction]]:
        """Queues a request; a cancelled future is passed over.

        Raises:
            BusyError: the queue is full, or the server is closing.
        """
        pixels = request.image.shape[0] * request.image.shape[1]
        with self._changed:
            held = sum(one.image.shape[0] * one.image.shape[1] for one, _ in self._images)
            if self._closed or len(self._images) >= self.limits.waiting or (held and held + pixels > PIXELS):
                raise BusyError("the server is busy: try again in a few seconds")
            future: Future[list[Prediction]] = Future()
            self._images.append((request, future))
            self._changed.notify()
        return future

    def play(self, stream: VideoStream) -> None:
        """Queues a video.

        Raises:
            BusyError: as many are being answered as the limits allow, or the server is closing.
        """
        with self._changed:
            wanted = sum(not one.cancelled for one in self._videos)
            if self._closed or wanted >= self.limits.videos:
                raise BusyError("the server is busy with other videos: try again in a minute")
            self._videos.append(stream)
            self._changed.notify()

    def taken(self, stream: VideoStream) -> None:
        """Reports that a client has read one result of a stream."""
        with self._changed:
            stream.unread -= 1
            self._changed.notify()

    def cancel(self, stream: VideoStream) -> None:
        """Ends a video whose client is gone."""
        with self._changed:
            stream.cancelled = True
            self._changed.notify()

    def answer(self, request: ImageRequest) -> list[Prediction]:
        """Queues a request and waits for its answer.

        Raises:
            BusyError: as of :meth:`submit`.
            ValueError: of the request, or the time is over.
        """
        future = self.submit(request)
        try:
            return future.result(self.limits.seconds)
        except FutureTimeoutError:
            future.cancel()
            raise ValueError(self.limits.late_image) from None

    def follow(
        self, start: Callable[[VideoSystem], Iterator[FrameResult]], cancelled: threading.Event
    ) -> Iterator[FrameResult]:
        """Queues a video and waits for its results, one after the other.

        Args:
            start: begins the work, on the worker's thread.
            cancelled: set by another thread to end it; then the step that is computed is not waited for.

        Raises:
            BusyError: as of :meth:`play`.
            CancelledVideoError: it was cancelled.
            ValueError: of the video, or the time is over.
        """
        results: queue.SimpleQueue[FrameResult | Exception | None] = queue.SimpleQueue()
        stream, end = VideoStream(start, results.put), time.monotonic() + self.limits.video_seconds
        self.play(stream)
        try:
            while True:
                if cancelled.is_set():
                    raise CancelledVideoError("the video was cancelled")
                if time.monotonic() > end:
                    raise ValueError(self.limits.late_video)
                try:
                    item = results.get(timeout=LOOK)
                except queue.Empty:
                    continue
                self.taken(stream)
                if item is None:
                    return
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:  # of a generator that nobody asks any more, too
            self.cancel(stream)

    def close(self) -> None:
        """Ends the thread after its current step; what waits gets an error."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout=60)
        for _, future in self._images:
            if future.set_running_or_notify_cancel():
                future.set_exception(BusyError("the server is closing"))
        for stream in self._videos:
            stream.close()

    def _run(self) -> None:
        try:
            images, videos = self.predictors = self._load()
        except Exception as error:  # noqa: BLE001  (reported by the status of the server)
            self.failure = in_one_line(error)
            _log.error("the model was not loaded: %s", self.failure)
            return
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._images or self._next_video())
                if self._closed:
                    return
                batch, stream = self._next_batch(), self._next_video()
            if batch:
                self._answer(images, batch)
            if stream is not None:
                assert videos is not None  # a video for a model of images alone is refused before
                more = stream.step(videos)
                self.counters.add("frames_total", value=int(more))
                with self._changed:
                    self._videos.remove(stream)
                    if more:
                        self._videos.append(stream)  # the others come first

    def _next_video(self) -> VideoStream | None:
        return next((stream for stream in self._videos if stream.ready), None)

    def _next_batch(self) -> list[tuple[ImageRequest, Future[list[Prediction]]]]:
        """Requests for the image that waits longest, then others in order."""
        if not self._images:
            return []
        oldest = self._images[0][0].digest
        batch: list[tuple[ImageRequest, Future[list[Prediction]]]] = []
        asked = 0
        for entry in sorted(self._images, key=lambda entry: entry[0].digest != oldest):
            asked += len(entry[0].instructions)
            if batch and (asked > INSTRUCTIONS or len({one.digest for one, _ in [*batch, entry]}) > IMAGES):
                break
            batch.append(entry)
        for entry in batch:
            self._images.remove(entry)
        return [entry for entry in batch if entry[1].set_running_or_notify_cancel()]

    def _answer(self, predictor: Predictor, batch: list[tuple[ImageRequest, Future[list[Prediction]]]]) -> None:
        self.counters.add("batches_total")
        self.counters.add("batched_requests_total", value=len(batch))
        try:
            answers: list[Any] = list(segment_together(predictor, [request for request, _ in batch]))
        except Exception as error:  # noqa: BLE001  (a fault of one batch must not end the server)
            _log_fault(error)
            answers = [error] * len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)


def _log_fault(error: Exception) -> None:
    """Logs what is no mistake of a client."""
    if not isinstance(error, ValueError):
        _log.error("%s", in_one_line(error), exc_info=not is_out_of_memory(error))
