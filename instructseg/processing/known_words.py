"""Words of an instruction that weights do not know: found, and told once."""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Collection, Iterator, Sequence
from inspect import currentframe
from typing import TYPE_CHECKING

from instructseg.plurals import description

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_ARTICLES = {"the", "a", "an"}
_LEAST_PIECE = 3  # letters: shorter tokens are pieces of words more often than words
_MOST_TOLD = 1000


class UnknownWordsWarning(UserWarning):
    """An instruction has words that the weights have not met in training."""


class KnownWords:
    """What weights know of the words of instructions.

    Args:
        tokenizer: of the weights.
        words: that they have met in training; empty where that is not known.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, words: Sequence[str]) -> None:
        self._tokenizer, self._words = tokenizer, frozenset(words)
        self._told: dict[str, None] = {}

    def strange(self, texts: Sequence[str]) -> list[str]:
        """Words, and symbols such as emoji, that the weights do not know, each once.

        Those that were not met in training, where that is known; otherwise those that the tokenizer splits into
        pieces: unknown to a small model, but a large vocabulary splits many known ones.
        """
        words = dict.fromkeys(word for text in texts for word in self._of(text))
        if self._words:
            return [word for word in words if word not in self._words and not word.isdigit()]
        return [word for word in words if not self._in_one_piece(word, 1)]

    def any_in(self, text: str) -> bool:
        """Whether weights that name their words know any of a text; true for other weights.

        A request ("find ...") and articles do not count; a word of the tokenizer does, met in training or not.
        """
        if not self._words:
            return True
        return any(
            word in self._words or self._in_one_piece(word, _LEAST_PIECE)
            for word in self._of(description(text))
            if word not in _ARTICLES
        )

    def note(self, texts: Collection[str]) -> str:
        """Sentence on the words of some texts that are not known, empty if there is none; see :meth:`warn`."""
        self._told |= dict.fromkeys(map(description, texts))
        strange = self.strange(list(texts))
        lost = [text for text in texts if not self.any_in(text)]
        found = f"the bundled model does not know these words: {', '.join(strange)}" if strange else ""
        return found + ("; without a known word, an instruction finds nothing" if found and lost else "")

    def warn(self, text: str) -> None:
        """Warns of words of a text that are not known, where the weights name theirs; once for each text."""
        if not self._words or description(text) in self._told:
            return
        if len(self._told) >= _MOST_TOLD:
            self._told.clear()  # a server is asked for ever
        note = self.note([text])
        if note:
            warnings.warn(note, UnknownWordsWarning, stacklevel=_levels())

    def _of(self, text: str) -> list[str]:
        """Words as they are read: some are replaced by others."""
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if backend is not None and backend.normalizer is not None:
            text = backend.normalizer.normalize_str(text)
        return list(words_of(text.lower()))

    def _in_one_piece(self, word: str, least: int) -> bool:
        """Whether a word of so many letters is a token of its own."""
        if len(word) < least or self._tokenizer.unk_token in self._tokenizer.tokenize(word):
            return False
        return any(len(self._tokenizer.tokenize(form)) == 1 for form in (f" {word}", word))


def words_of(text: str) -> Iterator[str]:
    """Words of a text, without marks between them; symbols are words of their own."""
    for found in re.finditer(r"[^\W_]+|[^\w\s]", text):
        if len(found[0]) > 1 or found[0].isalnum() or unicodedata.category(found[0]) == "So":
            yield found[0]


def _levels() -> int:
    """Calls between :meth:`KnownWords.warn` and the code outside this package, as ``warnings.warn`` counts."""
    frame, count = currentframe(), 0
    # generators run within torch's own frames
    while frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in (
        "instructseg",
        "torch",
    ):
        frame, count = frame.f_back, count + 1
    return count
