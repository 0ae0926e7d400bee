"""Ctrl-C and SIGTERM as stop requests, answered after the current step."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

logger = logging.getLogger(__name__)


class Interrupted(KeyboardInterrupt):
    """The run stopped on request, after writing a checkpoint; the message says how to resume."""


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Collects the first Ctrl-C or SIGTERM in a list; the second one kills."""
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, before[number])
        logger.warning("finishing the step and writing a checkpoint; once more to stop at once")

    # only the main thread may set handlers
    main = threading.current_thread() is threading.main_thread()
    numbers: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM) if main else ()
    before: dict[int, Any] = {number: signal.signal(number, note) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
