"""Submissions to the servers of video benchmarks: writers and validation.

::

    Ref-YouTube-VOS  zip     Annotations/<video>/<expression id>/<frame>.png   grey, 0 and 255
    MeViS            zip     <video>/<expression id>/<frame>.png               grey, 0 and 255
    ReVOS            folder  <video>/<expression id>/<frame>.png               grey, 0 and 255; nested videos
    DAVIS            folder  <video>/<frame>.png                               palette, the value is the object

For the text benchmarks see :mod:`instructseg.benchmarks.submission_text`.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import MappingProxyType

import numpy as np

from instructseg.files import atomic_path, path_below
from instructseg.masks import MAX_PIXELS, save_binary_png, save_palette_png


@dataclass(frozen=True)
class MaskLayout:
    """Layout of submitted masks: below ``top``, palette or grey PNGs, zipped or not."""

    top: str = ""
    palette: bool = False
    zipped: bool = True


LAYOUTS: Mapping[str, MaskLayout] = MappingProxyType(
    {
        "ref-youtube-vos": MaskLayout(top="Annotations"),
        "mevis": MaskLayout(),
        "folders": MaskLayout(zipped=False),
        "davis": MaskLayout(palette=True, zipped=False),
    }
)
"""Format -> layout; ReVOS takes ``folders``."""


@dataclass(frozen=True)
class ExpectedVideo:
    """Masks required for a video.

    Attributes:
        name: of the video, may be a nested path.
        frames: names without suffix.
        expressions: ids; empty for DAVIS, whose label maps hold all objects.
        size: ``(H, W)``; ``None`` where the frames of a video only have to agree.
    """

    name: str
    frames: tuple[str, ...]
    expressions: tuple[str, ...] = ()
    size: tuple[int, int] | None = None

    def files(self) -> Iterator[str]:
        """Paths below the top folder."""
        for folder in [f"{self.name}/{name}" for name in self.expressions] or [self.name]:
            yield from (f"{folder}/{frame}.png" for frame in self.frames)


def mask_path(folder: Path, video: str, expression: str, frame: str) -> Path:
    """``<folder>/<video>/<expression>/<frame>.png``, from names of a data set.

    Raises:
        ValueError: a name leads out of the folder.
    """
    return path_below(folder, f"{video}/{expression}/{frame}.png")


def write_mask(folder: Path, video: str, expression: str, frame: str, mask: np.ndarray) -> None:
    """Writes ``<folder>/<video>/<expression>/<frame>.png``, 255 inside.

    Args:
        folder: of all predictions; :func:`pack` makes a zip of it.
        video: name, may be a nested path.
        frame: name without suffix.
        mask: ``bool[H, W]``.

    Raises:
        ValueError: as :func:`mask_path`.
    """
    save_binary_png(mask_path(folder, video, expression, frame), mask)


def write_labels(folder: Path, video: str, frame: str, labels: np.ndarray) -> None:
    """Writes ``<folder>/<video>/<frame>.png`` with the DAVIS palette; ``labels`` is ``uint8[H, W]``.

    Raises:
        ValueError: a name leads out of the folder.
    """
    save_palette_png(path_below(folder, f"{video}/{frame}.png"), labels)


def pack(folder: Path, target: Path, layout: MaskLayout) -> None:
    """Packs all masks below ``folder`` into the zip for a server; equal masks give equal bytes.

    Raises:
        FileNotFoundError: there are no masks.
        ValueError: the benchmark takes a folder.
    """
    if not layout.zipped:
        raise ValueError(f"this benchmark takes the folder itself: {folder}")
    masks = sorted(folder.rglob("*.png"), key=lambda path: path.relative_to(folder).as_posix())
    if not masks:
        raise FileNotFoundError(f"no masks below {folder}")
    with atomic_path(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for path in masks:
            # no date, and stored: PNG is compressed already
            name = f"{layout.top}/{path.relative_to(folder).as_posix()}".lstrip("/")
            archive.writestr(zipfile.ZipInfo(name), path.read_bytes())


def validate(path: Path, layout: MaskLayout, videos: Sequence[ExpectedVideo]) -> list[str]:
    """Checks for all required masks and no others, of the right kind and one size per video.

    Args:
        path: the zip or the folder.

    Returns:
        Faults, a line each; none for a valid submission.

    Raises:
        FileNotFoundError: there is no such file or folder.
    """
    if not path.exists():
        raise FileNotFoundError(f"nothing to check at {path}")
    if layout.zipped != path.is_file():
        return [f"{path} should be a {'zip file' if layout.zipped else 'folder'}"]
    if layout.zipped and not zipfile.is_zipfile(path):
        return [f"{path} is no zip file"]
    with _MaskFiles(path) as found:
        prefix = f"{layout.top}/" if layout.top else ""
        faults = []
        wanted: set[str] = set()
        for video in videos:
            names = [prefix + name for name in video.files()]
            wanted.update(names)
            faults += _check_video(found, names, layout, video)
        faults += [f"{name}: not asked for" for name in sorted(found.names - wanted)]
    return faults


def _check_video(
    files: _MaskFiles, names: Sequence[str], layout: MaskLayout, video: ExpectedVideo
) -> list[str]:
    faults = [f"{name}: missing" for name in names if name not in files.names]
    size: tuple[int, ...] | None = video.size
    for name in names:
        if name not in files.names:
            continue
        found, fault = _read(files.read(name), layout.palette)
        if fault:
            faults.append(f"{name}: {fault}")
        elif size is not None and found != size:
            faults.append(f"{name}: {found[0]}x{found[1]} pixels instead of {size[0]}x{size[1]}")
        size = size or found or None
    return faults


def _read(content: bytes, palette: bool) -> tuple[tuple[int, ...], str]:
    """Size ``(H, W)`` of an image and its fault."""
    from PIL import Image

    try:
        image = Image.open(BytesIO(content))
        if image.width * image.height > MAX_PIXELS:
            return (), f"{image.height}x{image.width} pixels, larger than any mask"
        values = np.asarray(image)
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, Image.DecompressionBombError):
        return (), "damaged"
    mode = "P" if palette else "L"
    if image.format != "PNG" or image.mode != mode:
        return (), f"a {image.format} of mode {image.mode} instead of a PNG of mode {mode}"
    if not palette and ((values != 0) & (values != 255)).any():
        return (), "has values other than 0 and 255"
    return values.shape, ""


class _MaskFiles:
    """The files of a zip or a folder, by their path."""

    def __init__(self, path: Path) -> None:
        self._archive = zipfile.ZipFile(path) if path.is_file() else None
        self._folder = path
        if self._archive:
            self.names = {entry.filename for entry in self._archive.infolist() if not entry.is_dir()}
        else:
            self.names = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}

    def read(self, name: str) -> bytes:
        """The content; empty where it cannot be unpacked or is larger than any mask."""
        if self._archive is None:
            return (self._folder / name).read_bytes()
        if self._archive.getinfo(name).file_size > MAX_PIXELS:
            return b""
        try:
            return self._archive.read(name)
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError):
            return b""  # damaged, or encrypted

    def __enter__(self) -> _MaskFiles:
        return self

    def __exit__(self, *_: object) -> None:
        if self._archive:
            self._archive.close()
