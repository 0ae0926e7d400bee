"""Shipped video for a try of a bundled model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from instructseg.files import write_bytes_atomic
from instructseg.hub import DEMO_VIDEO, DRAWN_VIDEO, bundled
from instructseg.jobs.job import Job, check_options
from instructseg.results import check_folder_name, check_free, format_of_file


@contextmanager
def demo_video(job: Job) -> Iterator[tuple[Path, str]]:
    """Copies a shipped video that suits the model to the output folder of a job; yields it with an instruction.

    After an error, a new copy is removed again.

    Raises:
        ValueError: it exists and the job does not overwrite, the output is no folder, or an option is wrong.
    """
    check_options(job)
    if format_of_file(job.output) is not None:
        raise ValueError(f"{job.output}: the demo writes several files: name a folder")
    check_folder_name(job.output)
    drawn = bundled(job.model) == "nano"
    video = DRAWN_VIDEO if drawn else DEMO_VIDEO
    path = job.output / video.name
    if not job.overwrite:
        check_free([path])
    existed, asset = path.exists(), video.read_bytes()
    if existed and (not path.is_file() or path.read_bytes() != asset):
        raise ValueError(f"{path} is not the demo's: move it away, or choose another --output")
    try:
        write_bytes_atomic(path, asset)
        yield path, "the red circle moving left" if drawn else "the dog"
    except Exception:
        if not existed:
            path.unlink(missing_ok=True)
        raise
