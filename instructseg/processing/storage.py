"""Where a processor's files come from and go to."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from instructseg.hub import download

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TEXT_FILES = ("*.json", "merges.txt")


def local_folder(source: str | Path) -> Path:
    """The folder ``source``, or where the text files of that hub repository were downloaded to.

    Raises:
        FileNotFoundError: it is neither.
    """
    return Path(source) if Path(source).is_dir() else download(source, _TEXT_FILES)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder: one ``tokenizer.json``, or Phi's ``vocab.json`` and ``merges.txt``.

    Raises:
        FileNotFoundError: the folder has neither.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if (folder / "tokenizer.json").is_file():
        return PreTrainedTokenizerFast.from_pretrained(folder)
    if not all((folder / name).is_file() for name in ("vocab.json", "merges.txt", "tokenizer_config.json")):
        raise FileNotFoundError(
            f"no tokenizer in {folder}: give tokenizer.json, or vocab.json, merges.txt, tokenizer_config.json"
        )
    return AutoTokenizer.from_pretrained(folder)


def save_files(tokenizer: PreTrainedTokenizerBase, folder: Path, texts: Mapping[str, str]) -> None:
    """Writes the tokenizer's files and ``texts`` (name to content) into ``folder``, one rename each."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".processor-", dir=folder) as name:
        fresh = Path(name)
        tokenizer.save_pretrained(fresh)
        for file, text in texts.items():
            (fresh / file).write_text(text, encoding="utf-8")
        for path in sorted(fresh.iterdir()):
            path.replace(folder / path.name)
