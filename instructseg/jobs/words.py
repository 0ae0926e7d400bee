"""Inputs and prompts among the words of a command line, and files of prompts."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from instructseg.benchmarks.xlsx import read_xlsx
from instructseg.jobs.archives import ARCHIVES
from instructseg.jobs.checks import check_text
from instructseg.jobs.inputs import IMAGES, VIDEOS, Source, exists, holds
from instructseg.media.camera import camera_index
from instructseg.media.incoming import is_address
from instructseg.results import Inputs

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_TABLES = (".csv", ".tsv", ".xlsx")
_PROMPT_COLUMNS = ("prompt", "prompts", "instruction", "instructions")
_INPUT_COLUMNS = ("input", "image", "video", "file", "file_name", "path")
_LISTED = re.compile(r"\w[,;] *(?:and |or )?(?:the|a|an|all|both|every) \w+", re.IGNORECASE)
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


@dataclass
class Request:
    """Inputs and prompts of a run.

    Attributes:
        sources: files, folders, addresses, cameras, or ``-`` for standard input.
        prompts: for all inputs.
        own: prompts by input, from a table that names inputs; there are no others then.
    """

    sources: list[Source] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    own: dict[Source, tuple[str, ...]] = field(default_factory=dict)


def parse_words(
    words: Sequence[str], prompts: Sequence[str] = (), file: Path | None = None, sure: bool = False
) -> Request:
    """Separates inputs from prompts.

    The first word is an input, and so are following words that are files, addresses, folders of images or
    videos, or patterns such as ``*.png`` left by the shell. With other prompts, all words are inputs.
    Archives may have prompts of their own (:func:`settle_prompts`), and then need no other.

    Args:
        words: of the command line.
        prompts: given by ``--prompt``.
        file: of further prompts.
        sure: whether prompts of one word each are meant, though they look like a sentence.

    Raises:
        FileNotFoundError: an input, or the file, does not exist.
        ValueError: there is no prompt, a prompt is a file, or several are one sentence without quotes; or the
            file is wrong.
    """
    check_text("input or prompt", words)
    check_text("prompt", prompts)
    more = read_prompts(file) if file is not None else []
    if isinstance(more, dict):
        if words or prompts:
            raise ValueError(f"{file} names its own inputs: leave out others, and other prompts")
        return Request(list(more), list(dict.fromkeys(text for own in more.values() for text in own)), more)
    given = [*prompts, *more]
    inputs: list[Source] = []
    rest = list(words)
    while rest and (not inputs or given or _is_input(rest[0])):
        inputs += _expanded(rest.pop(0), bool(inputs))
    asked = given or rest
    if not inputs:
        raise ValueError("Missing argument INPUT: name images, videos or folders")
    if not asked and not any(_may_hold_prompts(source) for source in inputs):
        taken = f": '{words[-1]}' is an input, as it exists" if len(words) > 1 else ""
        raise ValueError(
            f'Missing argument PROMPT{taken}: say what to segment, as in --prompt "the red circle"'
        )
    for prompt in rest:
        _check_prompt(prompt)
    if not sure:
        _check_sentence(rest)
    return Request(inputs, asked)


def settle_prompts(asked: Request, *found: Inputs) -> list[str]:
    """The prompts of a run, of which those of shards and tables of images count where no others are given.

    Args:
        asked: the request.
        found: its inputs; prompts of their own are dropped where the request has some for all.

    Returns:
        Every prompt once, in order.

    Raises:
        ValueError: an input has no prompt.
    """
    if asked.own:
        return asked.prompts
    items = [item for inputs in found for item in inputs.items]
    if not asked.prompts:
        bare = [item for item in items if not item.prompts]
        if bare:
            raise ValueError(f"Missing argument PROMPT: {bare[0]} has none of its own: give one for all inputs")
        return list(dict.fromkeys(text for item in items for text in item.prompts))
    for inputs in found:
        if any(item.prompts for item in inputs.items):
            inputs.notes.append("prompts that lie in shards or tables are left out, as others are given")
        inputs.items = [replace(item, prompts=()) for item in inputs.items]
    return asked.prompts


def read_classes(given: str | None, *others: object) -> list[str]:
    """Names of classes: separated by commas, or one per line of a file; each once.

    Args:
        given: names or file; ``None`` for no class.
        others: prompts of other kinds, which exclude classes.

    Raises:
        FileNotFoundError: a name is that of a text file or a table, and there is none.
        ValueError: there is no name, other prompts are given, or the file is wrong.
    """
    if given is None:
        return []
    if any(others):
        raise ValueError("--classes names all that is segmented: leave out other prompts")
    names: Sequence[str] = given.split(",")
    if exists(Path(given)):
        lines = read_prompts(Path(given))
        if isinstance(lines, dict):
            raise ValueError(f"{given} names inputs: a file of classes has a name per line")
        names = lines
    elif Path(given).suffix.lower() in (".txt", *_TABLES):
        raise FileNotFoundError(f"no such file of classes: {given}")
    found = list(dict.fromkeys(name.strip() for name in names if name.strip()))
    if not found:
        raise ValueError('--classes is empty: name some, as in "person, dog, the red car"')
    return found


def read_prompts(file: Path) -> list[str] | dict[Source, tuple[str, ...]]:
    """Prompts of a text file, one per line; or of a table (CSV, TSV, Excel) with a column ``prompt``.

    Returns:
        The prompts, without empty ones; or by input, if the table has a column ``image``, ``video`` or
        ``input``. Paths are relative to the table.

    Raises:
        FileNotFoundError, ValueError: no such file, not UTF-8, empty, or without such a column.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no such file of prompts: {file}")
    if file.suffix.lower() in _TABLES:
        return _table(file)
    if _looks_like_file(file.name):
        raise ValueError(f"{file} is no file of prompts: that is text with one prompt per line, or a table")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not encoded in UTF-8: save it in UTF-8") from error
    found = [line.strip() for line in text.splitlines() if line.strip()]
    if not found:
        raise ValueError(f"{file} has no prompts: write one a line")
    return found


def _table(file: Path) -> list[str] | dict[Source, tuple[str, ...]]:
    if file.suffix.lower() == ".xlsx":
        header, *cells = read_xlsx(file) or [[]]
        rows: list[Mapping[Any, Any]] = [dict(itertools.zip_longest(header, row)) for row in cells]
    else:
        from instructseg.data.data_files import read_delimited  # --help does without

        columns, lines = read_delimited(file, _delimiter(file))
        header, rows = list(columns), [row for _, row in lines]
    named = {str(name).strip().lower(): name for name in header}
    prompt, source = (
        next((named[name] for name in known if name in named), None)
        for known in (_PROMPT_COLUMNS, _INPUT_COLUMNS)
    )
    if prompt is None:
        raise ValueError(f"{file} has no column 'prompt': its first line names {', '.join(named) or 'none'}")
    texts = [str(row.get(prompt) or "").strip() for row in rows]
    check_text("prompt", texts)
    if not any(texts):
        raise ValueError(f"{file} has no prompts: write them below '{prompt}'")
    if source is None:
        return [text for text in texts if text]
    found: dict[Source, tuple[str, ...]] = {}
    for number, (row, text) in enumerate(zip(rows, texts, strict=True), 2):
        name = str(row.get(source) or "").strip()
        if bool(name) != bool(text):
            raise ValueError(f"{file}, row {number}: a row has both an input and a prompt")
        if name:
            place = name if is_address(name) else file.parent / name
            found[place] = (*found.get(place, ()), text)
    return found


def _delimiter(file: Path) -> str:
    """The delimiter of a table by its first line: spreadsheets of many countries write semicolons."""
    if file.suffix.lower() == ".tsv":
        return "\t"
    with file.open("rb") as opened:
        first = opened.readline(10_000)
    return max(",", ";", "\t", key=lambda mark: first.count(mark.encode()))  # the comma, if all are missing


def several_in_one(prompts: Sequence[str]) -> list[str]:
    """Prompts that list several objects, as "the red circle, the blue square" does."""
    return [prompt for prompt in prompts if _LISTED.search(prompt)]


def _is_input(word: str) -> bool:
    """True if a word after an input is another input."""
    path = Path(word)
    if is_address(word) or word == "-":
        return True
    if not word.strip():
        return False  # an empty prompt; as a path, it would be this folder
    if exists(path):
        return not path.is_dir() or os.sep in word or holds(path, IMAGES + VIDEOS)
    return _looks_like_file(word) or (glob.has_magic(word) and bool(_matches(word)))


def _may_hold_prompts(source: Source) -> bool:
    """True for an archive, and for a folder with one."""
    return isinstance(source, Path) and (source.suffix.lower() in ARCHIVES or holds(source, ARCHIVES))


def _expanded(word: str, further: bool) -> list[Source]:
    """Inputs of a word."""
    path = Path(word)
    if not word.strip():
        raise ValueError("an input is empty: name an image, a video or a folder")
    if camera_index(word) is not None:
        return [word]
    if exists(path):
        return [path]
    if is_address(word) or word == "-":
        return [word]
    if re.fullmatch(r"\d{1,4}", word):
        return [f"camera {int(word)}"]
    if _SCHEME.match(word):
        raise ValueError(f"{word} is no address of the web: download it first, and name the file")
    if glob.has_magic(word):
        found = _matches(word)
        if not found:
            raise FileNotFoundError(f"no image, video or folder matches '{word}'")
        return [*found]
    hint = "; to look for that text, write it after --prompt" if further else ""
    kind = "video" if path.suffix.lower() in VIDEOS else "image"
    if further:
        raise FileNotFoundError(f"no such {kind}: {word}{hint}")
    return [path]


def _looks_like_file(word: str) -> bool:
    """True for words with the suffix of an image or a video."""
    return Path(word).suffix.lower() in IMAGES + VIDEOS + ARCHIVES and "\n" not in word


def _matches(pattern: str) -> list[Path]:
    """Matches of a pattern, as in a shell: readable files, or else folders."""
    paths = [Path(name) for name in glob.glob(pattern, recursive=_looks_like_file(pattern))]  # noqa: PTH207
    files = [path for path in paths if path.is_file() and path.suffix.lower() in IMAGES + VIDEOS + ARCHIVES]
    return sorted(
        files or [path for path in paths if path.is_dir() and holds(path, IMAGES + VIDEOS + ARCHIVES)]
    )


def _check_prompt(prompt: str) -> None:
    """Refuses an empty prompt, and a file among the prompts."""
    path = Path(prompt)
    if not prompt.strip():
        raise ValueError('a prompt is empty: say what to look for, as in "the red circle"')
    if _looks_like_file(prompt) or (
        exists(path) and (path.is_file() or holds(path, IMAGES + VIDEOS + ARCHIVES))
    ):
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
            "(to look for each word by itself, add --yes)"
        )
