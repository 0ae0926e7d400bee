"""The shipped video and image to try the bundled model on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from instructseg.cli.job import Job, check_options
from instructseg.cli.outputs import check_folder_name, check_free, is_file_name
from instructseg.files import write_bytes_atomic

ASSETS = Path(__file__).parents[1] / "assets"


@contextmanager
def demo_video(job: Job) -> Iterator[tuple[Path, str]]:
    """Puts ``demo.mp4`` into the output folder of a job and gives it with an instruction.

    Raises:
        ValueError: it exists, and the job does not overwrite; the output is no folder, or an option is wrong.
    """
    with _copied(job, "demo.mp4") as path:
        yield path, "the red circle moving left"


@contextmanager
def demo_image(job: Job) -> Iterator[tuple[Path, str]]:
    """Puts ``demo.png``, a frame of that video, beside the results, as :func:`demo_video` does.

    Raises:
        ValueError: as :func:`demo_video`.
    """
    with _copied(job, "demo.png") as path:
        yield path, "the red circle"


@contextmanager
def _copied(job: Job, name: str) -> Iterator[Path]:
    """A copy of an asset; after an error a new one does not stand in the way of the next try."""
    check_options(job)
    if is_file_name(job.output):
        raise ValueError(f"{job.output}: the demo writes several files: name a folder")
    check_folder_name(job.output)
    path = job.output / name
    if not job.overwrite:
        check_free([path])
    existed, asset = path.exists(), (ASSETS / name).read_bytes()
    if existed and (not path.is_file() or path.read_bytes() != asset):
        raise ValueError(f"{path} is not the demo's: move it away, or choose another --output")
    try:
        write_bytes_atomic(path, asset)
        yield path
    except Exception:
        if not existed:
            path.unlink(missing_ok=True)
        raise
