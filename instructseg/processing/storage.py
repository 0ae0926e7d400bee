"""Reading and writing of a processor's files."""

from __future__ import annotations

import codecs
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructseg.files import read_object, share
from instructseg.hub import TEXT_FILES, model_path

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
_PARTS = ("added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder", "model")
"""Keys of every ``tokenizer.json``, perhaps ``null``: without one, texts would be tokenised differently."""


def local_folder(source: str | Path | None) -> Path:
    """The folder of a model, or the cache folder of a hub repository's text files.

    Raises:
        FileNotFoundError: it is neither.
    """
    path = model_path(source, TEXT_FILES)
    return path if path.is_dir() else path.parent  # the official layout may be named by its file of weights


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder: one ``tokenizer.json``, or Phi's ``vocab.json`` and ``merges.txt``.

    Code that the folder names (``auto_map``) is never run.

    Raises:
        FileNotFoundError: the folder has neither.
        ValueError: a file is damaged; it is named.
    """
    whole = folder / "tokenizer.json"
    for name in _SETTINGS:
        if (folder / name).is_file():
            read_object(folder / name)
    if whole.is_file():
        missing = [part for part in _PARTS if part not in read_object(whole)]
        if missing:
            raise ValueError(f"{whole} lacks '{missing[0]}': it is damaged; copy it from the model again")
    elif all((folder / name).is_file() for name in ("vocab.json", "merges.txt", "tokenizer_config.json")):
        read_object(folder / "vocab.json")
    else:
        raise FileNotFoundError(
            f"no tokenizer in {folder}: give tokenizer.json, or vocab.json, merges.txt, tokenizer_config.json "
            "(a predictor's save_pretrained writes them beside the weights)"
        )
    try:
        with _in_plain_utf8(folder) as readable:
            return _read(readable, whole.is_file())
    except BaseException as error:  # the Rust library panics outside of Exception, and raises bare Exceptions
        panic = type(error).__name__ == "PanicException"
        if isinstance(error, MemoryError) or not (isinstance(error, Exception) or panic):
            raise
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        if "trust_remote_code" in str(error):
            reason = "it names code of its own, which is not run"
        raise ValueError(f"the tokenizer in {folder} is damaged or of an unknown kind: {reason}") from error


@contextmanager
def _in_plain_utf8(folder: Path) -> Iterator[Path]:
    """The folder, or a copy of its tokenizer's files where one begins with a byte order mark.

    Windows programs write such files, and the readers of transformers do not take them.
    """
    named = (folder / name for name in ("tokenizer.json", "vocab.json", "merges.txt", *_SETTINGS))
    files = {file: file.read_bytes() for file in named if file.is_file()}
    if not any(content.startswith(_MARKS) for content in files.values()):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="tokenizer-") as name:
        for file, content in files.items():
            text = content.decode(json.detect_encoding(content)).removeprefix("\ufeff")
            (Path(name) / file.name).write_text(text, encoding="utf-8")
        yield Path(name)


def _read(folder: Path, whole: bool) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if whole:
        tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    else:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    ids = tokenizer.encode("a word", add_special_tokens=False)
    if not ids or not all(isinstance(number, int) for number in ids):
        raise ValueError("it gives no tokens to a text")
    tokenizer.decode(ids)
    numbers = list(tokenizer.get_vocab().values())
    if len(set(numbers)) < len(numbers):
        raise ValueError("two of its tokens have one number")
    return tokenizer


def save_files(tokenizer: PreTrainedTokenizerBase, folder: Path, texts: Mapping[str, str]) -> None:
    """Writes the tokenizer's files and ``texts`` (name to content) into ``folder``, one rename each."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".processor-", dir=folder) as name:
        fresh = Path(name)
        tokenizer.save_pretrained(fresh)
        for file, text in texts.items():
            (fresh / file).write_text(text, encoding="utf-8")
        for path in sorted(fresh.iterdir()):
            if path.is_file():
                share(path)
            path.replace(folder / path.name)
