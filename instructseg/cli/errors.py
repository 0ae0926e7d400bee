"""What a user sees when something goes wrong: one line, and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

BAD_INPUT = 2
"""Exit code where the user can put it right; nothing is left half-written."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


@contextmanager
def reported() -> Iterator[None]:
    """Turns errors that a user can put right into one line on stderr and an exit code; others show their trace.

    Raises:
        SystemExit: with :data:`BAD_INPUT` or :data:`INTERRUPTED`.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        _say(str(error) or "interrupted")
        raise SystemExit(INTERRUPTED) from error
    except (ValueError, OSError) as error:
        _say(f"error: {_line(error)}")
        raise SystemExit(BAD_INPUT) from error
    except RuntimeError as error:
        if "out of memory" not in str(error):
            raise
        _say(f"error: {_line(error)} (try smaller pictures, fewer prompts, --dtype bfloat16 or --device cpu)")
        raise SystemExit(BAD_INPUT) from error


def _line(error: Exception) -> str:
    """The error in one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
