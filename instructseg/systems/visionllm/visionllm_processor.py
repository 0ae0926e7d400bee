"""Images and prompts to tensors for VisionLLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from instructseg.processing.storage import load_tokenizer


class VisionLLMProcessor:
    """Prepares the inputs.

    Args:
        tokenizer: of the text encoder and the language model.
        image_size: side of the square that images are resized to, in pixels.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, image_size: int) -> None:
        self.tokenizer, self.image_size = tokenizer, image_size

    @classmethod
    def from_pretrained(cls, folder: str | Path, image_size: int) -> VisionLLMProcessor:
        """Reads what :meth:`save_pretrained` wrote."""
        return cls(load_tokenizer(Path(folder)), image_size)

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes the tokenizer."""
        self.tokenizer.save_pretrained(folder)

    def unknown_words(self, text: str) -> list[str]:
        """Words of a text that have no token."""
        tokenizer, words = self.tokenizer, text.split()
        return [
            one for one in words if tokenizer.unk_token_id in tokenizer.encode(one, add_special_tokens=False)
        ]

    def prompts(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids ``int64[B, T]`` and mask ``bool[B, T]``, padded behind.

        Raises:
            ValueError: a prompt is too long.
        """
        encoded = self.tokenizer(
            list(texts), padding=True, return_tensors="pt", add_special_tokens=False, verbose=False
        )
        limit = self.tokenizer.model_max_length
        if encoded["input_ids"].shape[1] > limit:
            longest = max(texts, key=len)
            raise ValueError(f"'{longest[:60]}...' is longer than {limit} tokens: name fewer classes at once")
        return encoded["input_ids"], encoded["attention_mask"].bool()

    def images(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """Images ``uint8[H, W, 3]`` RGB to ``float32[B, 3, S, S]`` of -1..1, stretched to the square."""
        side = self.image_size
        resized = [cv2.resize(one, (side, side), interpolation=cv2.INTER_AREA) for one in images]
        return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() / 127.5 - 1
