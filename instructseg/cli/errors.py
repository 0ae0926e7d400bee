"""Errors as one line on stderr and an exit code."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import typer

from instructseg.jobs.faults import DEBUG, described

INTERRUPTED = 130
"""Exit code after Ctrl-C, as in shells."""
PIPE_CLOSED = 141
"""Exit code after the reader of the output is gone, as in shells."""


class Stopped(KeyboardInterrupt):
    """Another signal with the effect of Ctrl-C: finished results stay.

    Attributes:
        number: of the signal.
    """

    def __init__(self, text: str, number: int) -> None:
        super().__init__(text)
        self.number = number


@contextmanager
def reported() -> Iterator[None]:
    """Turns every error into one line on stderr and an exit code; with :data:`DEBUG`, after its traceback.

    Raises:
        SystemExit: with one of the codes above, or 128 and the number of the signal that stopped it.
    """
    try:
        with _plain_warnings():
            yield
    except (typer.Exit, typer.Abort):  # typer's own exits
        raise
    except KeyboardInterrupt as error:
        _say(str(error) or "interrupted")
        raise SystemExit(128 + error.number if isinstance(error, Stopped) else INTERRUPTED) from error
    except BrokenPipeError as error:
        # buffered output would fail again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
        raise SystemExit(PIPE_CLOSED) from error
    except Exception as error:  # the boundary: unexpected errors take one line, too
        _trace(error)
        line, code = described(error)
        _say(f"error: {line}")
        raise SystemExit(code) from error


@contextmanager
def stoppable() -> Iterator[None]:
    """Lets SIGTERM and SIGHUP end the block as Ctrl-C does; further ones are ignored while it ends.

    No effect outside the main thread, where Python handles no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}

    def stop(number: int, frame: FrameType | None) -> None:
        for one in numbers:
            signal.signal(one, signal.SIG_IGN)
        raise Stopped("stopped by a signal", number)

    # ignored signals (nohup) and handlers from outside of Python stay
    mine = [number for number in numbers if before[number] not in (signal.SIG_IGN, None)]
    for number in mine:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, before[number])


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Prints warnings of this package as notes, without the place in the code; others as before."""
    before = warnings.formatwarning

    def plain(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        ours = category.__module__.startswith("instructseg")
        return f"note: {message}\n" if ours else before(message, category, filename, lineno, line)

    warnings.formatwarning = plain
    try:
        yield
    finally:
        warnings.formatwarning = before


def _trace(error: Exception) -> None:
    """Prints the traceback on request."""
    if os.environ.get(DEBUG, "0") not in ("", "0"):
        import traceback

        traceback.print_exception(error)


def _say(text: str) -> None:
    # file names may be invalid text
    sys.stderr.write(f"{text}\n".encode("utf-8", "backslashreplace").decode())
