"""Generated text, part by part."""

from __future__ import annotations

from collections.abc import Callable

from transformers import TextStreamer

from instructseg.processing import InstructSegProcessor
from instructseg.processing.conversation import SEG_TOKEN


class TextParts(TextStreamer):
    """A streamer for ``generate`` of transformers; words are given when they are complete.

    Args:
        processor: of the model that generates.
        take: called with each further part of the text.
    """

    def __init__(self, processor: InstructSegProcessor, take: Callable[[str], None]) -> None:
        super().__init__(processor.tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._take, self._begun = take, False

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Passes a part on."""
        shown = text.replace(SEG_TOKEN, "")
        shown = shown if self._begun else shown.lstrip()
        if shown:
            self._begun = True
            self._take(shown)
