"""Atomic folders of a run, and cleanup after killed processes."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from instructseg.files import share, temporary_path

_LEFT_FOLDERS = re.compile(r"\.tmp-.+|\.zero")
_LEFT_FILES = re.compile(r"\.instructseg-.+")
"""Names of :func:`instructseg.files.temporary_path`, of any machine: a run may resume on another."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


def check_writable(folder: Path) -> None:
    """Creates the folder and a probe file, so that a run fails before it computes anything.

    Raises:
        OSError: it cannot be written; one line with what to do.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = temporary_path(folder / "probe")
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(
            error.errno, f"cannot write to the folder {folder} ({reason}): choose another output_dir"
        ) from error


def clear_temporaries(folder: Path) -> None:
    """Deletes temporary files and folders of a killed process in ``folder``."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and _LEFT_FOLDERS.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)
        elif path.is_file() and _LEFT_FILES.fullmatch(path.name):
            path.unlink(missing_ok=True)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Temporary folder, renamed to ``target`` on success and deleted on failure.

    Files in it get the mode of any new file (safetensors gives none to the group).

    Raises:
        OSError: the disk is full or cannot be written; one line with what to do.
    """
    temporary = target.with_name(f".tmp-{target.name}")
    try:
        with explained(target):
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    share(file)
            if target.exists():
                remove_folder(target)
            temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def remove_folder(folder: Path) -> None:
    """Deletes a folder atomically: renamed first."""
    hidden = folder.with_name(f".tmp-old-{folder.name}")
    shutil.rmtree(hidden, ignore_errors=True)
    folder.rename(hidden)
    shutil.rmtree(hidden)


@contextmanager
def explained(target: Path) -> Iterator[None]:
    """Turns write errors into one line: the file or folder, and what to do.

    Raises:
        OSError: with the number of the error inside.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        text = " ".join(str(getattr(error, "strerror", None) or error).split())
        number = getattr(error, "errno", None)
        if "os error 28" in text or "No space left" in text:
            number, text = errno.ENOSPC, "no space left on the device"
        todo = "free some space there" if number in _FULL else "fix that"
        raise OSError(
            number or errno.EIO, f"cannot write {target} ({text}): {todo}, then the same command with --resume "
            "resumes from the last checkpoint"
        ) from error  # fmt: skip
