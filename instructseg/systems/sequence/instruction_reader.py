"""Instructions and captions as tokens, and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from instructseg.processing.storage import load_tokenizer


class InstructionReader:
    """A tokenizer for instructions, which are padded at the left, and for texts that are answers.

    Args:
        tokenizer: with a token of padding.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        tokenizer.padding_side = "left"
        self.tokenizer = tokenizer

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> InstructionReader:
        """Reads what :meth:`save_pretrained` wrote."""
        return cls(load_tokenizer(Path(folder)))

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes the tokenizer."""
        self.tokenizer.save_pretrained(folder)

    def instructions(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids ``int64[B, L]`` and mask ``bool[B, L]``, padded at the left; an empty text has no token.

        Raises:
            ValueError: an instruction is too long, or no word of it is known.
        """
        plain = [" ".join(text.lower().split()) for text in texts]
        encoded = self.tokenizer(plain, padding=True, return_tensors="pt", verbose=False)
        ids, mask = encoded["input_ids"].long(), encoded["attention_mask"].bool()
        limit = self.tokenizer.model_max_length
        if ids.shape[1] > limit:
            longest = max(texts, key=len)
            raise ValueError(f"'{longest[:60]}...' is longer than {limit} tokens: say it shorter")
        for text, row, real in zip(texts, ids, mask, strict=True):
            if real.any() and bool((row[real] == self.tokenizer.unk_token_id).all()):
                raise ValueError(f"these weights know no word of '{text}': name what they were trained on")
        return (ids, mask) if ids.shape[1] else (ids.new_zeros(len(texts), 1), mask.new_zeros(len(texts), 1))

    def answer(self, text: str) -> list[int]:
        """Tokens of a text that is an answer, without those of a sentence's start and end."""
        return [int(one) for one in self.tokenizer.encode(text, add_special_tokens=False)]

    def text(self, tokens: Sequence[int]) -> str:
        """The text of tokens, without special ones."""
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True)).strip()
