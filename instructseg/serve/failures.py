"""Failures as sentences: mistakes of a visitor as they are, faults of the program without their inside."""

from __future__ import annotations

from pathlib import Path

from instructseg.out_of_memory import is_out_of_memory

ELSEWHERE = {
    ", or raise max_pixels (--max-pixels)": "",
    ": raise max_pixels": ": make it smaller",
    "use 'instructseg video', or open_video()": "give it where a video is asked for",
}
"""Advice that visitors of a server cannot take, and theirs."""


class BusyError(RuntimeError):
    """The queue is full."""


class CancelledVideoError(RuntimeError):
    """The video was cancelled by whoever asked for it."""


def in_one_line(error: BaseException) -> str:
    """The error as a sentence for a client."""
    return " ".join(str(error).split()) or type(error).__name__


def without_folder(error: Exception, path: Path) -> ValueError:
    """The error for the user, who knows the file by its name alone and has no command line."""
    said = in_one_line(error).replace(str(path), path.name).replace(f"{path.parent}/", "")
    for advice, theirs in ELSEWHERE.items():
        said = said.replace(advice, theirs)
    return ValueError(said)


def is_fault(error: BaseException) -> bool:
    """Whether nobody but the program can be blamed: its log must tell more than the visitor is told."""
    return not isinstance(error, ValueError | OSError | BusyError) and not is_out_of_memory(error)


def sentence_of(error: BaseException) -> str:
    """What a visitor is told, whatever the error: what happened and what to do, no folder, never nothing."""
    if is_fault(error):
        kind = type(error).__name__
        return f"a fault of this program ({kind}), which its log describes: try again, or report it"
    if isinstance(error, MemoryError) and not str(error):  # of Python and NumPy, which say nothing
        return "out of memory: try a smaller image, or fewer instructions"
    if isinstance(error, OSError) and error.strerror:  # with the names of files of the server
        return f"{error.strerror}: {Path(str(error.filename)).name}" if error.filename else error.strerror
    return in_one_line(error)
