"""Threads that read ahead and write behind: order, bounds, and errors of either side."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import TracebackType

import pytest

from instructseg.inference.prefetch import WriteBehind, read_ahead


def test_reading_keeps_order_and_does_not_run_away() -> None:
    read: list[int] = []
    main = threading.get_ident()

    def source() -> Iterator[int]:
        for i in range(20):
            assert threading.get_ident() != main
            read.append(i)
            yield i

    for i, item in enumerate(read_ahead(source(), 3)):
        assert item == i and len(read) <= i + 4
    assert read == list(range(20))


def test_an_error_of_the_source_comes_behind_its_items() -> None:
    def source() -> Iterator[int]:
        yield from range(3)
        raise OSError("the file is gone")

    found = []
    with pytest.raises(OSError, match="the file is gone"):
        for item in read_ahead(source(), 8):
            found.append(item)
    assert found == [0, 1, 2]
    assert list(read_ahead([])) == []
    with pytest.raises(ValueError, match="depth must be at least 1"):
        read_ahead([], 0)


def test_a_reader_that_is_left_stops() -> None:
    items = read_ahead(iter(range(1000)), 2)
    assert next(items) == 0
    items.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if "instructseg-read" in thread.name]


class Sink:
    """Remembers what it was told, and on which thread."""

    def __init__(self, fails_at: int = -1) -> None:
        self.items: list[int] = []
        self.threads: set[int] = set()
        self.left: type[BaseException] | str | None = "open"
        self.fails_at = fails_at
        self.go = threading.Event()
        self.go.set()

    def __enter__(self) -> Sink:
        self.threads.add(threading.get_ident())
        return self

    def write(self, item: int) -> None:
        self.go.wait()
        if item == self.fails_at:
            raise OSError("the disk is full")
        self.items.append(item)
        self.threads.add(threading.get_ident())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.left = kind
        self.threads.add(threading.get_ident())


def test_writing_keeps_order_on_one_other_thread() -> None:
    sink, done = Sink(), []
    with WriteBehind(sink, done.append, 2) as behind:
        for i in range(20):
            behind.write(i)
    assert sink.items == done == list(range(20))
    assert len(sink.threads) == 1 and threading.get_ident() not in sink.threads
    assert sink.left is None


def test_nothing_is_written_behind_an_item_that_failed() -> None:
    sink, done = Sink(fails_at=3), []
    sink.go.clear()
    with pytest.raises(OSError, match="the disk is full"), WriteBehind(sink, done.append, 8) as behind:
        for i in range(8):  # all are handed over before the first is written
            behind.write(i)
        sink.go.set()
    assert sink.items == done == [0, 1, 2]
    assert sink.left is OSError


def test_an_error_reaches_the_next_write() -> None:
    sink = Sink(fails_at=0)
    handed = []
    with pytest.raises(OSError, match="the disk is full"), WriteBehind(sink, depth=1) as behind:
        for i in range(100):
            behind.write(i)
            handed.append(i)
    assert handed == [0]


def test_what_waits_is_written_when_the_block_is_left_by_an_exception() -> None:
    sink = Sink()
    sink.go.clear()
    with pytest.raises(KeyboardInterrupt), WriteBehind(sink, depth=8) as behind:
        for i in range(5):
            behind.write(i)
        sink.go.set()
        raise KeyboardInterrupt
    assert sink.items == list(range(5))
    assert sink.left is KeyboardInterrupt
    with pytest.raises(ValueError, match="depth must be at least 1"):
        WriteBehind(sink, depth=0)
