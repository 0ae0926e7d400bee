"""Errors in one line, and the exit codes for them."""

from __future__ import annotations

SOME_FAILED = 1
"""Exit code of a run over several inputs of which some failed."""
FAULT = 1
"""Exit code of unexpected errors: bugs of this program."""
BAD_INPUT = 2
"""Exit code of errors in the input; no file is left half-written."""
DEBUG = "INSTRUCTSEG_DEBUG"
"""Environment variable for tracebacks of all errors, unless empty or 0; set by ``--debug``."""

_MEMORY_ADVICE = "(try smaller images, fewer prompts, --dtype bfloat16 or --device cpu)"


def described(error: Exception) -> tuple[str, int]:
    """An error in one line, and the exit code for it."""
    text = _line(error)
    if "out of memory" in text or isinstance(error, MemoryError):
        return f"{text} {_MEMORY_ADVICE}", BAD_INPUT
    if isinstance(error, ValueError | OSError | ModuleNotFoundError):
        return text, BAD_INPUT
    return f"{type(error).__name__}: {text} (a fault of InstructSeg: {DEBUG}=1 shows where)", FAULT


def _line(error: Exception) -> str:
    """The error in one line."""
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    else:
        text = str(error)
    return " ".join(text.split()) or type(error).__name__
