"""Images and videos of the inputs of a run: files, folders, archives, addresses, standard input, cameras."""

from __future__ import annotations

import itertools
import sys
import time
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from instructseg.jobs.archives import ARCHIVES, members, read_member
from instructseg.media.camera import camera_index
from instructseg.media.incoming import address_name, is_address, store
from instructseg.media.reading import FRAME_SUFFIXES
from instructseg.results import Inputs, Item

IMAGES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff",
    ".avif", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tga", ".ico", ".pcx", ".sgi",
    ".dds", ".psd", ".qoi", ".heic", ".heif",
)  # fmt: skip
"""Suffixes of images; unreadable formats are reported file by file."""
VIDEOS = (
    ".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp", ".mts",
    ".m2ts", ".ts",
)  # fmt: skip
"""Suffixes of videos."""

_MAX_NAME = 150
"""Bytes of an input's name kept in its results, with room for suffixes and temporary names."""
Source = Path | str
"""A file or folder; an address, ``-`` for standard input, or ``camera 0``."""
_Own = Mapping[Source, Sequence[str]]
_Taken = tuple[Item, str]
"""An item, and the subfolder in which it was found."""


def find_images(sources: Sequence[Source], recursive: bool = False, own: _Own | None = None) -> Inputs:
    """Images of files, folders, archives and addresses.

    Args:
        sources: see :data:`Source`.
        recursive: whether folders are searched below.
        own: prompts by source.

    Raises:
        FileNotFoundError: a source does not exist.
        ValueError: a source is a video, or a folder without images.
    """
    found = Inputs(batch=len(sources) > 1, deep=recursive)
    taken: list[_Taken] = []
    for source in sources:
        if camera_index(source) is not None:
            raise ValueError(f"{source} is a video: use 'instructseg video'")
        if _suffix(source) in VIDEOS:
            _check_exists(source, "image")
            raise ValueError(f"{source} is a video: use 'instructseg video'")
        taken += _taken(source, IMAGES, recursive, found, own)
    return _named(found, taken)


def find_videos(sources: Sequence[Source], recursive: bool = False, own: _Own | None = None) -> Inputs:
    """Videos of files, folders of frames, folders of videos, archives and addresses.

    A folder with frames is one video; one with videos and no frames stands for all of them. Arguments and
    errors as of :func:`find_images`.
    """
    found = Inputs(batch=len(sources) > 1, deep=recursive)
    taken: list[_Taken] = []
    for source in sources:
        taken += _taken(source, VIDEOS, recursive, found, own)
    return _named(found, taken)


def find_all(
    sources: Sequence[Source], recursive: bool = False, own: _Own | None = None
) -> tuple[Inputs, Inputs]:
    """Images and videos among sources; folders may hold both, and are no videos of frames.

    Raises:
        FileNotFoundError: a source does not exist.
        ValueError: there is neither.
    """
    kinds = []
    for suffixes in (IMAGES, VIDEOS):
        found, taken = Inputs(batch=True, deep=recursive), list[_Taken]()
        for source in sources:
            _check_exists(source, "image, video or folder")
            folder = isinstance(source, Path) and source.is_dir()
            if folder or _suffix(source) in ARCHIVES or (_suffix(source) in VIDEOS) == (suffixes is VIDEOS):
                taken += _taken(source, suffixes, recursive, found, own, needed=False)
        kinds.append(_named(found, taken))
    images, videos = kinds
    if not images.items and not videos.items:
        raise ValueError(f"{', '.join(map(str, sources))}: no images or videos are there")
    return images, videos


def content(item: Item) -> Path | bytes:
    """What to read of an item: a file, which is downloaded for an address, or bytes of an archive.

    Raises:
        ValueError: it cannot be downloaded.
    """
    if item.place is not None:
        return read_member(item)
    if is_address(item.source) and not item.path.exists():
        return store(item.source, item.path.parent)
    return item.path


@contextmanager
def reading(item: Item) -> Iterator[Path | bytes]:
    """:func:`content`, to be read in the block: errors name the item as its user does, not a temporary file.

    Raises:
        ValueError: as :func:`content` and the block.
    """
    try:
        yield content(item)
    except ValueError as error:
        if not item.source or str(item.path) not in str(error):
            raise
        raise ValueError(str(error).replace(str(item.path), str(item))) from error


def _taken(
    source: Source,
    suffixes: tuple[str, ...],
    recursive: bool,
    found: Inputs,
    own: _Own | None,
    needed: bool = True,
) -> list[_Taken]:
    """Items of a source."""
    prompts = tuple((own or {}).get(source, ()))
    if isinstance(source, str):
        return [(_incoming(source, found, prompts), "")]
    if len(own or ()) < 2:  # of a table with several, one that is missing is reported and the others are done
        _check_exists(source, "image" if suffixes is IMAGES else "video, folder or image")
    frames = suffixes is VIDEOS and needed and holds(source, FRAME_SUFFIXES)
    if (
        source.is_dir()
        and not frames
        and (suffixes is IMAGES or recursive or not needed or holds(source, VIDEOS))
    ):
        paths = _searched(source, suffixes + ARCHIVES, recursive, found, needed)
    else:
        paths = [(source, "")]
    items: list[_Taken] = []
    for path, below in paths:
        if path.suffix.lower() in ARCHIVES and path.is_file():
            found.batch = True
            found.beside.append(path)
            items += [(replace(one, prompts=prompts or one.prompts), below) for one in members(path, suffixes)]
        else:
            items.append((Item(path, "", prompts=prompts), below))
    return items


def _incoming(source: str, found: Inputs, prompts: tuple[str, ...]) -> Item:
    """An address, which is downloaded when it is read, a camera, or standard input."""
    if (camera := camera_index(source)) is not None:  # each run films something else
        source = f"camera {camera}, {time.strftime('%F %T')}"
        return Item(Path(f"camera-{camera}"), "", source, prompts, camera=camera)
    if not found.kept:
        found.kept.append(TemporaryDirectory(prefix="instructseg-"))
    folder = Path(found.kept[0].name)
    if is_address(source):
        name = address_name(source)
        place = folder / str(len(list(folder.iterdir())))
        place.mkdir()
        return Item(place / name, "", source, prompts)
    path = store(sys.stdin.buffer, folder)
    if not path.stat().st_size:
        raise ValueError(
            "standard input is empty: give an image or a video, as in 'cat a.jpg | instructseg ...'"
        )
    mark = f"standard input {zlib.crc32(path.read_bytes()):08x}"
    return Item(path.rename(folder / "stdin"), "", mark, prompts)


def _suffix(source: Source) -> str:
    """In lower case; of a folder none."""
    if isinstance(source, str):
        return Path(address_name(source)).suffix.lower() if is_address(source) else ""
    return "" if source.is_dir() else source.suffix.lower()


def _check_exists(source: Source, kind: str) -> None:
    if isinstance(source, Path) and not exists(source):
        raise FileNotFoundError(f"no such {kind}: {source}")


def exists(path: Path) -> bool:
    """True if the path exists; a prompt may be too long for a name."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def holds(folder: Path, suffixes: tuple[str, ...]) -> bool:
    """True if a folder directly holds a file with such a suffix."""
    try:
        return any(
            path.suffix.lower() in suffixes and path.name[0] != "." and path.is_file()
            for path in folder.iterdir()
        )
    except OSError:
        return False


def _searched(
    folder: Path, suffixes: tuple[str, ...], recursive: bool, found: Inputs, needed: bool = True
) -> list[tuple[Path, str]]:
    """Files of a folder, sorted by name, each with its subfolder."""
    found.batch = True
    found.folders.append(folder)
    everything = sorted(folder.rglob("*") if recursive else folder.iterdir())
    shown = [path for path in everything if not any(part[0] == "." for part in path.relative_to(folder).parts)]
    taken = [path for path in shown if path.suffix.lower() in suffixes and not path.is_dir()]
    if not taken and not needed:
        return []
    if not taken:
        kind = "images" if ".png" in suffixes else "videos"
        deeper = ", though folders: add --recursive to search those" if any(p.is_dir() for p in shown) else ""
        raise ValueError(f"{folder} has no {kind}{deeper} ({', '.join(suffixes)})")
    folders = 0 if recursive else sum(path.is_dir() for path in shown)
    others = sum(path.is_file() for path in shown) - sum(path.is_file() for path in taken)
    if folders or others:
        parts = [f"{folders} {'folder' if folders == 1 else 'folders'} (--recursive searches them)"] * bool(
            folders
        )
        parts += [f"{others} other {'file' if others == 1 else 'files'}"] * bool(others)
        found.notes.append(f"{folder}: skipped {' and '.join(parts)}")
    return [(path, path.parent.relative_to(folder).as_posix()) for path in taken]


def _named(found: Inputs, taken: Iterable[_Taken]) -> Inputs:
    """Gives each distinct input a name for its results, unique on any file system."""
    unique = list({(item.path.resolve(), item.place): (item, below) for item, below in taken}.values())
    names: list[str | None] = [None] * len(unique)
    used: set[str] = set()
    for choose in (_stem, _full_name, _with_parent):
        wanted = {i: choose(*unique[i]) for i, name in enumerate(names) if name is None}
        counts = Counter(map(_key, wanted.values()))
        for i, chosen in wanted.items():
            if counts[_key(chosen)] == 1 and _key(chosen) not in used:
                names[i] = chosen
                used.add(_key(chosen))
    for (item, below), name in zip(unique, names, strict=True):
        free = name or next(
            candidate
            for candidate in (f"{_with_parent(item, below)}-{number}" for number in itertools.count(2))
            if _key(candidate) not in used
        )
        used.add(_key(free))
        found.items.append(replace(item, name=free))
    return found


def _stem(item: Item, below: str) -> str:
    """Name of the results; dots in the name of a folder begin no suffix."""
    if item.place is not None:
        return item.name
    return _joined(below, item.path.resolve().name if item.path.is_dir() else item.path.stem)


def _full_name(item: Item, below: str) -> str:
    return _joined(
        below, f"{item.path.stem}/{item.name}" if item.place is not None else item.path.resolve().name
    )


def _with_parent(item: Item, below: str) -> str:
    place = item.path.resolve()
    name = f"{place.name}/{item.name}" if item.place is not None else place.name
    return _joined(below, f"{place.parent.name}-{name}")


def _joined(below: str, name: str) -> str:
    short = (
        name.encode("utf-8", "surrogateescape")[:_MAX_NAME].decode("utf-8", "ignore")
        if not name.isascii()
        else name
    )
    return f"{below}/{short[:_MAX_NAME]}" if below not in ("", ".") else short[:_MAX_NAME]


def _key(name: str) -> str:
    """Name on file systems without case, or with one form of accents."""
    return unicodedata.normalize("NFC", name).casefold()
