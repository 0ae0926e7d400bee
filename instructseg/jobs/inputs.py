"""Inputs and prompts on the command line, and the images or videos of the inputs."""

from __future__ import annotations

import glob
import itertools
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from instructseg.jobs.checks import check_text
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

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_MAX_NAME = 150
"""Bytes of an input's name kept in its results, with room for suffixes and temporary names."""
_BARE = frozenset((
    "the", "a", "an", "this", "that", "these", "those", "my", "your", "his", "her", "its", "our", "their",
    "of", "on", "in", "at", "to", "from", "with", "without", "by", "for", "behind", "before", "beside",
    "between", "below", "above", "under", "over", "near", "next", "into", "onto", "and", "or", "but", "not",
    "is", "are", "was", "were", "be", "being", "which", "what", "who", "whom", "whose", "where", "when",
    "how", "why", "it", "he", "she", "they", "left", "right", "front", "back", "most", "all", "every", "each",
))  # fmt: skip
"""Words without an object of their own."""
_ADJECTIVES = frozenset((
    "red", "green", "blue", "yellow", "black", "white", "orange", "purple", "pink", "brown", "grey", "gray",
    "big", "small", "large", "little", "tiny", "huge", "tall", "short", "old", "young", "first", "second",
    "third", "last", "smallest", "largest", "biggest", "leftmost", "rightmost",
))  # fmt: skip
"""Words incomplete without a noun."""


def split_words(words: Sequence[str], prompts: Sequence[str] = ()) -> tuple[list[Path], list[str]]:
    """Separates inputs from prompts.

    The first word is an input, and so are following words that are files, folders of images or videos, or
    patterns such as ``*.png`` left by the shell. With ``prompts``, all words are inputs.

    Args:
        words: of the command line.
        prompts: given by ``--prompt``.

    Raises:
        FileNotFoundError: an input does not exist.
        ValueError: there is no prompt, a prompt is a file, or several are one sentence without quotes.
    """
    check_text("input or prompt", words)
    check_text("prompt", prompts)
    inputs: list[Path] = []
    rest = list(words)
    while rest and (not inputs or prompts or _is_input(rest[0])):
        inputs += _expanded(rest.pop(0), bool(inputs))
    asked = list(prompts) or rest
    if not asked:
        taken = f": '{words[-1]}' is an input, as it exists" if len(words) > 1 else ""
        raise ValueError(
            f'Missing argument PROMPT{taken}: say what to segment, as in --prompt "the red circle"'
        )
    for prompt in rest:
        _check_prompt(prompt)
    _check_sentence(rest)
    return inputs, asked


def read_prompts(file: Path) -> list[str]:
    """Prompts of a text file, one per line; empty lines are skipped.

    Raises:
        FileNotFoundError, ValueError: no such file, not UTF-8, or empty.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no such file of prompts: {file}")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not encoded in UTF-8: save it in UTF-8") from error
    found = [line.strip() for line in text.splitlines() if line.strip()]
    if not found:
        raise ValueError(f"{file} has no prompts: write one a line")
    return found


def find_images(sources: Sequence[Path], recursive: bool = False) -> Inputs:
    """Images of files and folders.

    Raises:
        FileNotFoundError: a source does not exist.
        ValueError: a source is a video, or a folder without images.
    """
    found = Inputs(batch=len(sources) > 1, deep=recursive)
    taken: list[tuple[Path, str]] = []
    for source in sources:
        _check_exists(source, "image")
        if source.is_file() and source.suffix.lower() in VIDEOS:
            raise ValueError(f"{source} is a video: use 'instructseg video'")
        if source.is_dir():
            taken += _searched(source, IMAGES, recursive, found)
        else:
            taken.append((source, ""))
    return _named(found, taken)


def find_videos(sources: Sequence[Path], recursive: bool = False) -> Inputs:
    """Videos of files, folders of frames, and folders of videos.

    A folder with frames is one video; one with videos and no frames stands for all of them.

    Raises:
        FileNotFoundError: a source does not exist.
        ValueError: a folder holds neither.
    """
    found = Inputs(batch=len(sources) > 1, deep=recursive)
    taken: list[tuple[Path, str]] = []
    for source in sources:
        _check_exists(source, "video, folder or image")
        if source.is_dir() and not _holds(source, FRAME_SUFFIXES) and (recursive or _holds(source, VIDEOS)):
            taken += _searched(source, VIDEOS, recursive, found)
        else:
            taken.append((source, ""))
    return _named(found, taken)


def _is_input(word: str) -> bool:
    """True if a word after an input is another input."""
    path = Path(word)
    if _exists(path):
        return not path.is_dir() or os.sep in word or _holds(path, IMAGES + VIDEOS)
    return _looks_like_file(word) or (glob.has_magic(word) and bool(_matches(word)))


def _expanded(word: str, further: bool) -> list[Path]:
    """Paths of a word."""
    path = Path(word)
    if not word.strip():
        raise ValueError("an input is empty: name an image, a video or a folder")
    if _exists(path):
        return [path]
    _check_address(word)
    if glob.has_magic(word):
        found = _matches(word)
        if not found:
            raise FileNotFoundError(f"no image, video or folder matches '{word}'")
        return found
    hint = "; to look for that text, write it after --prompt" if further else ""
    kind = "video" if path.suffix.lower() in VIDEOS else "image"
    if further:
        raise FileNotFoundError(f"no such {kind}: {word}{hint}")
    return [path]


def _check_address(word: str) -> None:
    """Refuses inputs other than files.

    Raises:
        ValueError: an address, standard input or a camera.
    """
    if _URL.match(word):
        raise ValueError(
            f"{word} is an address, and inputs are files: download it first, as with curl -O {word}"
        )
    if word == "-":
        raise ValueError("standard input is not read: save the image or video to a file and name that")
    if word.isdecimal() or re.fullmatch(r"/dev/video\d+", word):
        raise ValueError(
            f"no such file: {word}; a camera is not read by the command line, but by VideoSession in Python"
        )


def _check_exists(source: Path, kind: str) -> None:
    if not _exists(source):
        raise FileNotFoundError(f"no such {kind}: {source}")


def _exists(path: Path) -> bool:
    """True if the path exists; a prompt may be too long for a name."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _looks_like_file(word: str) -> bool:
    """True for words with the suffix of an image or a video."""
    return Path(word).suffix.lower() in IMAGES + VIDEOS and "\n" not in word


def _matches(pattern: str) -> list[Path]:
    """Matches of a pattern, as in a shell: readable files, or else folders."""
    paths = [Path(name) for name in glob.glob(pattern, recursive=_looks_like_file(pattern))]  # noqa: PTH207
    files = [path for path in paths if path.is_file() and path.suffix.lower() in IMAGES + VIDEOS]
    return sorted(files or [path for path in paths if path.is_dir() and _holds(path, IMAGES + VIDEOS)])


def _check_prompt(prompt: str) -> None:
    """Refuses a file among the prompts."""
    path = Path(prompt)
    if _looks_like_file(prompt) or (_exists(path) and (path.is_file() or _holds(path, IMAGES + VIDEOS))):
        raise ValueError(
            f"'{prompt}' is a file or a folder, not a prompt: inputs come before the prompts "
            "(to look for that text, write it after --prompt)"
        )


def _check_sentence(prompts: Sequence[str]) -> None:
    """Refuses a sentence without quotes: several one-word prompts, some without an object."""
    words = [prompt.strip().lower().strip(",.;:!?") for prompt in prompts]
    if len(words) < 2 or any(len(word.split()) != 1 for word in words) or all(len(word) == 1 for word in words):
        return
    pairs = itertools.pairwise(words)
    if _BARE.intersection(words) or any(a in _ADJECTIVES and b not in _ADJECTIVES for a, b in pairs):
        raise ValueError(
            f'{len(words)} prompts of one word: put a sentence in quotes, as "{" ".join(prompts)}" '
            "(to look for each word by itself, write it after --prompt)"
        )


def _holds(folder: Path, suffixes: tuple[str, ...]) -> bool:
    """True if a folder directly holds a file with such a suffix."""
    try:
        return any(
            path.suffix.lower() in suffixes and path.name[0] != "." and path.is_file()
            for path in folder.iterdir()
        )
    except OSError:
        return False


def _searched(
    folder: Path, suffixes: tuple[str, ...], recursive: bool, found: Inputs
) -> list[tuple[Path, str]]:
    """Files of a folder, sorted by name, each with its subfolder."""
    found.batch = True
    found.folders.append(folder)
    everything = sorted(folder.rglob("*") if recursive else folder.iterdir())
    shown = [path for path in everything if not any(part[0] == "." for part in path.relative_to(folder).parts)]
    taken = [path for path in shown if path.suffix.lower() in suffixes and not path.is_dir()]
    if not taken:
        kind = "images" if suffixes is IMAGES else "videos"
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


def _named(found: Inputs, taken: Iterable[tuple[Path, str]]) -> Inputs:
    """Gives each distinct input a name for its results, unique on any file system."""
    unique = list({path.resolve(): (path, below) for path, below in taken}.values())
    names: list[str | None] = [None] * len(unique)
    used: set[str] = set()
    for choose in (_stem, _full_name, _with_parent):
        wanted = {i: choose(*unique[i]) for i, name in enumerate(names) if name is None}
        counts = Counter(map(_key, wanted.values()))
        for i, chosen in wanted.items():
            if counts[_key(chosen)] == 1 and _key(chosen) not in used:
                names[i] = chosen
                used.add(_key(chosen))
    for (path, below), name in zip(unique, names, strict=True):
        free = name or next(
            candidate
            for candidate in (f"{_with_parent(path, below)}-{number}" for number in itertools.count(2))
            if _key(candidate) not in used
        )
        used.add(_key(free))
        found.items.append(Item(path, free))
    return found


def _stem(path: Path, below: str) -> str:
    """Name of the results; dots in the name of a folder begin no suffix."""
    return _joined(below, path.resolve().name if path.is_dir() else path.stem)


def _full_name(path: Path, below: str) -> str:
    return _joined(below, path.resolve().name)


def _with_parent(path: Path, below: str) -> str:
    return _joined(below, f"{path.resolve().parent.name}-{path.resolve().name}")


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
