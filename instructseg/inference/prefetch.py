"""Reading ahead and writing behind, each on its own thread, while the model computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

DEPTH = 4
"""Largest number of items waiting between two threads."""

_Item = TypeVar("_Item")
_Taken = TypeVar("_Taken", contravariant=True)
_END: Any = object()


def read_ahead(items: Iterable[_Item], depth: int = DEPTH) -> Iterator[_Item]:
    """Iterates over items read on a thread, at most ``depth`` ahead.

    Args:
        items: frames of a file; not of a blocking source such as a camera, whose thread could not be ended.
        depth: at least 1.

    Raises:
        ValueError: ``depth`` is below 1.
        Exception: that of ``items``, after the items before it.
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    return _ahead(iter(items), depth)


def _ahead(items: Iterator[_Item], depth: int) -> Iterator[_Item]:
    pool = ThreadPoolExecutor(1, "instructseg-read")
    try:
        waiting = deque(pool.submit(next, items, _END) for _ in range(depth))
        while (item := waiting.popleft().result()) is not _END:
            waiting.append(pool.submit(next, items, _END))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)


class Sink(Protocol[_Taken]):
    """Context manager with a ``write`` method, for :class:`WriteBehind`."""

    def __enter__(self) -> object: ...

    def write(self, item: _Taken, /) -> None:
        """Writes one item."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> object: ...


class WriteBehind(Generic[_Item]):
    """Runs a sink on a thread: opening, writing and closing, in order; a context manager itself.

    At most ``depth`` items wait. An error of the sink is raised by one of the next ``depth`` calls of
    :meth:`write` or at the end, and nothing is written after a failed item. On an exception in the block,
    waiting items are written, then the sink is closed with that exception. The sink closes on its thread, out
    of reach of Ctrl-C.

    Args:
        sink: the writer.
        done: called on the thread after each written item.
        depth: at least 1.

    Raises:
        ValueError: ``depth`` is below 1.
    """

    def __init__(
        self, sink: Sink[_Item], done: Callable[[_Item], None] | None = None, depth: int = DEPTH
    ) -> None:
        if depth < 1:
            raise ValueError(f"depth must be at least 1, got {depth}")
        self._sink, self._done, self._depth = sink, done, depth
        self._pool = ThreadPoolExecutor(1, "instructseg-write")
        self._waiting: deque[Future[None]] = deque()
        self._stopped = False

    def __enter__(self) -> WriteBehind[_Item]:
        self._pool.submit(self._sink.__enter__).result()
        return self

    def write(self, item: _Item) -> None:
        """Queues an item; blocks while the queue is full.

        Raises:
            Exception: that of the sink, on an earlier item.
        """
        while len(self._waiting) >= self._depth:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._write, item))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        closing = None
        try:
            try:
                while self._waiting:
                    self._waiting.popleft().result()
            except BaseException as other:
                self._stopped = True  # a second Ctrl-C: drop the queue
                if error is None:
                    kind, error, trace = type(other), other, other.__traceback__
                raise
            finally:
                closing = self._pool.submit(self._sink.__exit__, kind, error, trace)
        finally:
            self._pool.shutdown()
        assert closing is not None
        closing.result()

    def _write(self, item: _Item) -> None:
        if self._stopped:
            return
        self._stopped = True  # until the write succeeds
        self._sink.write(item)
        if self._done is not None:
            self._done(item)
        self._stopped = False
