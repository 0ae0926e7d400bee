"""Drawn pictures to try the bundled model on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from instructseg.cli.outputs import check_free
from instructseg.media import VideoWriter, save_image


@contextmanager
def drawn_video(folder: Path, overwrite: bool = False) -> Iterator[tuple[Path, str]]:
    """Draws ``demo.mp4`` in ``folder`` and gives it with an instruction.

    Raises:
        ValueError: it exists, and ``overwrite`` is false.
    """
    from instructseg.data.synthetic import demo_clip

    with _removed_on_error(folder / "demo.mp4", overwrite) as path:
        frames, fps, instruction = demo_clip()
        with VideoWriter(path, fps, frames.shape[1:3]) as writer:
            for frame in frames:
                writer.write(frame)
        yield path, instruction


@contextmanager
def drawn_picture(folder: Path, overwrite: bool = False) -> Iterator[tuple[Path, str]]:
    """Draws ``demo.png``, the middle of that clip, in ``folder`` and gives it with an instruction.

    Raises:
        ValueError: it exists, and ``overwrite`` is false.
    """
    from instructseg.data.synthetic import demo_clip

    with _removed_on_error(folder / "demo.png", overwrite) as path:
        frames, _, _ = demo_clip()
        save_image(path, frames[len(frames) // 2])
        yield path, "the red circle"


@contextmanager
def _removed_on_error(path: Path, overwrite: bool) -> Iterator[Path]:
    """A place for a file; after bad input the file does not stand in the way of the next try."""
    if not overwrite:
        check_free([path])
    try:
        yield path
    except (ValueError, OSError):
        path.unlink(missing_ok=True)
        raise
