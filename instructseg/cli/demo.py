"""Drawn images to try the bundled model on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from instructseg.cli.job import Job, check_options
from instructseg.cli.outputs import check_folder_name, check_free, is_file_name
from instructseg.media import VideoWriter, save_image


@contextmanager
def drawn_video(job: Job) -> Iterator[tuple[Path, str]]:
    """Draws ``demo.mp4`` in the output folder of a job and gives it with an instruction.

    Raises:
        ValueError: it exists, and the job does not overwrite; the output is no folder, or an option is wrong.
    """
    with _drawn(job, "demo.mp4") as path:
        from recipes.nano.synthetic import demo_clip

        frames, fps, instruction = demo_clip()
        with VideoWriter(path, fps, frames.shape[1:3]) as writer:
            for frame in frames:
                writer.write(frame)
        yield path, instruction


@contextmanager
def drawn_picture(job: Job) -> Iterator[tuple[Path, str]]:
    """Draws ``demo.png``, the middle of that clip, as :func:`drawn_video` does the whole.

    Raises:
        ValueError: as :func:`drawn_video`.
    """
    with _drawn(job, "demo.png") as path:
        from recipes.nano.synthetic import demo_clip

        frames, _, _ = demo_clip()
        save_image(path, frames[len(frames) // 2])
        yield path, "the red circle"


@contextmanager
def _drawn(job: Job, name: str) -> Iterator[Path]:
    """A place for a file; after an error a new one does not stand in the way of the next try."""
    check_options(job)
    if is_file_name(job.output):
        raise ValueError(f"{job.output}: the demo writes several files: name a folder")
    check_folder_name(job.output)
    path = job.output / name
    if not job.overwrite:
        check_free([path])
    existed = path.exists()
    try:
        yield path
    except Exception:
        if not existed:
            path.unlink(missing_ok=True)
        raise
