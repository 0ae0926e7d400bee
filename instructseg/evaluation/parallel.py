"""The same function on many things, in as many processes as asked for."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def each(function: Callable[[T], R], items: Iterable[T], processes: int = 1) -> Iterator[R]:
    """The results, in the order of the items.

    Args:
        function: defined at the top of a module, so that other processes find it.
        items: what to call it with; pickled.
        processes: 1 calls it here.

    Raises:
        ValueError: ``processes`` is below 1.
    """
    if processes < 1:
        raise ValueError(f"{processes} processes cannot do anything: give 1 or more")
    if processes == 1:
        yield from map(function, items)
        return
    # a fresh interpreter each: threads that torch or OpenCV started here do not survive a fork
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_one_thread) as pool:
        yield from pool.map(function, items)


def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)
